"""The store in one process: what it promises its callers."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from fogp2p.environment import real_environment
from fogp2p.errors import DeadlineExceeded, LocalProtocolError
from fogp2p.killpoints import KILLPOINTS, arm, killpoint
from fogp2p.process import LockedError
from fogp2p.store import (
    Eviction,
    Outbox,
    Part,
    Quota,
    Store,
    StoreBusy,
    StoreConfig,
    StoreDamaged,
    StoreFull,
    StoreNewer,
    StoreReadOnly,
    StoreUnavailable,
    Transaction,
    open_store,
)
from fogp2p.testing import Fault, MemoryDisk, MemoryEngine, run_simulation, sim_environment

BIG = Quota(10_000, 10**8)
NOTES = Part(
    "note",
    ("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;",),
    quotas={"note": (Quota(3, 1_000), Eviction.OLDEST)},
)
PATH = Path("/peer/data/store.db")


def insert(text: str) -> Callable[[Transaction], int]:
    return lambda t: t.run("INSERT INTO note (text) VALUES (?)", (text,))


def texts(transaction: Transaction) -> list[str]:
    return [row[0] for row in transaction.rows("SELECT text FROM note ORDER BY id")]


async def test_what_is_acknowledged_is_there_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "data" / "store.db"
    async with open_store(path, real_environment(), parts=[NOTES]) as store:
        assert await store.write(insert("one")) == 1
        journal = store.journal("chat", BIG)
        assert [await journal.append("text", b"a"), await journal.append("text", b"b")] == [1, 2]
        status = store.status()
        assert (status.state, status.why, status.since) == ("ok", "", None)
        assert {each.name: each.rows for each in status.usage} == {"chat": 2, "note": 1}
        assert status.last_commit_s > 0 and status.file_bytes + status.log_bytes > 0
    assert {each.name for each in path.parent.iterdir()} == {
        "store.db",
        "store.db.lock",
        "store.db.mark",
    }
    assert all(each.stat().st_mode & 0o077 == 0 for each in path.parent.iterdir())
    async with open_store(path, real_environment(), parts=[NOTES]) as store:
        assert await store.read(texts) == ["one"]
        entries = await store.journal("chat", BIG).read()
        assert [(each.number, each.payload, each.is_done) for each in entries] == [
            (1, b"a", False),
            (2, b"b", False),
        ]


async def test_a_write_that_fails_does_not_undo_its_neighbours(tmp_path: Path) -> None:
    def wrong(transaction: Transaction) -> None:
        transaction.run("INSERT INTO note (text) VALUES ('half')")
        raise KeyError("mine")

    raised: list[str] = []

    async def write(store: Store, function: Callable[[Transaction], object]) -> None:
        try:
            await store.write(function)
        except (KeyError, sqlite3.IntegrityError) as exc:
            raised.append(type(exc).__name__)

    part = Part("note", NOTES.migrations)
    async with open_store(tmp_path / "store.db", real_environment(), parts=[part]) as store:
        before = store.status().commits
        bad_value = lambda t: t.run("INSERT INTO note (text) VALUES (x'00')")  # noqa: E731
        async with trio.open_nursery() as nursery:
            for function in (insert("a"), wrong, insert("b"), bad_value, insert("c")):
                nursery.start_soon(write, store, function)
        assert sorted(await store.read(texts)) == ["a", "b", "c"]
        assert sorted(raised) == ["IntegrityError", "KeyError"]
        assert store.status().state == "ok"
        assert store.status().commits - before <= 2  # they were a group, not five commits


async def test_a_read_cannot_write(tmp_path: Path) -> None:
    async with open_store(tmp_path / "store.db", real_environment(), parts=[NOTES]) as store:
        with pytest.raises(LocalProtocolError, match="cannot write"):
            await store.read(insert("sneaked in"))
        await store.write(insert("the proper way"))
        assert await store.read(texts) == ["the proper way"]


async def test_a_key_is_appended_once(tmp_path: Path) -> None:
    async with open_store(tmp_path / "store.db", real_environment()) as store:
        journal = store.journal("inbox", BIG)
        first = await journal.append("text", b"payload", key="m1")
        assert await journal.append("text", b"payload", key="m1") == first
        assert len(await journal.read()) == 1
        found = await journal.find("m1")
        assert found is not None and found.number == first
        assert await journal.find("m2") is None


async def test_done_entries_leave_by_trim_and_numbers_never_come_back(tmp_path: Path) -> None:
    async with open_store(tmp_path / "store.db", real_environment()) as store:
        journal = store.journal("inbox", BIG)
        for payload in (b"a", b"b", b"c"):
            await journal.append("text", payload)
        await journal.done(1, 3, 99)
        assert [each.number for each in await journal.read(waiting=True)] == [2]
        assert await journal.trim(10) == 2
        assert await journal.append("text", b"d") == 4
        assert [each.number for each in await journal.read()] == [2, 4]
    async with open_store(tmp_path / "store.db", real_environment()) as store:
        assert store.status().state == "ok"  # the totals of the journal agree


@pytest.mark.parametrize(
    ("eviction", "kept"),
    [(Eviction.DONE_FIRST, [1, 3, 4]), (Eviction.OLDEST, [2, 3, 4])],
)
async def test_a_full_journal_evicts_by_its_rule(
    tmp_path: Path, eviction: Eviction, kept: list[int]
) -> None:
    async with open_store(tmp_path / "store.db", real_environment()) as store:
        journal = store.journal("inbox", Quota(3, 10_000), eviction)
        for payload in (b"a", b"b", b"c"):
            await journal.append("text", payload)
        await journal.done(2)
        await journal.append("text", b"d")
        assert [each.number for each in await journal.read()] == kept
        assert store.status().usage[0].evicted == 1
        if eviction is Eviction.DONE_FIRST:
            with pytest.raises(StoreFull, match="'inbox' holds 3 entries") as caught:
                await journal.append("text", b"e")
            assert caught.value.hint and caught.value.number == "FOG-STORE-005"
            assert [each.number for each in await journal.read()] == kept


async def test_quotas_count_bytes(tmp_path: Path) -> None:
    async with open_store(tmp_path / "store.db", real_environment()) as store:
        refusing = store.journal("money", Quota(100, 300), Eviction.REFUSE)
        await refusing.append("text", bytes(100))
        with pytest.raises(StoreFull):
            await refusing.append("text", bytes(100))
        ring = store.journal("log", Quota(100, 300), Eviction.OLDEST)
        for _ in range(5):
            await ring.append("text", bytes(100))
        assert [each.number for each in await ring.read()] == [5]


async def test_a_parts_own_table_has_a_quota(tmp_path: Path) -> None:
    async with open_store(tmp_path / "store.db", real_environment(), parts=[NOTES]) as store:
        for text in "abcde":
            await store.write(insert(text))
        assert await store.read(texts) == ["c", "d", "e"]
        usage = store.status().usage[0]
        assert (usage.name, usage.rows, usage.evicted, usage.quota_rows) == ("note", 3, 2, 3)
        with pytest.raises(StoreFull, match="quota of note"):
            await store.write(insert("x" * 2_000))
        await store.write(lambda t: t.run("UPDATE note SET text = 'longer' WHERE text = 'c'"))
        with pytest.raises(StoreFull):
            await store.write(lambda t: t.run("UPDATE note SET text = ?", ("y" * 500,)))
        before = store.status().usage[0]
        await store.write(lambda t: t.run("DELETE FROM note"))
        assert (before.rows, before.bytes) != (0, 0)
        assert (store.status().usage[0].rows, store.status().usage[0].bytes) == (0, 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Quota(0, 1),
        lambda: Part("No"),
        lambda: Part("note", quotas={"other": (Quota(1, 1), Eviction.REFUSE)}),
        lambda: Part("note", quotas={"note": (Quota(1, 1), Eviction.DONE_FIRST)}),
    ],
)
def test_wrong_declarations_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(LocalProtocolError):
        make()


async def test_wrong_entries_are_refused(tmp_path: Path) -> None:
    async with open_store(tmp_path / "store.db", real_environment()) as store:
        journal = store.journal("inbox", BIG)
        with pytest.raises(LocalProtocolError):
            await journal.append("", b"")
        with pytest.raises(LocalProtocolError):
            await journal.append("text", bytes(2**20 + 1))
        with pytest.raises(LocalProtocolError):
            await journal.append("text", b"", key="k" * 129)
        assert await journal.read() == ()


@pytest.mark.attack(99)
async def test_a_second_store_on_the_same_file_is_refused(tmp_path: Path) -> None:
    async with open_store(tmp_path / "store.db", real_environment()):
        with pytest.raises(LockedError, match="another fogp2p"):
            async with open_store(tmp_path / "store.db", real_environment()):
                raise AssertionError("it was opened twice")


@pytest.mark.attack(99)
async def test_a_foreign_program_that_holds_the_file_costs_a_write_only(tmp_path: Path) -> None:
    async with open_store(tmp_path / "store.db", real_environment(), parts=[NOTES]) as store:
        foreign = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy) as caught:
            await store.write(insert("a"))
        assert caught.value.number == "FOG-STORE-006"
        foreign.rollback()
        foreign.close()
        await store.write(insert("b"))
        assert await store.read(texts) == ["b"]


async def test_callers_have_deadlines_and_a_store_that_closes_answers_all(tmp_path: Path) -> None:
    async with open_store(tmp_path / "store.db", real_environment()) as store:
        with pytest.raises(DeadlineExceeded):
            await store.write(lambda t: None, deadline=trio.current_time())
    with pytest.raises(StoreUnavailable, match="closed") as caught:
        await store.read(lambda t: None)
    assert caught.value.number == "FOG-STORE-001"


# --- versions ------------------------------------------------------------------------------------

OLD = Part("note", NOTES.migrations)
NEW = Part(
    "note", (*OLD.migrations, "ALTER TABLE note ADD COLUMN at INTEGER; DROP TABLE IF EXISTS x")
)


async def test_a_migration_keeps_a_copy_from_before(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with open_store(path, real_environment(), parts=[OLD]) as store:
        await store.write(insert("kept"))
    async with open_store(path, real_environment(), parts=[NEW]) as store:
        row = await store.read(lambda t: t.row("SELECT text, at FROM note"))
        assert row == ("kept", None)
    copy = path.with_name("store.db.before-migration")
    async with open_store(copy, real_environment(), parts=[OLD]) as store:
        assert await store.read(texts) == ["kept"]


@pytest.mark.attack(100)
async def test_a_downgrade_is_refused_with_both_versions_and_touches_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store.db"
    async with open_store(path, real_environment(), parts=[NEW]) as store:
        await store.write(lambda t: t.run("INSERT INTO note (text, at) VALUES ('new', 5)"))
    before = path.read_bytes()
    async with open_store(path, real_environment(), parts=[OLD]) as store:
        status = store.status()
        assert status.state == "newer" and status.since is not None
        assert status.why == "its part 'note' has version 2, this program knows version 1"
        assert "newer fogp2p" in status.hint
        with pytest.raises(StoreNewer) as caught:
            await store.write(insert("old"))
        assert caught.value.number == "FOG-STORE-004"
        with pytest.raises(StoreNewer):
            await store.read(texts)
    assert path.read_bytes() == before
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=7")
    connection.close()
    async with open_store(path, real_environment(), parts=[NEW]) as store:
        assert store.status().why == "it has format 7, this program knows format 1"


@pytest.mark.parametrize("step", ["CREATE TABLE note2 (id INTEGER) STRICT; THIS IS WRONG;"])
async def test_a_migration_that_fails_changes_nothing(tmp_path: Path, step: str) -> None:
    path = tmp_path / "store.db"
    async with open_store(path, real_environment(), parts=[OLD]) as store:
        await store.write(insert("kept"))
    broken = Part("note", (*OLD.migrations, step))
    async with open_store(path, real_environment(), parts=[broken]) as store:
        assert store.status().state == "read-only" and "syntax error" in store.status().why
        assert await store.read(texts) == ["kept"]

    def raising(transaction: Transaction) -> None:
        transaction.run("DELETE FROM note")
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        async with open_store(path, real_environment(), parts=[Part("note", (step, raising))]):
            raise AssertionError("opened")
    async with open_store(path, real_environment(), parts=[OLD]) as store:
        assert store.status().state == "ok" and await store.read(texts) == ["kept"]


# --- the latch -----------------------------------------------------------------------------------


@pytest.mark.attack(97)
@pytest.mark.parametrize("fault", list(Fault))
def test_the_first_disk_error_latches_and_reopening_resumes(fault: Fault) -> None:
    async def scenario(trace: object) -> None:
        environment = sim_environment(1, "a")
        assert isinstance(environment.disk, MemoryDisk)
        engine = MemoryEngine(environment.disk)
        async with open_store(PATH, environment, engine=engine) as store:
            journal = store.journal("chat", BIG)
            assert await journal.append("text", b"safe") == 1
            environment.disk.fault = fault
            for _ in range(3):
                with pytest.raises(StoreReadOnly) as caught:
                    await journal.append("text", b"unsure")
                assert (
                    fault.value in str(caught.value) and "start the peer again" in caught.value.hint
                )
                await trio.sleep(5)
            status = store.status()
            assert status.state == "read-only" and fault.value in status.why
            assert status.since is not None and status.since < environment.clock.wall() - 10
            assert [each.payload for each in await journal.read()][:1] == [b"safe"]
        async with open_store(PATH, environment, engine=engine) as store:
            journal = store.journal("chat", BIG)
            assert store.status().state == "ok"
            payloads = [each.payload for each in await journal.read()]
            assert payloads in ([b"safe"], [b"safe", b"unsure"])
            assert await journal.append("text", b"goes on") == len(payloads) + 1

    run_simulation(1, scenario)


@pytest.mark.attack(97)
def test_an_error_that_a_function_swallows_latches_all_the_same() -> None:
    async def scenario(trace: object) -> None:
        environment = sim_environment(1, "a")
        assert isinstance(environment.disk, MemoryDisk)
        async with open_store(PATH, environment, engine=MemoryEngine(environment.disk)) as store:

            def ends_the_transaction(transaction: Transaction) -> None:
                transaction.run("ROLLBACK")

            with pytest.raises(StoreReadOnly, match="ended the transaction"):
                await store.write(ends_the_transaction)
            with pytest.raises(StoreReadOnly):
                await store.write(lambda t: None)

    run_simulation(1, scenario)


@pytest.mark.attack(96)
def test_a_flipped_bit_on_the_simulated_disk_is_found() -> None:
    async def scenario(trace: object) -> None:
        environment = sim_environment(1, "a")
        disk = environment.disk
        assert isinstance(disk, MemoryDisk)
        async with open_store(PATH, environment, engine=MemoryEngine(disk)) as store:
            await store.journal("chat", BIG).append("text", b"the sentence that rots")
        data = disk.read(PATH, max_bytes=2**20)
        assert data is not None
        disk.flip(PATH, 8 * data.index(b"sentence") + 3)
        async with open_store(PATH, environment, engine=MemoryEngine(disk)) as store:
            journal = store.journal("chat", BIG)
            with pytest.raises(StoreDamaged, match=r"entry 1 .*not what was written"):
                await journal.read()
            assert store.status().state == "damaged"
            with pytest.raises(StoreDamaged) as caught:
                await journal.append("text", b"more")
            assert caught.value.number == "FOG-STORE-003"
            assert await journal.salvage() == ((), (1,))

    run_simulation(1, scenario)


def test_simulated_stores_repeat() -> None:
    async def scenario(trace: object) -> None:
        environment = sim_environment(5, "a")
        assert isinstance(environment.disk, MemoryDisk)
        async with open_store(PATH, environment, engine=MemoryEngine(environment.disk)) as store:
            journal = store.journal("chat", BIG)

            async def write(count: int) -> None:
                for _ in range(count):
                    await trio.sleep(environment.random.random())
                    number = await journal.append("text", environment.random.randbytes(9))
                    trace.record(number, store.status().commits)  # type: ignore[attr-defined]

            async with trio.open_nursery() as nursery:
                for count in (3, 5, 7):
                    nursery.start_soon(write, count)
            assert len(await journal.read()) == 15

    digests = {run_simulation(5, scenario)[1].digest for _ in range(2)}
    assert len(digests) == 1


# --- outbox and kill points ----------------------------------------------------------------------


async def test_an_outbox_publishes_what_is_durable_in_order_and_keeps_the_rest(
    tmp_path: Path,
) -> None:
    sent: list[bytes] = []

    async def send(entry: object) -> None:
        payload: bytes = entry.payload  # type: ignore[attr-defined]
        if payload == b"c" and b"fails" not in sent:
            sent.append(b"fails")
            raise OSError("no network")
        sent.append(payload)

    async with open_store(tmp_path / "store.db", real_environment()) as store:
        outbox = Outbox(store.journal("out", BIG))
        for payload in (b"a", b"b", b"c", b"d"):
            await outbox.put("text", payload)
        with pytest.raises(OSError, match="no network"):
            await outbox.publish(send)
        assert sent == [b"a", b"b", b"fails"]
    async with open_store(tmp_path / "store.db", real_environment()) as store:
        outbox = Outbox(store.journal("out", BIG))
        assert await outbox.publish(send) == 2
        assert sent == [b"a", b"b", b"fails", b"c", b"d"]
        assert await outbox.publish(send) == 0


def test_a_kill_point_acts_when_armed_only_and_must_be_named() -> None:
    passed: list[int] = []
    killpoint("store.commit.before")
    with arm("store.commit.before", lambda: passed.append(1), skip=1):
        killpoint("store.commit.before")
        killpoint("store.commit.after")
        assert passed == []
        killpoint("store.commit.before")
        with pytest.raises(KeyError):
            killpoint("no.such.place")
    killpoint("store.commit.before")
    killpoint("no.such.place")  # unarmed it does nothing at all
    assert passed == [1] and len(KILLPOINTS) >= 100
    with pytest.raises(KeyError), arm("no.such.place", lambda: None):
        pass


async def test_the_log_is_moved_into_the_file_before_it_grows(tmp_path: Path) -> None:
    config = StoreConfig(checkpoint_bytes=100_000)
    async with open_store(tmp_path / "store.db", real_environment(), config=config) as store:
        journal = store.journal("chat", BIG)
        largest = 0
        for _ in range(60):
            await journal.append("text", bytes(10_000))
            largest = max(largest, store.status().log_bytes)
        assert 100_000 < largest < 200_000
