"""Gossip among ten hosts in one process over loopback TCP, ours beside libp2p as shipped.

100-byte signed messages from publishers in turn, at several rates for ten seconds each; what counts
is what arrived at the other nine within ten more. `python -m benchmarks.gossip [--runs 3]`
"""

from __future__ import annotations

import argparse
import logging
import random
import resource
import statistics
import sys
import warnings
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

warnings.simplefilter("ignore")

import trio  # noqa: E402
from libp2p.peer.peerinfo import PeerInfo  # noqa: E402
from libp2p.pubsub.gossipsub import GossipSub  # noqa: E402
from libp2p.pubsub.pubsub import Pubsub  # noqa: E402
from libp2p.tools.anyio_service import background_trio_service  # noqa: E402

from benchmarks.report import report, rounded, summary  # noqa: E402
from benchmarks.wire.stock import LOOPBACK, make  # noqa: E402
from fogp2p.environment import real_environment, within  # noqa: E402
from fogp2p.events import Gap  # noqa: E402
from fogp2p.identity import ephemeral  # noqa: E402
from fogp2p.protocols.gossip import open_gossip  # noqa: E402
from fogp2p.transports.libp2p import Libp2pConfig, open_host  # noqa: E402

TOPIC = "/bench"
HOSTS, DEGREE = 10, 5
RATES = (20, 50, 100, 200)
SECONDS, DRAIN_S = 10, 10
Publish = Callable[[int, bytes], Awaitable[None]]


class Tally:
    """When each message was sent, and how late it came to whom."""

    def __init__(self) -> None:
        self.sent: dict[bytes, float] = {}
        self.delays: list[float] = []

    def heard(self, data: bytes) -> None:
        if data in self.sent:
            self.delays.append(trio.current_time() - self.sent[data])


def edges() -> list[tuple[int, int]]:
    """The same connected random graph for all."""
    source = random.Random(10)
    chosen = {(n - 1, n) for n in range(1, HOSTS)}
    while len(chosen) < HOSTS * DEGREE // 2:
        chosen.add(tuple(sorted(source.sample(range(HOSTS), 2))))  # type: ignore[arg-type]
    return sorted(chosen)


async def ours(stack: AsyncExitStack, tally: Tally) -> Publish:
    hosts, gossips = [], []
    for _ in range(HOSTS):
        keys = ephemeral(random.SystemRandom())
        host = await stack.enter_async_context(open_host(keys, Libp2pConfig(), real_environment()))
        gossips.append(await stack.enter_async_context(open_gossip(host, keys, real_environment())))
        hosts.append(host)
    for one, other in edges():
        target = hosts[other]
        await hosts[one].connect(target.peer_id, target.addresses, deadline=within(10))
    nursery = await stack.enter_async_context(trio.open_nursery())
    stack.callback(nursery.cancel_scope.cancel)

    async def listen(index: int) -> None:
        with gossips[index].subscribe(TOPIC) as messages:
            async for message in messages:
                if not isinstance(message, Gap) and message.author != hosts[index].peer_id:
                    tally.heard(message.data)

    for index in range(HOSTS):
        nursery.start_soon(listen, index)

    async def publish(index: int, data: bytes) -> None:
        await gossips[index].publish(TOPIC, data)

    return publish


async def stock(stack: AsyncExitStack, tally: Tally) -> Publish:
    hosts: list[Any] = [make() for _ in range(HOSTS)]
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
    for one, other in edges():
        target = hosts[other]
        await hosts[one].connect(PeerInfo(target.get_id(), target.get_transport_addrs()))

    async def publish(index: int, data: bytes) -> None:
        await pubsubs[index].publish(TOPIC, data)

    return publish


async def run(build: Callable[..., Awaitable[Publish]], rate: int) -> dict[str, float]:
    """The figures of one run. How the hosts end afterwards is not measured."""
    tally, figures = Tally(), dict[str, float]()
    try:
        async with AsyncExitStack() as stack:
            publish = await build(stack, tally)
            figures = await spread(publish, tally, rate)
    except* Exception as group:
        if not figures:
            raise
        sys.stderr.write(f"ended with {group.exceptions[0]!r:.80}\n")
    return figures


async def spread(publish: Publish, tally: Tally, rate: int) -> dict[str, float]:
    await trio.sleep(4)
    wanted = rate * SECONDS * (HOSTS - 1)
    before, start = _cpu(), trio.current_time()
    for n in range(rate * SECONDS):
        await trio.sleep_until(start + n / rate)
        data = n.to_bytes(4) + bytes(96)
        tally.sent[data] = trio.current_time()
        await publish(n % HOSTS, data)
    with trio.move_on_after(DRAIN_S):
        while len(tally.delays) < wanted:  # noqa: ASYNC110
            await trio.sleep(0.05)
    cpu = _cpu() - before
    delays = sorted(tally.delays) or [float("nan")]
    return {
        "delivered_percent": 100 * len(tally.delays) / wanted,
        "p50_ms": 1e3 * statistics.median(delays),
        "p99_ms": 1e3 * delays[int(len(delays) * 0.99)],
        "cpu_ms_per_delivery": 1e3 * cpu / max(1, len(tally.delays)),
    }


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    logging.disable(logging.CRITICAL)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    found: dict[str, dict[str, list[float]]] = {}
    for turn in range(runs):
        for rate in RATES:
            pair = [("fog", ours), ("stock", stock)]
            for name, build in pair if turn % 2 else pair[::-1]:
                for figure, value in trio.run(run, build, rate).items():
                    found.setdefault(f"{name} {rate}/s", {}).setdefault(figure, []).append(value)
                sys.stderr.write(f"run {turn + 1}: {name} at {rate}/s done\n")
    figures = {
        name: {figure: summary(values) for figure, values in each.items()}
        for name, each in found.items()
    }
    ratios = {
        f"p50 at {rate}/s": rounded(
            figures[f"fog {rate}/s"]["p50_ms"]["median"]
            / figures[f"stock {rate}/s"]["p50_ms"]["median"]
        )
        for rate in RATES
    }
    workload = f"{HOSTS} hosts, {DEGREE} connections each, 100-byte signed messages, one process"
    report(
        "gossip",
        ["libp2p", "trio"],
        {"workload": workload, "ratios_fog_to_stock": ratios, "figures": figures},
    )


if __name__ == "__main__":
    main()
