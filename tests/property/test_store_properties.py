"""Any sequence of writes, failures, crashes and reopenings, against a plain dictionary."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from fogp2p.environment import Environment
from fogp2p.store import (
    Eviction,
    Journal,
    Quota,
    Store,
    StoreFull,
    StoreReadOnly,
    open_store,
)
from fogp2p.testing import Fault, MemoryDisk, MemoryEngine, run_simulation, sim_environment

PATH = Path("/peer/store.db")
QUOTA = Quota(6, 1_200)
KEYS = st.sampled_from(["a", "b", "c", None])

APPEND = st.tuples(st.just("append"), KEYS, st.integers(0, 300))
DONE = st.tuples(st.just("done"), st.integers(1, 12))
TRIM = st.tuples(st.just("trim"), st.integers(0, 12))
FAULT = st.tuples(st.just("fault"), st.sampled_from(list(Fault)))
GROUP = st.tuples(st.just("group"), st.integers(2, 5))
STEPS = st.lists(
    st.one_of(APPEND, APPEND, DONE, TRIM, FAULT, GROUP, st.just(("reopen",))), max_size=25
)


@dataclass
class Model:
    """What a journal is: number -> [key, payload, done]."""

    entries: dict[int, list[object]] = field(default_factory=dict)
    last: int = 0

    def cost(self, key: object, payload: object) -> int:
        assert isinstance(payload, bytes)
        return len(payload) + len(str(key or "")) + 64

    def append(self, key: str | None, payload: bytes, eviction: Eviction) -> int | None:
        """The number; None when it is refused."""
        for number, entry in self.entries.items():
            if key is not None and entry[0] == key:
                return number
        kept = dict(self.entries)
        while len(kept) + 1 > QUOTA.rows or (
            sum(self.cost(entry[0], entry[1]) for entry in kept.values()) + self.cost(key, payload)
            > QUOTA.bytes
        ):
            candidates = [n for n, entry in kept.items() if entry[2] or eviction is Eviction.OLDEST]
            if not candidates or eviction is Eviction.REFUSE:
                return None
            del kept[min(candidates)]
        self.last += 1
        self.entries = kept | {self.last: [key, payload, False]}
        return self.last

    def state(self) -> list[tuple[object, ...]]:
        return [(number, *entry) for number, entry in sorted(self.entries.items())]


async def _state(journal: Journal) -> list[tuple[object, ...]]:
    return [(e.number, e.key, e.payload, e.is_done) for e in await journal.read()]


class Run:
    """The store and the model side by side."""

    def __init__(self, environment: Environment, eviction: Eviction) -> None:
        assert isinstance(environment.disk, MemoryDisk)
        self.environment, self.disk, self.eviction = environment, environment.disk, eviction
        self.engine = MemoryEngine(environment.disk)
        self.model = Model()

    async def session(self, steps: list[tuple[object, ...]]) -> None:
        """Open, do steps until a reopening, close; what the model says is there."""
        async with open_store(PATH, self.environment, engine=self.engine) as store:
            assert store.status().state == "ok", store.status()
            journal = store.journal("chat", QUOTA, self.eviction)
            assert await _state(journal) == self.model.state()
            while steps and steps[0] != ("reopen",):
                step = steps.pop(0)
                if step[0] == "fault":
                    await self.fail(store, journal, step[1])
                    break
                await self.step(journal, *step)
                assert await _state(journal) == self.model.state()
            if steps and steps[0] == ("reopen",):
                steps.pop(0)

    async def step(self, journal: Journal, kind: object, *given: object) -> None:
        if kind == "append":
            key, size = given
            await self.append(journal, key, bytes([65]) * size)  # type: ignore[arg-type, operator]
        elif kind == "done":
            await journal.done(given[0])  # type: ignore[arg-type]
            if given[0] in self.model.entries:
                self.model.entries[given[0]][2] = True  # type: ignore[index]
        elif kind == "trim":
            gone = [n for n, e in self.model.entries.items() if e[2] and n <= given[0]]  # type: ignore[operator]
            assert await journal.trim(given[0]) == len(gone)  # type: ignore[arg-type]
            for number in gone:
                del self.model.entries[number]
        else:
            answers: list[tuple[int | None, bytes]] = []

            async def one(payload: bytes) -> None:
                answers.append((await self.ask(journal, None, payload), payload))

            async with trio.open_nursery() as nursery:
                for each in range(given[0]):  # type: ignore[call-overload]
                    nursery.start_soon(one, bytes([each]))
            # In the order in which the store took them; those that it refused come last.
            for number, payload in sorted(answers, key=lambda a: (a[0] is None, a[0] or 0)):
                assert number == self.model.append(None, payload, self.eviction)

    async def append(self, journal: Journal, key: str | None, payload: bytes) -> None:
        number = await self.ask(journal, key, payload)
        assert number == self.model.append(key, payload, self.eviction)

    async def ask(self, journal: Journal, key: str | None, payload: bytes) -> int | None:
        try:
            return await journal.append("text", payload, key=key)
        except StoreFull:
            return None

    async def fail(self, store: Store, journal: Journal, fault: object) -> None:
        """The disk fails at the next commit: the entry is unsure until the store is reopened."""
        assert isinstance(fault, Fault)
        before = self.model.state()
        self.disk.fault = fault
        try:
            await journal.append("text", b"unsure")
            raise AssertionError("acknowledged on a disk that failed")
        except StoreFull:
            self.disk.fault = None  # refused before the disk was asked
            return
        except StoreReadOnly:
            pass
        assert store.status().state == "read-only"
        if fault is Fault.CRASH_AFTER:
            assert self.model.append(None, b"unsure", self.eviction) is not None
        assert await _state(journal) in (before, self.model.state())


@settings(deadline=None, max_examples=120)
@given(steps=STEPS, eviction=st.sampled_from(list(Eviction)))
def test_a_store_is_a_dictionary_that_survives(
    steps: list[tuple[object, ...]], eviction: Eviction
) -> None:
    async def scenario(trace: object) -> None:
        run = Run(sim_environment(7, "peer"), eviction)
        left = list(steps)
        await run.session(left)
        while left:
            await run.session(left)
        await run.session([])

    run_simulation(7, scenario)
