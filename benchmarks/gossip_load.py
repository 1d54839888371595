"""One row of benchmarks/gossip.py in a process of its own: ten hosts, a load, figures as JSON.

`python -m benchmarks.gossip_load ours|stock '{"rate": 20, ...}'`, see `Load`.
"""

from __future__ import annotations

import json
import logging
import random
import resource
import sys
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any

warnings.simplefilter("ignore")

import trio  # noqa: E402
from libp2p.peer.peerinfo import PeerInfo  # noqa: E402
from libp2p.pubsub.gossipsub import GossipSub  # noqa: E402
from libp2p.pubsub.pubsub import Pubsub  # noqa: E402
from libp2p.tools.anyio_service import background_trio_service  # noqa: E402

from benchmarks.wire.stock import LOOPBACK, make  # noqa: E402
from fogp2p.environment import real_environment, within  # noqa: E402
from fogp2p.errors import LimitExceeded  # noqa: E402
from fogp2p.events import Gap  # noqa: E402
from fogp2p.identity import ephemeral  # noqa: E402
from fogp2p.protocols.gossip import open_gossip  # noqa: E402
from fogp2p.transports.libp2p import Libp2pConfig, open_host  # noqa: E402

TOPIC = "/bench"
SETTLE_S = 4.0
PROBE_EVERY_S = 0.5
PROBES = 1 << 31


@dataclass(frozen=True, slots=True)
class Load:
    """What is done; the same for every implementation."""

    edges: list[list[int]]
    hosts: int
    rate: int
    seconds: float
    drain_s: float
    bytes: int

    @property
    def messages(self) -> int:
        """How many are offered."""
        return int(self.rate * self.seconds)


@dataclass(frozen=True, slots=True)
class Crowd:
    """How to reach the hosts of one implementation."""

    publish: Callable[[int, bytes], Awaitable[None]]
    links: Callable[[], int]
    drops: Callable[[], Counter[str]]


class Tally:
    """When each message was to be sent and was sent, and how late it came to whom."""

    def __init__(self) -> None:
        self.planned: dict[int, float] = {}
        self.called: dict[int, float] = {}
        self.from_plan: list[float] = []
        self.from_call: list[float] = []
        self.probes: dict[int, list[float]] = {}
        self.refused = 0

    def heard(self, data: bytes) -> None:
        """A host received a message of another."""
        number, now = int.from_bytes(data[:4]), trio.current_time()
        if number in self.planned:
            self.from_plan.append(now - self.planned[number])
            self.from_call.append(now - self.called[number])
        elif number in self.probes:
            self.probes[number].append(now)


async def ours(stack: AsyncExitStack, tally: Tally, load: Load) -> Crowd:
    """fogp2p's hosts with their defaults."""
    hosts, gossips = [], []
    for _ in range(load.hosts):
        keys = ephemeral(random.SystemRandom())
        host = await stack.enter_async_context(open_host(keys, Libp2pConfig(), real_environment()))
        gossips.append(await stack.enter_async_context(open_gossip(host, keys, real_environment())))
        hosts.append(host)
    for one, other in load.edges:
        target = hosts[other]
        await hosts[one].connect(target.peer_id, target.addresses, deadline=within(10))
    nursery = await stack.enter_async_context(trio.open_nursery())
    stack.callback(nursery.cancel_scope.cancel)

    async def listen(index: int) -> None:
        with gossips[index].subscribe(TOPIC) as messages:
            async for message in messages:
                if not isinstance(message, Gap) and message.author != hosts[index].peer_id:
                    tally.heard(message.data)

    for index in range(load.hosts):
        nursery.start_soon(listen, index)

    async def publish(index: int, data: bytes) -> None:
        await gossips[index].publish(TOPIC, data)

    def drops() -> Counter[str]:
        found: Counter[str] = Counter()
        for gossip in gossips:
            found.update(gossip.stats().drops)
            found["duplicates before verification"] += gossip.stats().duplicates
        return found

    return Crowd(publish, lambda: sum(len(host.connections()) for host in hosts), drops)


async def stock(stack: AsyncExitStack, tally: Tally, load: Load) -> Crowd:
    """libp2p's hosts as shipped, with a heartbeat of one second and without its spam filter."""
    hosts: list[Any] = [make() for _ in range(load.hosts)]
    pubsubs: list[Any] = []
    for host in hosts:
        await stack.enter_async_context(host.run(listen_addrs=[LOOPBACK]))
        router = GossipSub(
            ["/meshsub/1.1.0"],
            6,
            5,
            12,
            heartbeat_initial_delay=0.2,
            heartbeat_interval=1,
            spam_protection_enabled=False,
        )
        pubsub = Pubsub(host, router, strict_signing=True)
        await stack.enter_async_context(background_trio_service(pubsub))
        await stack.enter_async_context(background_trio_service(router))
        await pubsub.wait_until_ready()
        pubsubs.append(pubsub)
    nursery = await stack.enter_async_context(trio.open_nursery())
    stack.callback(nursery.cancel_scope.cancel)

    async def listen(index: int, subscription: Any) -> None:
        while True:
            message = await subscription.get()
            if message.from_id != hosts[index].get_id().to_bytes():
                tally.heard(message.data)

    for index, pubsub in enumerate(pubsubs):
        nursery.start_soon(listen, index, await pubsub.subscribe(TOPIC))
    for one, other in load.edges:
        target = hosts[other]
        await hosts[one].connect(PeerInfo(target.get_id(), target.get_transport_addrs()))

    async def publish(index: int, data: bytes) -> None:
        await pubsubs[index].publish(TOPIC, data)

    return Crowd(
        publish, lambda: sum(len(host.get_network().connections) for host in hosts), Counter
    )


async def run(build: Callable[..., Awaitable[Crowd]], load: Load) -> dict[str, Any]:
    """The figures of one run. How the hosts end afterwards is not measured."""
    tally, figures = Tally(), dict[str, Any]()
    try:
        async with AsyncExitStack() as stack:
            crowd = await build(stack, tally, load)
            figures = await measure(crowd, tally, load)
    except* Exception as group:
        if not figures:
            raise
        sys.stderr.write(f"ended with {group.exceptions[0]!r:.80}\n")
    return figures


async def measure(crowd: Crowd, tally: Tally, load: Load) -> dict[str, Any]:
    """Publish as planned, then probe until all is well again, and count."""
    await trio.sleep(SETTLE_S)
    wanted, links = load.messages * (load.hosts - 1), crowd.links()
    cpu, start = _cpu(), trio.current_time()
    async with trio.open_nursery() as nursery:
        for index in range(load.hosts):
            nursery.start_soon(_publish, nursery, crowd, tally, load, index, start)
    stopped, while_loaded, in_time = trio.current_time(), _cpu() - cpu, len(tally.from_plan)
    recovery = await _recover(crowd, tally, load, wanted, stopped)
    took = stopped - start
    return {
        "delivered_percent": 100 * len(tally.from_plan) / wanted,
        "delivered_in_time_percent": 100 * in_time / wanted,
        "publishing_s": took,
        "p50_ms": _at(tally.from_plan, 0.5),
        "p95_ms": _at(tally.from_plan, 0.95),
        "p99_ms": _at(tally.from_plan, 0.99),
        "p99_from_call_ms": _at(tally.from_call, 0.99),
        "cpu_percent": 100 * while_loaded / took,
        "cpu_ms_per_delivery": 1e3 * (_cpu() - cpu) / max(1, len(tally.from_plan)),
        "connections_lost": (links - crowd.links()) / 2,
        "refused_percent": 100 * tally.refused / load.messages,
        "recovery_s": recovery,
        "drops": {label: count for label, count in sorted(crowd.drops().items()) if count},
    }


async def _publish(
    nursery: trio.Nursery, crowd: Crowd, tally: Tally, load: Load, index: int, start: float
) -> None:
    """One host's share, whether or not the messages before are sent (an open loop)."""
    number = index
    while number < load.messages:
        await trio.sleep_until(start + number / load.rate)
        now = trio.current_time()
        while number < load.messages and start + number / load.rate <= now:
            tally.planned[number], tally.called[number] = start + number / load.rate, now
            nursery.start_soon(_send, crowd, tally, load, index, number)
            number += load.hosts


async def _send(crowd: Crowd, tally: Tally, load: Load, index: int, number: int) -> None:
    try:
        await crowd.publish(index, number.to_bytes(4).ljust(load.bytes, b"\0"))
    except LimitExceeded:
        tally.refused += 1


async def _recover(
    crowd: Crowd, tally: Tally, load: Load, wanted: int, stopped: float
) -> float | None:
    """Seconds until a probe reached everybody within half a second; None: not while we waited."""
    found, count = None, 0
    while trio.current_time() < stopped + load.drain_s:
        at, number = trio.current_time(), PROBES + count
        times = tally.probes[number] = []
        count += 1
        with suppress(LimitExceeded):
            await crowd.publish(count % load.hosts, number.to_bytes(4).ljust(load.bytes, b"\0"))
        await trio.sleep_until(at + PROBE_EVERY_S)
        everybody = len(times) == load.hosts - 1 and max(times) <= at + PROBE_EVERY_S
        if found is None and everybody:
            found = at - stopped
        if found is not None and len(tally.from_plan) >= wanted:
            break
    return found


def _at(times: list[float], share: float) -> float | None:
    if not times:
        return None
    return 1e3 * sorted(times)[min(len(times) - 1, int(len(times) * share))]


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print the figures."""
    logging.disable(logging.CRITICAL)
    build = {"ours": ours, "stock": stock}[sys.argv[1]]
    json.dump(trio.run(run, build, Load(**json.loads(sys.argv[2]))), sys.stdout)


if __name__ == "__main__":
    main()
