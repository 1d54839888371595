"""Databases in a simulated disk: real SQLite, in memory, failing as disks fail."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from fogp2p.environment import DiskError
from fogp2p.process import LockedError

from .disk import Fault, MemoryDisk

__all__ = ["MemoryEngine"]


class MemoryEngine:
    """Implements `fogp2p.store.Engine` on a MemoryDisk.

    A commit is durable at once; what was not committed is gone when the connection is closed, as
    after a crash. `disk.fault` strikes at the next commit.
    """

    def __init__(self, disk: MemoryDisk) -> None:
        self.disk = disk
        self._held: set[Path] = set()

    def hold(self, path: Path) -> AbstractContextManager[None]:
        return self._hold(path)

    @contextmanager
    def _hold(self, path: Path) -> Iterator[None]:
        if path in self._held:
            raise LockedError(f"another fogp2p runs on {path.parent}")
        self._held.add(path)
        try:
            yield
        finally:
            self._held.discard(path)

    def connect(self, path: Path, *, read_only: bool = False) -> sqlite3.Connection:
        connection = sqlite3.connect(":memory:", isolation_level=None, factory=_Connection)
        connection.attach(self.disk, path, read_only)
        return connection

    def sizes(self, path: Path) -> tuple[int, int]:
        return len(self.disk.read(path, max_bytes=2**40) or b""), 0

    def read_mark(self, path: Path) -> bytes | None:
        return self.disk.read(_mark(path), max_bytes=1024)

    def write_mark(self, path: Path, slot: int, data: bytes) -> None:
        old = bytearray(self.read_mark(path) or bytes(2 * len(data)))
        old[slot * len(data) : (slot + 1) * len(data)] = data
        self.disk.replace(_mark(path), bytes(old))

    def close_mark(self, path: Path) -> None:
        return None

    def rename(self, source: Path, target: Path) -> None:
        self.disk.replace(target, self.disk.read(source, max_bytes=2**40) or b"")
        self.disk.remove(source)

    def remove(self, path: Path) -> None:
        self.disk.remove(path)


class _Connection(sqlite3.Connection):
    _disk: MemoryDisk
    _path: Path
    _is_read_only: bool

    def attach(self, disk: MemoryDisk, path: Path, read_only: bool) -> None:
        self._disk, self._path, self._is_read_only = disk, path, read_only
        data = disk.read(path, max_bytes=2**40)
        if data:
            self.deserialize(data)

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql != "COMMIT" or self._disk.fault is None:
            return super().execute(sql, *values)
        fault, self._disk.fault = self._disk.fault, None
        if fault is Fault.CRASH_AFTER:
            super().execute(sql)
        raise _as_sqlite(fault)

    def close(self) -> None:
        try:
            if self.in_transaction:
                self.rollback()
            if not self._is_read_only:
                self._disk.replace(self._path, self.serialize())
        except (DiskError, sqlite3.Error):
            pass  # as it was
        super().close()


def _as_sqlite(fault: Fault) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(fault.value)
    codes = {Fault.FULL: sqlite3.SQLITE_FULL, Fault.READ_ONLY: sqlite3.SQLITE_READONLY}
    error.sqlite_errorcode = codes.get(fault, sqlite3.SQLITE_IOERR_FSYNC)
    return error


def _mark(path: Path) -> Path:
    return path.with_name(path.name + ".mark")
