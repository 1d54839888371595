"""A store's file as a whole: copied while it is in use, and checked as a copy."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from .engine import FileEngine, decode_mark
from .errors import StoreDamaged, StoreNewer, StoreUnavailable
from .opening import Newer, Unsound, check_commits, check_structure, known_versions

__all__ = ["check_store_file", "copy_store"]


def copy_store(path: Path, target: Path) -> None:
    """Copy a store, also that of a running peer, as of one moment into the new file `target`.

    Raises StoreDamaged when it is not whole, StoreUnavailable when it cannot be read or written.
    """
    engine = FileEngine()
    raw = engine.read_mark(path)
    mark = decode_mark(raw) if raw is not None else None
    try:
        with (
            closing(engine.connect(path, read_only=True)) as source,
            closing(sqlite3.connect(target, isolation_level=None)) as copy,
        ):
            # One read transaction: the writers go on, and what they write is not in the copy.
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            source.backup(copy, pages=-1)
            source.rollback()
            # Leaves one file without a log; SQLite switches back when the store is opened.
            copy.execute("PRAGMA journal_mode=DELETE")
            _check(copy, mark)
    except sqlite3.Error as exc:
        raise _unreadable(path, exc) from exc


def check_store_file(path: Path) -> None:
    """Check a copy that nobody has open. Raises StoreDamaged, StoreNewer, StoreUnavailable."""
    try:
        with closing(_open_still(path)) as connection:
            _check(connection, None)
    except sqlite3.Error as exc:
        raise _unreadable(path, exc) from exc


def _check(connection: sqlite3.Connection, mark: tuple[bytes, int] | None) -> None:
    try:
        is_new = not known_versions(connection, (), mark)
        if not is_new:
            check_commits(connection, mark)
            check_structure(connection)
    except Newer as exc:
        raise StoreNewer(f"the store is newer: {exc}", hint="use the newer fogp2p") from exc
    except Unsound as exc:
        raise StoreDamaged(f"the store is damaged: {exc}", hint="keep the files") from exc
    if is_new:
        raise StoreDamaged("the store is empty", hint="keep the files")


def _open_still(path: Path) -> sqlite3.Connection:
    """A file that nobody writes: SQLite makes nothing beside it."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)


def _unreadable(path: Path, exc: sqlite3.Error) -> StoreUnavailable:
    if exc.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreDamaged(f"the store {path} is damaged: {exc}", hint="keep the files")
    return StoreUnavailable(f"cannot read or copy the store {path}: {exc}")
