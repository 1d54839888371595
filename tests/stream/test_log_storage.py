"""What a log needs of a disk: the same promises, kept in memory and by the durable store."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from fogp2p.errors import FogError, LocalProtocolError
from fogp2p.identity import ephemeral
from fogp2p.protocols.log import MemoryStorage, Storage, Stored, open_logs
from fogp2p.protocols.log.durable import LOG_PART, StoreStorage
from fogp2p.store import open_store
from fogp2p.testing import Fault, MemoryDisk, MemoryEngine, Trace, run_simulation, sim_environment
from fogp2p.transports.memory import MemoryNetwork

PATH = Path("/peer/data/store.db")
GROUP, OTHER = bytes(32), bytes([1]) * 32
Open = Callable[[], AbstractAsyncContextManager[Storage]]


class Durable:
    """The store on a disk in memory; each `open` is a new process on that disk."""

    def __init__(self) -> None:
        self.disk = MemoryDisk()
        self.engine = MemoryEngine(self.disk)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Storage]:
        environment = sim_environment(1, "storage")
        async with open_store(PATH, environment, parts=[LOG_PART], engine=self.engine) as store:
            yield StoreStorage(store)


def _memory() -> Open:
    kept = MemoryStorage()

    @asynccontextmanager
    async def opened() -> AsyncIterator[Storage]:
        yield kept

    return opened


@pytest.fixture(params=["memory", "durable"])
def reopen(request: pytest.FixtureRequest) -> Open:
    """Opens the same storage again and again."""
    return _memory() if request.param == "memory" else Durable().open


def entry(number: int, text: bytes = b"") -> Stored:
    return Stored(number, bytes([number]) * 32, text or b"entry %d" % number)


def _run(scenario: Callable[[], object]) -> None:
    async def run(trace: Trace) -> None:
        await scenario()  # type: ignore[misc]

    run_simulation(1, run)


def test_entries_are_read_by_number_and_fetched_by_id_after_reopening(reopen: Open) -> None:
    async def scenario() -> None:
        async with reopen() as storage:
            await storage.add_group(GROUP)
            await storage.add_group(GROUP)
            await storage.commit(GROUP, [entry(1), entry(2)])
            await storage.commit(GROUP, [entry(3)])
            await storage.commit(OTHER, [entry(1, b"of the other")])
        async with reopen() as storage:
            assert sorted(await storage.groups()) == [GROUP, OTHER]
            assert list(await storage.read(GROUP, 0, 2)) == [entry(1), entry(2)]
            assert list(await storage.read(GROUP, 2, 64)) == [entry(3)]
            assert list(await storage.read(GROUP, 3, 64)) == []
            assert list(await storage.read(bytes([9]) * 32, 0, 64)) == []
            found = await storage.fetch(GROUP, [entry(3).id, bytes([9]) * 32, entry(1).id])
            assert found == {entry(1).id: b"entry 1", entry(3).id: b"entry 3"}
            assert await storage.fetch(OTHER, [entry(1).id]) == {entry(1).id: b"of the other"}
            await storage.commit(GROUP, [entry(4)])
            assert [each.number for each in await storage.read(GROUP, 0, 64)] == [1, 2, 3, 4]

    _run(scenario)


@pytest.mark.parametrize("numbers", [(2,), (1, 3), (0, 1), (2, 1), (1, 1)])
def test_a_gap_is_refused_and_nothing_of_it_is_stored(
    reopen: Open, numbers: tuple[int, ...]
) -> None:
    async def scenario() -> None:
        async with reopen() as storage:
            with pytest.raises(LocalProtocolError) as caught:
                await storage.commit(GROUP, [entry(n) for n in numbers], {"screen": 1})
            assert caught.value.code == "log-storage"
        async with reopen() as storage:
            assert list(await storage.read(GROUP, 0, 64)) == []
            assert await storage.mark(GROUP, "screen") == 0
            await storage.commit(GROUP, [entry(1)])

    _run(scenario)


def test_marks_are_of_one_consumer_in_one_group(reopen: Open) -> None:
    async def scenario() -> None:
        async with reopen() as storage:
            assert await storage.mark(GROUP, "screen") == 0
            await storage.commit(GROUP, [entry(1)], {"screen": 1, "index": 1})
            await storage.commit(GROUP, [], {"screen": 7})
        async with reopen() as storage:
            assert await storage.mark(GROUP, "screen") == 7
            assert await storage.mark(GROUP, "index") == 1
            assert await storage.mark(OTHER, "screen") == 0

    _run(scenario)


@pytest.mark.parametrize("fault", [Fault.FULL, Fault.IO_ERROR, Fault.READ_ONLY, Fault.CRASH_BEFORE])
def test_a_disk_that_refuses_stores_all_or_nothing_and_what_was_there_stays(fault: Fault) -> None:
    async def scenario() -> None:
        durable = Durable()
        async with durable.open() as storage:
            await storage.commit(GROUP, [entry(1)], {"screen": 1})
            durable.disk.fault = fault
            with pytest.raises(FogError):
                await storage.commit(GROUP, [entry(2), entry(3)], {"screen": 3})
            assert [each.number for each in await storage.read(GROUP, 0, 64)] == [1]
            # It stays closed for writes: what a failed flush left is not known.
            with pytest.raises(FogError):
                await storage.commit(GROUP, [entry(2)])
        async with durable.open() as storage:
            assert [each.number for each in await storage.read(GROUP, 0, 64)] == [1]
            assert await storage.mark(GROUP, "screen") == 1
            await storage.commit(GROUP, [entry(2)])

    _run(scenario)


def test_a_group_goes_on_where_the_durable_store_left_it() -> None:
    """A whole group over the store: written, closed, opened again."""
    keys = ephemeral(random.Random(5))

    async def scenario() -> None:
        durable, texts = Durable(), [b"one", b"two", b"three"]
        network = MemoryNetwork(seed=1)
        for text in texts:
            async with (
                network.open_host(keys) as host,
                durable.open() as storage,
                open_logs(host, keys, storage, sim_environment(1, "log")) as logs,
            ):
                group = logs.groups[0] if logs.groups else await logs.create("tea")
                await group.append(text)
        async with (
            network.open_host(keys) as host,
            durable.open() as storage,
            open_logs(host, keys, storage, sim_environment(1, "log")) as logs,
        ):
            (group,) = logs.groups
            found = [group.delivery(each) for each in await group.page_after(0)]
            assert [each.text for each in found if each.text is not None] == texts
            assert [each.number for each in found] == [*range(1, len(found) + 1)]

    _run(scenario)
