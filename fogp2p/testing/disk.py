"""A disk in memory that behaves, or fails in the ways disks fail."""

from __future__ import annotations

import enum
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fogp2p.environment import DiskError

__all__ = ["Fault", "MemoryDisk"]


class Fault(enum.Enum):
    """What goes wrong with the next write."""

    FULL = "no space left on device"
    IO_ERROR = "input/output error"
    READ_ONLY = "read-only file system"
    CRASH_BEFORE = "power was lost before the file was replaced"
    CRASH_AFTER = "power was lost after the file was replaced"


# Large files are kept in blocks, so that a part can change without copying the rest.
_BLOCK_BYTES: Final = 256 * 1024


@dataclass(slots=True)
class _File:
    data: bytes
    mode: int


class MemoryDisk:
    """Implements `environment.Disk`. Set `fault` to make the next write fail."""

    def __init__(self) -> None:
        self._files: dict[Path, _File] = {}
        self._large: dict[Path, dict[int, bytes]] = {}
        self._changes: Counter[Path] = Counter()
        self.fault: Fault | None = None

    def read(self, path: Path, *, max_bytes: int) -> bytes | None:
        data = self._slice(path, 0, max_bytes + 1)
        if data is not None and len(data) > max_bytes:
            raise DiskError(f"{path} is larger than {max_bytes} bytes")
        return data

    def read_at(self, path: Path, offset: int, count: int) -> bytes | None:
        return self._slice(path, offset, count)

    def _slice(self, path: Path, offset: int, count: int) -> bytes | None:
        if path in self._files:
            return self._files[path].data[offset : offset + count]
        blocks = self._large.get(path)
        if blocks is None:
            return None
        number, start = divmod(offset, _BLOCK_BYTES)
        whole = blocks.get(number, b"")
        if start == 0 and count == len(whole):
            return whole  # the very object: the disks of a simulation share it
        last = max(blocks, default=0)
        parts = [
            blocks.get(each, b"").ljust(_BLOCK_BYTES if each < last else 0, b"\0")
            for each in range(number, min(last, (offset + count) // _BLOCK_BYTES) + 1)
        ]
        return b"".join(parts)[start : start + count]

    def read_at_once(self, path: Path, offset: int, count: int) -> bytes | None:
        return self.read_at(path, offset, count)

    def write_at(self, path: Path, offset: int, parts: Sequence[bytes | memoryview]) -> None:
        fault, self.fault = self.fault, None
        if fault is None or fault is Fault.CRASH_AFTER:
            self._changes[path] += 1
            for number, block in self._blocks_after(path, offset, b"".join(parts)):
                self.put_block(path, number, block)
        if fault is not None:
            raise DiskError(f"cannot write {path}: {fault.value}")

    def put_block(self, path: Path, number: int, block: bytes) -> None:
        """Set one block of 256 KiB of a large file; the last one may be shorter."""
        self._large.setdefault(path, {})[number] = block

    def block(self, path: Path, number: int) -> bytes | None:
        """What `put_block` set."""
        return self._large.get(path, {}).get(number)

    def _blocks_after(self, path: Path, offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
        """(number, content) of each block that a write changes."""
        known = self._large.get(path, {})
        while data:
            number, start = divmod(offset, _BLOCK_BYTES)
            part = data[: _BLOCK_BYTES - start]
            old = known.get(number, b"")
            yield number, old[:start].ljust(start, b"\0") + part + old[start + len(part) :]
            offset, data = offset + len(part), data[len(part) :]

    def stamp(self, path: Path) -> tuple[int, int] | None:
        known = path in self._large or path in self._files
        return (self._changes[path], 0) if known else None

    def names(self, path: Path) -> tuple[str, ...]:
        inside = (
            each.relative_to(path) for each in (*self._files, *self._large) if path in each.parents
        )
        return tuple(sorted({each.parts[0] for each in inside}))

    def replace(self, path: Path, data: bytes, *, mode: int = 0o600, durable: bool = True) -> None:
        fault, self.fault = self.fault, None
        if fault is None or fault is Fault.CRASH_AFTER:
            self._changes[path] += 1
            self._files[path] = _File(data, mode)
        if fault is not None:
            raise DiskError(f"cannot write {path}: {fault.value}")

    def remove(self, path: Path) -> None:
        self._files.pop(path, None)
        self._large.pop(path, None)

    def mode(self, path: Path) -> tuple[int, int] | None:
        if path in self._large:
            return 0o600, os.geteuid()
        file = self._files.get(path)
        return (file.mode, os.geteuid()) if file is not None else None

    def flip(self, path: Path, bit: int) -> None:
        """Bit rot: invert one bit of a file."""
        self._changes[path] += 1
        at, mask = bit // 8, 1 << bit % 8
        if path in self._large:
            number, at = divmod(at, _BLOCK_BYTES)
            block = bytearray(self._large[path][number])
            block[at] ^= mask
            self._large[path][number] = bytes(block)
            return
        data = bytearray(self._files[path].data)
        data[at] ^= mask
        self._files[path].data = bytes(data)
