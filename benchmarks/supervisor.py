"""Supervisor: how long until all is well again after a fault, in real time, with real processes.

Trees of six services, three of them child processes (`cat`), are harmed one fault after another:
an exception in a task, a failed opening, a child killed, a child stopped (SIGSTOP: a hang), and a
crash loop that somebody mends. Then a whole peer's host crashes while another peer is connected.
Every fault hits a service that was steady (`steady_s=0`), so that pauses of earlier faults of this
benchmark do not count. Run: `python -m benchmarks.supervisor [FAULTS]`; prints JSON.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

import fogp2p
from benchmarks.report import report, rounded
from fogp2p.config import Config, DiscoveryConfig, NetworkConfig
from fogp2p.environment import real_environment
from fogp2p.errors import TransportError
from fogp2p.node import Health, Node
from fogp2p.supervisor import (
    Changed,
    Probe,
    Service,
    State,
    Supervisor,
    SupervisorConfig,
    open_child,
    open_services,
)
from fogp2p.tasks import open_tasks

# name, is it a child process, needs, wants
SHAPE: tuple[tuple[str, bool, tuple[str, ...], tuple[str, ...]], ...] = (
    ("store", False, (), ()),
    ("worker", True, ("store",), ()),
    ("pool", True, ("worker",), ("store",)),
    ("front", False, ("pool",), ()),
    ("side", True, (), ("worker",)),
    ("alone", False, (), ("side",)),
)
# Trees harmed at the same time: hangs are mostly waiting.
TREES = 4
LOOPS = 4
HOST_CRASHES = 10
# One in so many faults is a hang: each takes seconds.
KINDS = ("exception",) * 4 + ("opening",) * 2 + ("killed",) * 4 + ("hang",)


class Part:
    def __init__(self, name: str, is_child: bool) -> None:
        self.name = name
        self.is_child = is_child
        self.refuse = 0
        self.pid = 0
        self.fault = trio.Event()
        self.mute = False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[trio.Process | None]:
        self.fault, self.mute = trio.Event(), False
        if self.refuse:
            self.refuse -= 1
            raise TransportError("it does not open")
        async with open_tasks() as nursery:
            nursery.start_soon(self._work)
            if self.is_child:
                async with open_child(["cat"]) as process:
                    self.pid = process.pid
                    yield process
            else:
                yield None
            nursery.cancel_scope.cancel()

    async def _work(self) -> None:
        await self.fault.wait()
        raise RuntimeError("a bug")

    async def check(self, process: trio.Process | None) -> None:
        if self.mute:
            await trio.sleep_forever()
        if process is not None:
            assert process.stdin is not None and process.stdout is not None
            await process.stdin.send_all(b"?")
            await process.stdout.receive_some(1)

    def harm(self, kind: str) -> None:
        if kind == "killed":
            os.kill(self.pid, signal.SIGKILL)
        elif kind == "hang" and self.is_child:
            os.kill(self.pid, signal.SIGSTOP)
        elif kind == "hang":
            self.mute = True
        else:
            self.refuse = {"opening": 1, "loop": 1_000_000}.get(kind, 0)
            self.fault.set()


class Tree:
    def __init__(self, took: dict[str, list[float]], wrong: list[str]) -> None:
        self.parts = {name: Part(name, is_child) for name, is_child, _, _ in SHAPE}
        self.took = took
        self.wrong = wrong
        self.lot = trio.lowlevel.ParkingLot()
        self.changes: list[Changed] = []

    def services(self) -> list[Service]:
        return [
            Service(
                name,
                self.parts[name].open,
                needs=needs,
                wants=wants,
                probe=Probe(self.parts[name].check),
            )
            for name, _, needs, wants in SHAPE
        ]

    def tell(self, change: Changed) -> None:
        self.changes.append(change)
        self.lot.unpark_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(120):
            while not condition():
                await self.lot.park()

    async def suffer(self, source: random.Random, faults: int, config: SupervisorConfig) -> None:
        environment = real_environment()
        async with open_services(
            self.services(), environment, config=config, on_change=self.tell
        ) as supervisor:
            for _ in range(faults):
                kind = source.choice(KINDS)
                parts = [p for p in self.parts.values() if p.is_child or kind != "killed"]
                await self.one(supervisor, kind, source.choice(parts))

    async def one(self, supervisor: Supervisor, kind: str, part: Part) -> None:
        before = restarts(supervisor)
        self.changes.clear()
        start = trio.current_time()
        part.harm(kind)
        wanted = before[part.name] + 1 + (kind == "opening")
        if kind == "loop":
            await self.until(lambda: states(supervisor)[part.name] is State.FAILED)
            self.took.setdefault("loop_given_up", []).append(trio.current_time() - start)
            wanted = restarts(supervisor)[part.name] + 1
            part.refuse = 0
            start = trio.current_time()
            supervisor.restart(part.name)
        await self.until(
            lambda: (
                restarts(supervisor)[part.name] == wanted
                and set(states(supervisor).values()) == {State.READY}
            )
        )
        self.took.setdefault(kind, []).append(trio.current_time() - start)
        self.judge(kind, part.name, before, restarts(supervisor))

    def judge(self, kind: str, name: str, before: dict[str, int], after: dict[str, int]) -> None:
        above = {name}
        for other, _, needs, _ in SHAPE:
            if above & set(needs):
                above.add(other)
        touched = {other for other in after if after[other] != before[other]}
        if touched != above:
            self.wrong.append(f"{kind} of {name} touched {sorted(touched ^ above)}")
        ready = [each.name for each in self.changes if each.after is State.READY]
        if ready != [other for other, *_ in SHAPE if other in above]:
            self.wrong.append(f"{kind} of {name} restarted in the order {ready}")


def restarts(supervisor: Supervisor) -> dict[str, int]:
    return {each.name: each.restarts for each in supervisor.services()}


def states(supervisor: Supervisor) -> dict[str, State]:
    return {each.name: each.state for each in supervisor.services()}


async def crash_hosts(took: dict[str, list[float]]) -> None:
    """A peer's host crashes; the other peer finds it again on its port."""

    def config(*bootstrap: str) -> Config:
        return Config(
            network=NetworkConfig(listen=("/ip4/127.0.0.1/tcp/0",)),
            discovery=DiscoveryConfig(mdns=False, bootstrap=bootstrap),
        )

    async def until(condition: Callable[[], bool]) -> None:
        with trio.fail_after(60):
            while not condition():  # noqa: ASYNC110 - a peer tells of no agreement ending
                await trio.sleep(0.002)

    def host_restarts(node: Node) -> int:
        return next(each.restarts for each in node.services() if each.name == "host")

    with TemporaryDirectory() as folder:
        async with (
            fogp2p.open_peer(Path(folder), config=config()) as two,
            fogp2p.open_peer(config=config(str(two.addresses[0]))) as one,
        ):
            for number in range(1, HOST_CRASHES + 1):
                await until(lambda: one.status().peers_agreed == 1)
                await until(lambda: two.status().peers_agreed == 1)
                await trio.sleep(SupervisorConfig().steady_s + 1)  # an independent failure
                start = trio.current_time()
                await two.crash_service("host")
                await until(
                    lambda n=number: host_restarts(two) == n and two.status().health is Health.OK
                )
                took.setdefault("host_ready", []).append(trio.current_time() - start)
                await until(lambda: one.status().peers_agreed == two.status().peers_agreed == 1)
                took.setdefault("peer_agreed_again", []).append(trio.current_time() - start)


def figures(values: list[float]) -> dict[str, float]:
    values = sorted(values)
    return {
        "faults": len(values),
        "p50_s": rounded(values[len(values) // 2]),
        "p99_s": rounded(values[int(len(values) * 0.99)]),
        "max_s": rounded(values[-1]),
    }


async def run(faults: int) -> None:
    took: dict[str, list[float]] = {}
    wrong: list[str] = []
    steady = SupervisorConfig(steady_s=0, loop_failures=1_000_000)
    async with trio.open_nursery() as nursery:
        for number in range(TREES):
            source = random.Random(number)
            nursery.start_soon(Tree(took, wrong).suffer, source, faults // TREES, steady)
    async with trio.open_nursery() as nursery:
        for name in ("store", "worker", "front", "alone")[:LOOPS]:
            nursery.start_soon(loop, Tree(took, wrong), name)
    await crash_hosts(took)
    crashes = [each for kind in ("exception", "opening", "killed", "loop") for each in took[kind]]
    report(
        "supervisor",
        ["trio"],
        {
            "settings": {"trees": TREES, "services_each": len(SHAPE), "steady_s": 0},
            "bounds": {"crash_p99_s": 1.0, "hang_p99_s": 6.0},
            "all_crashes": figures(crashes),
            "figures": {kind: figures(values) for kind, values in sorted(took.items())},
            "wrong_order_or_touched": wrong,
        },
    )


async def loop(tree: Tree, name: str) -> None:
    async with open_services(
        tree.services(), real_environment(), on_change=tree.tell
    ) as supervisor:
        await tree.one(supervisor, "loop", tree.parts[name])


def main(faults: int) -> None:
    logging.disable(logging.CRITICAL)  # each fault is a traceback
    trio.run(run, faults)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000)
