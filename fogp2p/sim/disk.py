"""A disk in memory that fails by chance, and forgets at a power cut what was never flushed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from fogp2p.environment import DiskError
from fogp2p.testing import MemoryDisk

__all__ = ["SharedContent", "SimDisk"]

# Contents of this size and more are kept once for all disks.
_SHARED_BYTES: Final = 16 * 1024

_ANY_SIZE: Final = 2**62
# What is not flushed the system writes itself after this long (Linux: dirty_expire_centisecs).
WRITE_BACK_S: Final = 30.0

SharedContent = Callable[[bytes], bytes]


@dataclass(slots=True)
class _Unflushed:
    """A write that a power cut may undo, and what was there before it."""

    before: bytes | None
    mode: int
    at: float


_Place = tuple[Path, int | None]
"""A small file, or a block of a large one."""


class SimDisk(MemoryDisk):
    """The disk of one simulated machine; it outlives the processes that run there.

    `source` decides what fails. `shared` returns the one copy of a large content that all disks
    of a world hold: a thousand peers may keep the same file.
    """

    def __init__(self, source: random.Random, shared: SharedContent) -> None:
        super().__init__()
        self.error_share = 0.0
        """How many of all reads and writes fail, 0 to 1."""
        self.unflushed_loss = 1.0
        """How many of the writes that were not flushed a power cut undoes, 0 to 1."""
        self.errors = 0
        self.undone = 0
        self._source = source
        self._shared = shared
        self._is_off = False
        self._unflushed: dict[_Place, _Unflushed] = {}

    def touch(self, what: str) -> None:
        """Do what every access does: raise DiskError by chance, and always without power."""
        if self._is_off:
            raise DiskError(f"cannot {what}: the power is off")
        if self.error_share and self._source.random() < self.error_share:
            self.errors += 1
            raise DiskError(f"cannot {what}: input/output error")

    def read(self, path: Path, *, max_bytes: int) -> bytes | None:
        self.touch("read")
        return super().read(path, max_bytes=max_bytes)

    def read_at(self, path: Path, offset: int, count: int) -> bytes | None:
        self.touch("read")
        return super().read_at(path, offset, count)

    def replace(self, path: Path, data: bytes, *, mode: int = 0o600, durable: bool = True) -> None:
        self.touch("write")
        if durable:
            self._unflushed.pop((path, None), None)
        else:
            rights = self.mode(path)
            before = super().read(path, max_bytes=_ANY_SIZE)
            self._note_unflushed((path, None), before, rights[0] if rights is not None else 0)
        super().replace(path, self._kept(data), mode=mode)

    def write_at(self, path: Path, offset: int, parts: Sequence[bytes | memoryview]) -> None:
        self.touch("write")
        super().write_at(path, offset, parts)

    def put_block(self, path: Path, number: int, block: bytes) -> None:
        self._note_unflushed((path, number), self.block(path, number), 0)
        super().put_block(path, number, self._kept(block))

    def _kept(self, data: bytes) -> bytes:
        return self._shared(data) if len(data) >= _SHARED_BYTES else data

    def _note_unflushed(self, place: _Place, before: bytes | None, mode: int) -> None:
        known = self._unflushed.get(place)
        if known is not None and known.at > trio.current_time() - WRITE_BACK_S:
            known.at = trio.current_time()
            return
        self._unflushed[place] = _Unflushed(before, mode, trio.current_time())

    def remove(self, path: Path) -> None:
        self.touch("remove")
        for place in [each for each in self._unflushed if each[0] == path]:
            del self._unflushed[place]
        super().remove(path)

    def cut_power(self) -> None:
        """Undo writes that were not flushed, each by chance; nothing works until `power_on`."""
        recent = trio.current_time() - WRITE_BACK_S
        for (path, number), write in self._unflushed.items():
            if write.at > recent and self._source.random() < self.unflushed_loss:
                self.undone += 1
                self._undo(path, number, write)
        self._unflushed.clear()
        self._is_off = True

    def _undo(self, path: Path, number: int | None, write: _Unflushed) -> None:
        if number is not None:  # the file keeps its length: lost blocks read as zeros
            super().put_block(path, number, write.before or b"")
            return
        super().remove(path)
        if write.before is not None:
            super().replace(path, write.before, mode=write.mode)

    def power_on(self) -> None:
        """The machine starts."""
        self._is_off = False
