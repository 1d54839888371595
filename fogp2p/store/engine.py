"""Where the bytes are: the one place that opens files, so that a test or simulation replaces it.

`FileEngine` is the real one. `fogp2p.testing.MemoryEngine` keeps databases in a simulated disk and
fails as disks fail.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sqlite3
import struct
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Protocol

from fogp2p.environment import DiskError, disk_error, sync_directory
from fogp2p.process import hold

from .config import BUSY_TIMEOUT_S

__all__ = ["Engine", "FileEngine", "MARK_BYTES", "decode_mark", "encode_mark"]

_MARK: Final = struct.Struct("!8s16sQ")
_SLOT: Final = 64
MARK_BYTES: Final = 2 * _SLOT


class Engine(Protocol):
    """The files round one database. Blocking; used in the store's thread only."""

    def hold(self, path: Path) -> AbstractContextManager[None]:
        """Keep other processes out. Raises LockedError, DiskError."""
        ...

    def connect(self, path: Path, *, read_only: bool = False) -> sqlite3.Connection:
        """Open the database, in autocommit. Raises sqlite3.Error, DiskError.

        `read_only`: the log is replayed in memory, and neither it nor the database is changed,
        also not by closing.
        """
        ...

    def sizes(self, path: Path) -> tuple[int, int]:
        """Bytes of the database and of its log; 0 for what is not there."""
        ...

    def read_mark(self, path: Path) -> bytes | None:
        """What `write_mark` wrote last; None when there is none. Raises DiskError."""
        ...

    def write_mark(self, path: Path, slot: int, data: bytes) -> None:
        """Write one of the two slots of the mark. Not synced: see `encode_mark`."""
        ...

    def close_mark(self, path: Path) -> None:
        """Let go of the mark's file."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Give a whole file its final name, durably. Raises DiskError."""
        ...

    def remove(self, path: Path) -> None:
        """Remove a file if it is there. Raises DiskError."""
        ...


def encode_mark(store: bytes, commits: int) -> bytes:
    """A slot of the mark: how many commits of which store were acknowledged at least.

    SQLite's log ends, for SQLite, where its checksums end. A truncated or damaged log, or one of
    another database, therefore opens without complaint, with acknowledged commits missing. The mark
    beside it knows better. It is written after a commit and before its acknowledgement and never
    synced: after a power cut it may be older than the database, which is no sign of damage.
    """
    body = _MARK.pack(b"fogmark1", store, commits)
    return (body + hashlib.blake2b(body, digest_size=16).digest()).ljust(_SLOT, b"\0")


def decode_mark(data: bytes) -> tuple[bytes, int] | None:
    """The newer of the slots that are whole; None when neither is."""
    best: tuple[bytes, int] | None = None
    for start in (0, _SLOT):
        slot = data[start : start + _SLOT]
        if len(slot) < _SLOT:
            continue
        magic, store, commits = _MARK.unpack_from(slot)
        if not hmac.compare_digest(slot, encode_mark(store, commits)) or magic != b"fogmark1":
            continue
        if best is None or commits > best[1]:
            best = store, commits
    return best


class FileEngine:
    """Files in a directory of the owner."""

    def __init__(self) -> None:
        self._marks: dict[Path, int] = {}

    def hold(self, path: Path) -> AbstractContextManager[None]:
        return hold(_beside(path, ".lock"))

    def connect(self, path: Path, *, read_only: bool = False) -> sqlite3.Connection:
        target = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}"
        if not read_only:
            _make_if_missing(path)
        elif not os.access(path.parent, os.W_OK) and not _beside(path, "-wal").exists():
            # SQLite cannot make its index there, and with no log to replay it needs none.
            target += "&immutable=1"
        return sqlite3.connect(target, timeout=BUSY_TIMEOUT_S, isolation_level=None, uri=True)

    def sizes(self, path: Path) -> tuple[int, int]:
        return _size(path), _size(_beside(path, "-wal"))

    def read_mark(self, path: Path) -> bytes | None:
        try:
            return _beside(path, ".mark").read_bytes()[:MARK_BYTES]
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise disk_error("read", path, exc) from exc

    def write_mark(self, path: Path, slot: int, data: bytes) -> None:
        try:
            if path not in self._marks:
                flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                self._marks[path] = os.open(_beside(path, ".mark"), flags, 0o600)
            if os.pwrite(self._marks[path], data, slot * _SLOT) != len(data):
                raise DiskError(f"{path}.mark was written in part")
        except OSError as exc:
            raise disk_error("write", path, exc) from exc

    def close_mark(self, path: Path) -> None:
        if path in self._marks:
            os.close(self._marks.pop(path))

    def rename(self, source: Path, target: Path) -> None:
        try:
            source.rename(target)
            sync_directory(target.parent)
        except OSError as exc:
            raise disk_error("rename", source, exc) from exc

    def remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as exc:
            raise disk_error("remove", path, exc) from exc


def _make_if_missing(path: Path) -> None:
    """For us alone; SQLite gives log and index the same rights."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        os.close(os.open(path, flags, 0o600))
        sync_directory(path.parent)
    except FileExistsError:
        pass
    except OSError as exc:
        raise disk_error("make", path, exc) from exc


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
