"""A tenth of all peers goes each minute and comes back: does everybody still find and hear?"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

import trio

from fogp2p.environment import Environment, within
from fogp2p.errors import FogError
from fogp2p.events import Gap
from fogp2p.ids import PeerId
from fogp2p.protocols.gossip import Gossip, open_gossip
from fogp2p.protocols.kad import Kad, KadConfig, open_kad
from fogp2p.protocols.registry import OwnFacts, Registry, open_registry
from fogp2p.sim.faults import FaultMix
from fogp2p.sim.invariants import Event
from fogp2p.sim.scenario import Scenario
from fogp2p.sim.world import SimNode, SimWorld, Up
from fogp2p.transports.memory.host import MemoryHost

__all__ = ["Churn"]

CHURN_PER_MIN: Final = 0.10
RESTART_MEAN_S: Final = 60.0
TOPIC: Final = "/fog/simulation"
ROLE: Final = "relay"
# Enough that a tenth of them being away leaves some: one in ten, at least three.
HOLDERS_EACH: Final = 10
MIN_HOLDERS: Final = 3
# A message every two seconds by somebody, a search as often.
EVERY_S: Final = 2.0
# A message counts as heard by those who were there from its writing until so much later.
HEARD_WITHIN_S: Final = 10.0
FIND_WITHIN_S: Final = 15.0
# Peers that look for role holders at each attempt to show that everything works again.
PROBES: Final = 10
STATE: Final = Path("/registry/sequence")
NUMBERS: Final = Path("/gossip/numbers")
# Buckets of the paper's size: the default of 20 would connect everybody to everybody.
KAD: Final = KadConfig(k=8, alpha=3)


@dataclass(frozen=True, slots=True)
class Service:
    """What runs on a node."""

    kad: Kad
    gossip: Gossip
    registry: Registry


@dataclass(slots=True)
class Published:
    """A message: who was there when it was written (node -> life), and who has heard it."""

    at: float
    there: dict[str, int]
    heard: set[str] = field(default_factory=set)


class Churn(Scenario):
    """See `about`."""

    name: ClassVar[str] = "churn"
    about: ClassVar[str] = "a tenth of all peers dies each minute and returns; others find and hear"
    minutes: ClassVar[float] = 10.0
    settle_s: ClassVar[float] = 300.0

    def __init__(self, world: SimWorld) -> None:
        super().__init__(world)
        self.holders = world.nodes[: max(MIN_HOLDERS, len(world.nodes) // HOLDERS_EACH)]
        self._published: dict[str, Published] = {}
        self._expected = 0
        self._heard = 0
        self._found = 0
        self._searches = 0
        self._sequences: dict[str, int] = {}
        self._level = 0.0
        self._asked = 0
        checks = world.invariants
        checks.on("heard", "gossip.once-in-a-life", self._once)
        checks.on("heard", "gossip.only-what-was-published", self._genuine)
        checks.on("described", "registry.sequence-never-goes-back", self._rises)

    def mix(self, drawn: FaultMix) -> FaultMix:
        return dataclasses.replace(
            drawn, crashes_per_min=CHURN_PER_MIN, restart_mean_s=RESTART_MEAN_S
        )

    # --- one node --------------------------------------------------------------------------------

    async def live(self, node: SimNode, host: MemoryHost, environment: Environment, up: Up) -> None:
        roles = frozenset({ROLE, "mesh"} if node in self.holders else {"mesh"})
        facts = OwnFacts(host.addresses, roles)
        async with (
            open_kad(host, environment, KAD) as kad,
            open_gossip(host, node.identity, environment, numbers=NUMBERS) as gossip,
            open_registry(
                host, node.identity, [kad], environment, STATE, lambda: facts
            ) as registry,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self.world.keep_connected, node, host, self.neighbours(node))
            own = registry.own()
            if own is not None:
                self.world.record(node, "described", own.sequence)
            up(Service(kad, gossip, registry))
            await self._listen(node, gossip)

    async def _listen(self, node: SimNode, gossip: Gossip) -> None:
        life = node.lives
        with gossip.subscribe(TOPIC) as messages:
            async for message in messages:
                if isinstance(message, Gap):
                    self.world.record(node, "missed", message.missed)
                    continue
                name = message.data.decode("ascii")
                self.delivered += 1
                self.world.record(node, "heard", name, str(message.author), life)
                published = self._published.get(name)
                if published is not None:
                    published.heard.add(f"{node.name}/{life}")

    # --- the course ------------------------------------------------------------------------------

    async def prepare(self) -> None:
        await self.world.start_all(self.world.nodes)
        await trio.sleep(60)  # tables fill, meshes form

    async def safety(self, seconds: float) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._talk, nursery)
            nursery.start_soon(self._search, nursery)
            await trio.sleep(seconds)
            nursery.cancel_scope.cancel()

    async def _talk(self, nursery: trio.Nursery) -> None:
        source = self.world.chance("talk")
        while True:
            await trio.sleep(EVERY_S)
            running = self.world.running()
            if running:
                nursery.start_soon(self._follow, source.choice(running))

    async def _follow(self, node: SimNode) -> None:
        """Publish, and look who has heard it of those who were there all the time."""
        published = await self._publish(node)
        if published is None:
            return
        await trio.sleep(HEARD_WITHIN_S)
        there, heard = self._audience(published)
        self._expected += there
        self._heard += heard

    async def _publish(self, node: SimNode) -> Published | None:
        name = f"m{len(self._published)}"
        there = {n.name: n.lives for n in self.world.running() if n is not node}
        published = self._published[name] = Published(trio.current_time(), there)
        self.world.record(node, "published", name)
        try:
            await node.service.gossip.publish(TOPIC, name.encode("ascii"))
        except FogError as exc:
            self.world.record(node, "not-published", type(exc).__name__)
            return None
        return published

    def _audience(self, published: Published) -> tuple[int, int]:
        """(who was there from the beginning until now, how many of them have heard it)"""
        stayed = [
            f"{node.name}/{node.lives}"
            for node in self.world.running()
            if published.there.get(node.name) == node.lives
        ]
        return len(stayed), sum(each in published.heard for each in stayed)

    async def _search(self, nursery: trio.Nursery) -> None:
        source = self.world.chance("search")
        while True:
            await trio.sleep(EVERY_S)
            others = [node for node in self.world.running() if node not in self.holders]
            if others:
                nursery.start_soon(self._count_search, source.choice(others))

    async def _count_search(self, node: SimNode) -> None:
        life, found = node.lives, await self._finds(node)
        if node.is_up and node.lives == life:
            self._searches += 1
            self._found += found

    async def _finds(self, node: SimNode) -> bool:
        """Whether the node finds somebody of the role who is really there."""
        registry: Registry = node.service.registry
        try:
            answer = await registry.find(ROLE, MIN_HOLDERS, deadline=within(FIND_WITHIN_S))
        except FogError as exc:
            self.world.record(node, "search-failed", type(exc).__name__)
            return False
        peers = [each.peer for each in answer.descriptors]
        alive = [peer for peer in peers if self._is_holder(peer)]
        self.world.record(node, "found", len(peers), len(alive))
        return bool(alive)

    def _is_holder(self, peer: PeerId) -> bool:
        node = self.world.by_peer.get(peer)
        return node is not None and node in self.holders and node.is_up

    async def progress(self) -> float:
        """One message to everybody, and searches of some: the worse of both shares."""
        source = self.world.chance(f"probe/{self._asked}")
        self._asked += 1
        nodes = self.world.running()
        published = await self._publish(source.choice(nodes))
        others = [node for node in nodes if node not in self.holders]
        asked = source.sample(others, min(PROBES, len(others)))
        found = [await self._finds(node) for node in asked]
        await trio.sleep(HEARD_WITHIN_S)
        heard = 0.0
        if published is not None:
            there, heard_by = self._audience(published)
            heard = heard_by / max(1, len(self.world.nodes) - 1) if there else 0.0
        self._level = min(heard, sum(found) / len(found) if found else 1.0)
        return self._level

    def share(self) -> float:
        recent = [p for p in self._published.values() if p.at > trio.current_time() - 60]
        pairs = [self._audience(p) for p in recent if p.at < trio.current_time() - HEARD_WITHIN_S]
        there = sum(pair[0] for pair in pairs)
        return sum(pair[1] for pair in pairs) / there if there else 0.0

    def figures(self) -> dict[str, float]:
        return {
            "messages": len(self._published),
            "heard_share": self._heard / self._expected if self._expected else 0.0,
            "searches": self._searches,
            "found_share": self._found / self._searches if self._searches else 0.0,
            "crashes": self.world.counts.get("killed", 0),
        }

    # --- invariants ------------------------------------------------------------------------------

    def _once(self, event: Event) -> str:
        name, _, life = event.facts
        published = self._published.get(str(name))
        if published is not None and f"{event.node}/{life}" in published.heard:
            return f"{event.node} heard {name} twice in one life"
        return ""

    def _genuine(self, event: Event) -> str:
        return "" if event.facts[0] in self._published else f"{event.node} heard what nobody said"

    def _rises(self, event: Event) -> str:
        sequence = event.facts[0]
        assert isinstance(sequence, int)
        last = self._sequences.get(event.node, -1)
        self._sequences[event.node] = max(last, sequence)
        return f"{event.node} went back from {last} to {sequence}" if sequence <= last else ""
