"""Whole networks in one process, under a virtual clock, repeatable from a seed.

Trio schedules tasks that are ready at the same moment in random order on purpose. For repeatable
runs that order is drawn from a seeded source, by the same two private names of trio that its own
Hypothesis plugin sets.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, TypeVarTuple

import trio
import trio.testing

from fogp2p.environment import Environment, Worker

from .disk import MemoryDisk

__all__ = ["Trace", "run_simulation", "sim_environment"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# 2026-01-01 00:00:00 UTC: simulated days begin here.
EPOCH_S = 1_767_225_600.0


class Trace:
    """What happened, as a hash: two runs did the same if and only if their digests are equal."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.events = 0

    def record(self, *facts: object) -> None:
        """Add one event, with the virtual time."""
        line = f"{trio.current_time():.9f} {facts!r}\n"
        self._hash.update(line.encode("utf-8"))
        self.events += 1

    @property
    def digest(self) -> str:
        """64 hexadecimal digits."""
        return self._hash.hexdigest()


class _VirtualClock:
    def __init__(self) -> None:
        self.skew_s = 0.0

    def monotonic(self) -> float:
        return trio.current_time()

    def wall(self) -> float:
        return EPOCH_S + trio.current_time() + self.skew_s


class _Inline:
    """Threads and processes run in real time while the virtual clock jumps past them."""

    async def in_thread(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        await trio.lowlevel.checkpoint()
        return function(*args)

    async def in_process(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        await trio.lowlevel.checkpoint()
        return function(*args)

    @contextmanager
    def worker(self, name: str) -> Iterator[Worker]:
        yield _InlineWorker()


class _InlineWorker:
    async def run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        return function(*args)


def sim_environment(seed: int, name: str = "", *, wall_skew_s: float = 0.0) -> Environment:
    """An Environment for the simulated node `name`: virtual clock, own random stream, memory disk.

    `wall_skew_s`: how wrong the node's date is.
    """
    clock = _VirtualClock()
    clock.skew_s = wall_skew_s
    return Environment(
        clock=clock,
        random=random.Random(f"{seed}/{name}"),  # noqa: S311 - simulation, repeatable on purpose
        executor=_Inline(),
        disk=MemoryDisk(),
    )


def run_simulation(seed: int, scenario: Callable[[Trace], Awaitable[T]]) -> tuple[T, Trace]:
    """Run `scenario(trace)` under a virtual clock that jumps ahead whenever all tasks wait.

    Returns its result and the trace. Equal seeds give equal traces on one Python version.
    """
    trace = Trace()
    # Private names of trio, stable since 2018 and used by its Hypothesis plugin.
    runner: Any = trio._core._run
    before, state = runner._ALLOW_DETERMINISTIC_SCHEDULING, runner._r.getstate()
    runner._ALLOW_DETERMINISTIC_SCHEDULING = True
    runner._r.seed(seed)
    try:
        clock = trio.testing.MockClock(autojump_threshold=0)
        return trio.run(scenario, trace, clock=clock), trace
    finally:
        runner._ALLOW_DETERMINISTIC_SCHEDULING = before
        runner._r.setstate(state)
