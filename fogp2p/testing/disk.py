"""A disk in memory that behaves, or fails in the ways disks fail."""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass
from pathlib import Path

from fogp2p.environment import DiskError

__all__ = ["Fault", "MemoryDisk"]


class Fault(enum.Enum):
    """What goes wrong with the next write."""

    FULL = "no space left on device"
    IO_ERROR = "input/output error"
    READ_ONLY = "read-only file system"
    CRASH_BEFORE = "power was lost before the file was replaced"
    CRASH_AFTER = "power was lost after the file was replaced"


@dataclass(slots=True)
class _File:
    data: bytes
    mode: int


class MemoryDisk:
    """Implements `environment.Disk`. Set `fault` to make the next write fail."""

    def __init__(self) -> None:
        self._files: dict[Path, _File] = {}
        self.fault: Fault | None = None

    def read(self, path: Path, *, max_bytes: int) -> bytes | None:
        file = self._files.get(path)
        if file is None:
            return None
        if len(file.data) > max_bytes:
            raise DiskError(f"{path} is larger than {max_bytes} bytes")
        return file.data

    def names(self, path: Path) -> tuple[str, ...]:
        inside = (each.relative_to(path) for each in self._files if path in each.parents)
        return tuple(sorted({each.parts[0] for each in inside}))

    def replace(self, path: Path, data: bytes, *, mode: int = 0o600, durable: bool = True) -> None:
        fault, self.fault = self.fault, None
        if fault is None or fault is Fault.CRASH_AFTER:
            self._files[path] = _File(data, mode)
        if fault is not None:
            raise DiskError(f"cannot write {path}: {fault.value}")

    def remove(self, path: Path) -> None:
        self._files.pop(path, None)

    def mode(self, path: Path) -> tuple[int, int] | None:
        file = self._files.get(path)
        return (file.mode, os.geteuid()) if file is not None else None

    def flip(self, path: Path, bit: int) -> None:
        """Bit rot: invert one bit of a file."""
        data = bytearray(self._files[path].data)
        data[bit // 8] ^= 1 << bit % 8
        self._files[path].data = bytes(data)
