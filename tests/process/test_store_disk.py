"""The store on disks that fail: full, read-only, without fsync, damaged."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from fogp2p.environment import real_environment
from fogp2p.errors import LocalProtocolError
from fogp2p.store import (
    Eviction,
    Quota,
    Store,
    StoreReadOnly,
    StoreUnavailable,
    Transaction,
    open_store,
)

pytestmark = pytest.mark.process

BIG = Quota(100_000, 10**9)
_ROOT = os.geteuid() == 0

# Appends until refused, then shows that it stays so: `acked N` lines, then `latched STATE WHY`.
_FILL = """
import sys, trio
from pathlib import Path
from fogp2p.environment import real_environment
from fogp2p.store import Quota, StoreUnavailable, open_store
from fogp2p.killpoints import arm
import resource, signal

async def main():
    count, size = int(sys.argv[2]), int(sys.argv[3])
    async with open_store(Path(sys.argv[1]), real_environment()) as store:
        print("opened", store.status().state, flush=True)
        journal = store.journal("chat", Quota(1_000_000, 10**9))
        if len(sys.argv) > 4:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            limit = int(sys.argv[4])
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            for each in range(count):
                print("acked", await journal.append("text", bytes(size)), flush=True)
        except StoreUnavailable as exc:
            refused = 0
            for _ in range(5):
                try:
                    await journal.append("text", b"")
                except StoreUnavailable:
                    refused += 1
            status = store.status()
            print("latched", status.state, refused, len(await journal.read()) > 0, status.why)
            assert status.hint and str(exc)
trio.run(main)
"""


def _fill(path: Path, *words: object, before: tuple[str, ...] = ()) -> tuple[list[int], str]:
    """Run it; return the acknowledged numbers and the last line."""
    line = [*before, sys.executable, "-c", _FILL, str(path), *map(str, words)]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr[-2_000:]
    lines = ended.stdout.splitlines()
    acked = [int(each.split()[1]) for each in lines if each.startswith("acked")]
    return acked, lines[-1]


async def _numbers(path: Path) -> list[int]:
    """What is in the journal; the store is well."""
    async with open_store(path, real_environment()) as store:
        assert store.status().state == "ok", store.status()
        return await _all(store)


async def _all(store: Store) -> list[int]:
    journal, numbers = store.journal("chat", BIG), [0]
    while entries := await journal.read(numbers[-1]):
        numbers += [entry.number for entry in entries]
    return numbers[1:]


@contextmanager
def _mounted(path: Path, options: str) -> Iterator[None]:
    path.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", options, "fogp2p-test", str(path)]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def _remount(path: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(path)], check=True)


@pytest.mark.attack(97)
@pytest.mark.skipif(not _ROOT, reason="mounting a small file system needs root")
async def test_a_full_disk_latches_and_loses_nothing(tmp_path: Path) -> None:
    with _mounted(tmp_path / "small", "size=4m"):
        path = tmp_path / "small" / "store.db"
        acked, last = _fill(path, 10_000, 10_000)
        assert last.startswith("latched read-only 5 True"), last
        assert "full" in last and len(acked) > 50
        # Still full: the peer starts, says why, and serves reads.
        async with open_store(path, real_environment()) as store:
            assert (await _all(store))[: len(acked)] == acked
        # Somebody makes room: a restart resumes.
        _remount(path.parent, "size=16m")
        assert (await _numbers(path))[: len(acked)] == acked
        again, _ = _fill(path, 3, 10)
        assert again[0] > acked[-1]


@pytest.mark.attack(97)
async def test_a_limit_on_file_size_latches_and_loses_nothing(tmp_path: Path) -> None:
    """The same without root: RLIMIT_FSIZE makes the log's write fail, as a quota of the system."""
    path = tmp_path / "store.db"
    acked, last = _fill(path, 10_000, 10_000, 1_000_000)
    assert last.startswith("latched read-only 5 True"), last
    assert len(acked) > 10
    assert (await _numbers(path))[: len(acked)] == acked


@pytest.mark.attack(97)
@pytest.mark.skipif(not _ROOT, reason="mounting a read-only file system needs root")
async def test_a_read_only_file_system_is_a_state(tmp_path: Path) -> None:
    with _mounted(tmp_path / "disk", "size=8m"):
        path = tmp_path / "disk" / "store.db"
        acked, _ = _fill(path, 20, 100)
        _remount(path.parent, "ro")
        await _is_read_only(path, acked)
        missing = tmp_path / "disk" / "other.db"
        async with open_store(missing, real_environment()) as store:
            assert store.status().state == "read-only"
            with pytest.raises(StoreUnavailable):
                await store.read(lambda t: None)


@pytest.mark.attack(97)
@pytest.mark.skipif(_ROOT, reason="root writes whatever the permissions say")
async def test_a_directory_without_permission_is_a_state(tmp_path: Path) -> None:
    path = tmp_path / "data" / "store.db"
    acked, _ = _fill(path, 20, 100)
    path.with_name("store.db.lock").unlink()
    path.parent.chmod(0o500)
    try:
        await _is_read_only(path, acked)
    finally:
        path.parent.chmod(0o700)


async def _is_read_only(path: Path, acked: list[int]) -> None:
    async with open_store(path, real_environment()) as store:
        status = store.status()
        assert status.state == "read-only" and "cannot open" in status.why and status.hint
        assert await _all(store) == acked
        with pytest.raises(StoreReadOnly) as caught:
            await store.journal("chat", BIG).append("text", b"")
        assert caught.value.number == "FOG-STORE-002"


@pytest.mark.attack(97)
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace injects the failing fsync")
@pytest.mark.parametrize("when", [8, 11, 14, 17, 20])
async def test_one_failed_fsync_latches_although_sqlite_would_go_on(
    tmp_path: Path, when: int
) -> None:
    """Exactly one fdatasync fails; all later ones would succeed, and are not asked for."""
    path = tmp_path / "store.db"
    inject = f"inject=fsync,fdatasync:error=EIO:when={when}"
    strace = ("strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=fsync,fdatasync", "-e", inject)
    acked, last = _fill(path, 40, 100, before=strace)
    assert last.startswith(f"latched read-only 5 {acked != []}"), last
    assert "disk I/O error" in last and len(acked) < 40
    there = await _numbers(path)
    # The one that met the failure may be there, or not; nothing behind it was tried.
    assert there[: len(acked)] == acked and len(there) <= len(acked) + 1


# --- damage --------------------------------------------------------------------------------------

_CLOSED = ("store.db", "store.db", "store.db", "store.db.mark")
_CRASHED = ("store.db", "store.db-wal", "store.db-wal", "store.db-shm", "store.db.mark")


def _payload(number: int) -> bytes:
    return random.Random(number).randbytes(150 + number % 400)


async def _made(path: Path) -> None:
    """A store of 300 entries, some in the database, some in the log only; as after kill -9."""
    live = path / "live"
    async with open_store(live / "store.db", real_environment()) as store:
        await _append(store, range(1, 151))
    shutil.copytree(live, path / "closed")
    async with open_store(live / "store.db", real_environment()) as store:
        await _append(store, range(151, 301))
        shutil.copytree(live, path / "crashed")


async def _append(store: Store, numbers: range) -> None:
    """Ten entries in each commit."""
    journal = store.journal("chat", BIG, Eviction.REFUSE)

    def ten(transaction: Transaction, start: int) -> None:
        for number in range(start, start + 10):
            journal.add(transaction, "text", _payload(number), key=f"k{number}")

    for start in numbers[::10]:
        await store.write(partial(ten, start=start))


def _mutate(file: Path, source: random.Random, other: Path) -> str:
    data = bytearray(file.read_bytes())
    kind = source.choice(["flip", "flip", "flip", "zero", "truncate", "swap", "garbage", "delete"])
    at = source.randrange(len(data))
    if kind == "flip":
        data[at] ^= 1 << source.randrange(8)
    elif kind == "zero":
        start = at // 4096 * 4096
        data[start : start + 4096] = bytes(len(data[start : start + 4096]))
    elif kind == "truncate":
        del data[at:]
    elif kind == "garbage":
        data[at : at + 64] = source.randbytes(len(data[at : at + 64]))
    elif kind == "swap":
        data = bytearray((other / file.name).read_bytes())
    file.write_bytes(bytes(data))
    if kind == "delete":
        file.unlink()
    return f"{kind} of {file.name} at {at}"


async def _verdict(path: Path, count: int) -> str:
    """`harmless`: every entry is as written. `detected`: the state or the read says damaged."""
    async with open_store(path / "store.db", real_environment()) as store:
        journal = store.journal("chat", BIG, Eviction.REFUSE)
        state = store.status().state
        assert state in ("ok", "damaged"), store.status()
        try:
            found, after = {}, 0
            while entries := await journal.read(after):
                found |= {entry.number: entry.payload for entry in entries}
                after = entries[-1].number
        except StoreUnavailable:
            assert store.status().state == "damaged"
            return "detected"
        # What is answered is right, in every state.
        assert all(payload == _payload(number) for number, payload in found.items())
        if state == "damaged":
            assert store.status().why and store.status().hint
            with pytest.raises(StoreUnavailable):
                await journal.append("text", b"more")
            return "detected"
        assert sorted(found) == list(range(1, count + 1))
        for number in (1, count // 2, count):
            entry = await journal.find(f"k{number}")
            assert entry is not None and entry.number == number
        return "harmless"


@pytest.mark.attack(96)
@pytest.mark.attack(95)
async def test_200_kinds_of_damage_are_detected_or_harmless(tmp_path: Path) -> None:
    await _made(tmp_path / "one")
    await _made(tmp_path / "two")
    source = random.Random(96)
    verdicts: dict[str, int] = {}
    for each in range(200):
        shape, count = source.choice([("closed", 150), ("crashed", 300)])
        work = tmp_path / "work"
        shutil.copytree(tmp_path / "one" / shape, work)
        name = source.choice(_CLOSED if shape == "closed" else _CRASHED)
        what = _mutate(work / name, source, tmp_path / "two" / shape)
        before = {file.name: file.read_bytes() for file in work.iterdir()}
        try:
            verdict = await _verdict(work, count)
        except AssertionError as exc:
            raise AssertionError(f"{each}: {what}, {shape}") from exc
        if verdict == "detected" and name in ("store.db", "store.db-wal"):
            # Evidence is kept: neither database nor log was changed, or made anew.
            for kept in ("store.db", "store.db-wal"):
                if kept in before:
                    assert (work / kept).read_bytes() == before[kept], what
                elif kept == "store.db":
                    assert not (work / kept).exists()
        verdicts[verdict] = verdicts.get(verdict, 0) + 1
        shutil.rmtree(work)
    print(verdicts)  # noqa: T201
    assert verdicts["detected"] > 100 and verdicts["harmless"] > 10


@pytest.mark.attack(95)
async def test_an_old_copy_in_place_of_the_database_is_noticed(tmp_path: Path) -> None:
    await _made(tmp_path / "one")
    live = tmp_path / "one" / "live"
    shutil.copy(tmp_path / "one" / "closed" / "store.db", live / "store.db")
    async with open_store(live / "store.db", real_environment()) as store:
        status = store.status()
        assert status.state == "damaged" and "15 of" in status.why and "old copy" in status.why


@pytest.mark.attack(96)
async def test_what_is_readable_of_a_damaged_store_can_be_saved(tmp_path: Path) -> None:
    await _made(tmp_path / "one")
    path = tmp_path / "one" / "closed" / "store.db"
    data = bytearray(path.read_bytes())
    place = data.index(_payload(70)[:32])
    data[place // 4096 * 4096 : place // 4096 * 4096 + 4096] = bytes(4096)
    path.write_bytes(bytes(data))
    async with open_store(path, real_environment()) as store:
        assert store.status().state == "damaged"
        found, lost = await store.journal("chat", BIG).salvage()
        assert 70 in lost and len(lost) < 20
        assert sorted([*lost, *(entry.number for entry in found)]) == list(range(1, 151))
        assert all(entry.payload == _payload(entry.number) for entry in found)


async def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (a)")
    other.close()
    before = path.read_bytes()
    async with open_store(path, real_environment()) as store:
        assert store.status().why == "the file is no store of fogp2p"
        with pytest.raises((StoreUnavailable, LocalProtocolError)):
            await store.write(lambda t: t.run("DROP TABLE theirs"))
    assert path.read_bytes() == before
