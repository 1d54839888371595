"""A power cut, by a model: only what was synced is on disk, and any part of what was not.

strace records every write and sync of a process that appends. The disk's content is then made anew
as of many moments, and opened. What a disk that lies about its flushes would do, no test shows.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fogp2p.environment import real_environment
from fogp2p.store import Quota, open_store

pytestmark = pytest.mark.process

BIG = Quota(10_000, 10**8)
_CUTS = 120

_WRITE = """
import os, sys, trio
from pathlib import Path
from fogp2p.environment import real_environment
from fogp2p.store import Quota, StoreConfig, open_store

async def main():
    config = StoreConfig(checkpoint_bytes=120_000)
    async with open_store(Path(sys.argv[1]), real_environment(), config=config) as store:
        journal = store.journal("chat", Quota(10_000, 10**8))
        for number in range(1, 61):
            await journal.append("text", number.to_bytes(4) * (number * 7 % 90), key=f"k{number}")
            os.write(1, b"acked %d\\n" % number)
trio.run(main)
"""
_CALL = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. \w+ resumed>(.*)")


@dataclass
class Disk:
    """Files as they are for the program, and as a power cut leaves them."""

    names: dict[int, str] = field(default_factory=dict)
    synced: dict[str, bytearray] = field(default_factory=dict)
    pending: dict[str, list[tuple[int, bytes | None]]] = field(default_factory=dict)

    def after_the_cut(self, source: random.Random | None) -> dict[str, bytes]:
        """With a source, a random part of what was not synced is on disk too, in any order."""
        files = {}
        for name, content in self.synced.items():
            data = bytearray(content)
            for change in self.pending[name]:
                if source is not None and source.random() < 0.5:
                    _apply(data, change)
            files[name] = bytes(data)
        return files

    def feed(self, call: str, words: list[str]) -> None:
        """One system call. Names come and go at once: directories are synced by SQLite and us."""
        if call == "openat":
            name = self.names[int(words[-1])] = Path(_bytes(words[1]).decode()).name
            is_new = name not in self.synced or "O_TRUNC" in words[2]
            if "O_CREAT" in words[2] and is_new and name.startswith("store.db"):
                self.synced[name], self.pending[name] = bytearray(), []
        elif call == "unlink":
            name = Path(_bytes(words[0]).decode()).name
            self.synced.pop(name, None)
        elif (name := self.names.get(int(words[0]), "")) not in self.synced:
            return
        elif call in ("pwrite64", "ftruncate"):
            data = _bytes(words[1]) if call == "pwrite64" else None
            self.pending[name].append((int(words[-2]), data))
        elif call in ("fdatasync", "fsync"):
            for change in self.pending[name]:
                _apply(self.synced[name], change)
            self.pending[name].clear()


def _apply(data: bytearray, change: tuple[int, bytes | None]) -> None:
    at, written = change
    data.extend(bytes(max(0, at - len(data))))
    if written is None:
        del data[at:]
    else:
        data[at : at + len(written)] = written


def _bytes(word: str) -> bytes:
    return bytes.fromhex(word.strip('"').replace("\\x", ""))


def _moments(trace: Path) -> Iterator[tuple[Disk, list[int], str]]:
    """The disk, what was acknowledged, and the call, after each call that matters."""
    disk, acked = Disk(), []
    for line in _whole(trace.read_text().splitlines()):
        found = _CALL.match(line)
        if found is None or int(found[3]) < 0:
            continue
        words = [*found[2].split(", "), found[3]]
        if found[1] != "write":
            disk.feed(found[1], words)
        elif words[0] == "1" and (said := _bytes(words[1])).startswith(b"acked"):
            acked.append(int(said.split()[1]))
        yield disk, acked, found[1]


def _whole(lines: list[str]) -> Iterator[str]:
    """Calls that another thread's interrupted are put together where they ended.

    The files are one thread's alone, so the order of what is done to them stays.
    """
    begun: dict[str, str] = {}
    for line in lines:
        if line.endswith("<unfinished ...>"):
            begun[line.split()[0]] = line.removesuffix("<unfinished ...>").rstrip()
        elif (resumed := _RESUMED.match(line)) is not None:
            yield begun.pop(resumed[1], "") + resumed[2]
        else:
            yield line


def _run(line: list[str]) -> None:
    subprocess.run(line, check=True, timeout=60, capture_output=True)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace records the writes")
async def test_a_power_cut_at_any_moment_loses_nothing_acknowledged(tmp_path: Path) -> None:
    (tmp_path / "live").mkdir()
    trace = tmp_path / "trace"
    calls = "trace=openat,pwrite64,write,fdatasync,fsync,ftruncate,unlink"
    line = ["strace", "-f", "-qq", "-xx", "-s", "65536", "-o", str(trace), "-e", calls]
    line += [sys.executable, "-c", _WRITE, str(tmp_path / "live" / "store.db")]
    _run(line)
    source = random.Random(8)
    mattering = [index for index, (disk, _, _) in enumerate(_moments(trace)) if disk.synced]
    chosen = set(source.sample(mattering, _CUTS))
    syncs, lost_tail = 0, 0
    for index, (disk, acked, call) in enumerate(_moments(trace)):
        syncs += call == "fdatasync"
        if index not in chosen:
            continue
        for subset in (None, source):
            work = tmp_path / "work"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            for name, data in disk.after_the_cut(subset).items():
                if not name.endswith(("-shm", ".lock")):  # memory, in fact
                    (work / name).write_bytes(data)
            async with open_store(work / "store.db", real_environment()) as store:
                assert store.status().state == "ok", (index, call, store.status())
                entries = await store.journal("chat", BIG).read()
            numbers = [entry.number for entry in entries]
            assert numbers == list(range(1, len(numbers) + 1))
            assert numbers[: len(acked)] == acked, (index, call)
            for entry in entries:
                assert entry.payload == entry.number.to_bytes(4) * (entry.number * 7 % 90)
            lost_tail += len(numbers) > len(acked)
    assert syncs > 60 and acked == list(range(1, 61))
    assert lost_tail > 0  # some were durable and not yet acknowledged: the cuts fall in between
