"""What goes wrong in a run: drawn from its seed, within ranges like those of TigerBeetle's.

Streams are reliable, so a lost segment shows as the delay of sending it again; duplicates would be
dropped below the stream and are not simulated. Waiting is exact, only dates are wrong.
"""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass
from typing import Final

import trio

from fogp2p.transports.memory import LinkSettings

from .world import SimNode, SimWorld

__all__ = ["CALM", "KINDS", "FaultMix", "draw_mix", "heal", "inflict"]

KINDS: Final = frozenset({"links", "clogs", "partitions", "crashes", "disks", "clocks"})
_TICK_S: Final = 1.0
# A healthy network, between and after faults.
HEALTHY: Final = LinkSettings(latency_s=0.03, jitter_s=0.02)


@dataclass(frozen=True, slots=True)
class FaultMix:
    """How often what goes wrong. Shares are 0 to 1, rates for each second, means in seconds."""

    loss: float = 0.0
    latency_s: float = HEALTHY.latency_s
    jitter_s: float = HEALTHY.jitter_s
    clogs_per_s: float = 0.0
    """Directions of links in use that are clogged each second, as a share."""
    clog_mean_s: float = 0.0
    partitions_per_s: float = 0.0
    partition_mean_s: float = 0.0
    one_way_share: float = 0.0
    crashes_per_min: float = 0.0
    """Of all nodes, as a share."""
    restart_mean_s: float = 30.0
    unflushed_loss: float = 1.0
    disk_errors: float = 0.0
    clock_rate: float = 0.0
    """Each node's date runs wrong by up to this share."""
    clock_jump_s: float = 0.0
    """Each node's date is wrong by up to this much."""


CALM: Final = FaultMix()


def draw_mix(source: random.Random, kinds: frozenset[str] = KINDS) -> FaultMix:
    """The faults of a seed. Each kind is absent in a third of all seeds: calm finds bugs, too."""
    chosen = {kind for kind in sorted(KINDS) if source.random() < 2 / 3} & kinds
    drawn = FaultMix(
        loss=source.uniform(0, 0.30),
        latency_s=10 ** source.uniform(-3, 0.3),
        jitter_s=10 ** source.uniform(-3, 0),
        clogs_per_s=source.uniform(0, 0.02),
        clog_mean_s=source.uniform(0, 5),
        partitions_per_s=source.uniform(0, 0.03),
        partition_mean_s=source.uniform(5, 60),
        one_way_share=source.choice((0.0, 0.5)),
        crashes_per_min=source.uniform(0, 0.05),
        restart_mean_s=source.uniform(5, 60),
        unflushed_loss=source.uniform(0.8, 1.0),
        disk_errors=10 ** source.uniform(-4, -1),
        clock_rate=source.uniform(0, 0.02),
        clock_jump_s=source.choice((0.0, 60.0, 3_600.0)),
    )
    absent = {name: getattr(CALM, name) for kind in KINDS - chosen for name in _FIELDS[kind]}
    return dataclasses.replace(drawn, **absent)


_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "links": ("loss", "latency_s", "jitter_s"),
    "clogs": ("clogs_per_s", "clog_mean_s"),
    "partitions": ("partitions_per_s", "partition_mean_s", "one_way_share"),
    "crashes": ("crashes_per_min", "restart_mean_s", "unflushed_loss"),
    "disks": ("disk_errors",),
    "clocks": ("clock_rate", "clock_jump_s"),
}


async def inflict(world: SimWorld, mix: FaultMix) -> None:
    """Let things go wrong until cancelled; then call `heal`. Nodes that are down start again."""
    _begin(world, mix)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_crash, world, mix)
        if mix.clogs_per_s:
            nursery.start_soon(_clog, world, mix, nursery)
        if mix.partitions_per_s:
            nursery.start_soon(_part, world, mix)


def _begin(world: SimWorld, mix: FaultMix) -> None:
    links = LinkSettings(mix.latency_s, mix.jitter_s, mix.loss)
    if links != world.links:
        world.links = links
        world.network.set_default(links)
    dates = world.chance("faults/clocks")
    for node in world.nodes:
        node.clock.rate = 1 + mix.clock_rate * dates.uniform(-1, 1)
        node.clock.jump_s = mix.clock_jump_s * dates.uniform(-1, 1)
        node.disk.error_share = mix.disk_errors
        node.disk.unflushed_loss = mix.unflushed_loss
    world.record(None, "faults", dataclasses.astuple(mix))


def heal(world: SimWorld) -> None:
    """Nothing goes wrong any more. Nodes that are down stay down: start them."""
    world.links = HEALTHY
    world.network.set_default(HEALTHY)
    world.network.heal()
    for node in world.nodes:
        node.clock.rate, node.clock.jump_s = 1.0, 0.0
        node.disk.error_share = 0.0
    world.record(None, "healed")


async def _crash(world: SimWorld, mix: FaultMix) -> None:
    """Kill nodes, and start those that are down when their time has come."""
    source = world.chance("faults/crashes")
    each_s = mix.crashes_per_min / 60
    async with trio.open_nursery() as nursery:
        while True:
            await trio.sleep(_TICK_S)
            now = trio.current_time()
            for node in world.nodes:
                if node.is_up and each_s and source.random() < each_s:
                    world.kill(node)
                elif node.is_up or node.is_starting:
                    continue
                elif node.down_until is None:
                    node.down_until = now + source.expovariate(1 / mix.restart_mean_s)
                elif node.down_until <= now:
                    node.down_until = None
                    nursery.start_soon(world.start, node)


async def _clog(world: SimWorld, mix: FaultMix, nursery: trio.Nursery) -> None:
    source = world.chance("faults/clogs")
    while True:
        await trio.sleep(_TICK_S)
        for node in world.running():
            peers = node.host.peers() if node.host is not None else ()
            for peer in peers:
                if source.random() < mix.clogs_per_s:
                    extra = source.expovariate(1 / mix.clog_mean_s) if mix.clog_mean_s else 0.0
                    nursery.start_soon(_hold_up, world, node, world.by_peer[peer], extra)


async def _hold_up(world: SimWorld, source: SimNode, target: SimNode, seconds: float) -> None:
    path = world.network.path(source.peer_id, target.peer_id)
    usual = path.settings
    path.settings = dataclasses.replace(usual, latency_s=usual.latency_s + seconds)
    try:
        await trio.sleep(seconds)
    finally:
        path.settings = world.links


async def _part(world: SimWorld, mix: FaultMix) -> None:
    source = world.chance("faults/partitions")
    while True:
        await trio.sleep(_TICK_S)
        if source.random() >= mix.partitions_per_s:
            continue
        members = [node.peer_id for node in world.nodes]
        source.shuffle(members)
        at = source.randrange(1, len(members)) if len(members) > 1 else 1
        one_way = source.random() < mix.one_way_share
        world.record(None, "parted", at, one_way)
        world.network.partition(members[:at], members[at:], one_way=one_way)
        await trio.sleep(source.expovariate(1 / mix.partition_mean_s))
        world.network.heal()
        world.record(None, "joined")
