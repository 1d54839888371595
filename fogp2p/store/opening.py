"""Checks and migrations when a store is opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from fogp2p.killpoints import killpoint

from .config import APPLICATION_ID, ENTRY_OVERHEAD_BYTES, FORMAT
from .engine import Engine
from .parts import Eviction, Part, Quota, Transaction, statements

__all__ = [
    "Newer",
    "Unsound",
    "check_commits",
    "check_structure",
    "create_or_migrate",
    "known_versions",
    "watch_quotas",
]

# Version 1 of the store's own tables. `entry` is its own index: without rowid.
_OWN: Final = """
CREATE TABLE store (
  id INTEGER PRIMARY KEY CHECK (id = 1), store BLOB NOT NULL, commits INTEGER NOT NULL
) STRICT;
INSERT INTO store VALUES (1, randomblob(16), 0);
CREATE TABLE part (name TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT;
CREATE TABLE journal (
  name TEXT PRIMARY KEY, next INTEGER NOT NULL, rows INTEGER NOT NULL, bytes INTEGER NOT NULL,
  digests INTEGER NOT NULL, evicted INTEGER NOT NULL
) STRICT;
CREATE TABLE entry (
  journal TEXT NOT NULL, number INTEGER NOT NULL, done INTEGER NOT NULL, kind TEXT NOT NULL,
  key TEXT, payload BLOB NOT NULL, digest INTEGER NOT NULL,
  PRIMARY KEY (journal, number)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX entry_key ON entry (journal, key) WHERE key IS NOT NULL;
CREATE INDEX entry_done ON entry (journal, done, number);
"""
OWN_PART: Final = Part("store", (_OWN,))


class Unsound(Exception):
    """The file is not what was acknowledged. Says what is wrong."""


class Newer(Exception):
    """A newer program wrote the file. Says which part."""


def known_versions(
    connection: sqlite3.Connection, parts: Sequence[Part], mark: tuple[bytes, int] | None
) -> dict[str, int]:
    """The version of each part in the file; empty for a new file.

    Raises Newer and Unsound (also when it looks new although a mark says that it is not).
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (things,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application == 0 and things == 0 and mark is None:
        return {}
    if application != APPLICATION_ID:
        raise Unsound("the file is no store of fogp2p")
    if version > FORMAT:
        raise Newer(f"it has format {version}, this program knows format {FORMAT}")
    found: dict[str, int] = dict(connection.execute("SELECT name, version FROM part"))
    for part in (OWN_PART, *parts):
        if found.get(part.name, 0) > len(part.migrations):
            raise Newer(
                f"its part {part.name!r} has version {found[part.name]},"
                f" this program knows version {len(part.migrations)}"
            )
    return found


def check_commits(
    connection: sqlite3.Connection, mark: tuple[bytes, int] | None
) -> tuple[bytes, int]:
    """Return the store's name and its number of commits.

    Raises Unsound when there are fewer than the mark says, or it names another store.
    """
    row = connection.execute("SELECT store, commits FROM store").fetchone()
    if row is None:
        raise Unsound("it does not know its own name")
    store, commits = row
    if mark is not None and store != mark[0]:
        raise Unsound("the database and its mark belong to different stores")
    if mark is not None and commits < mark[1]:
        raise Unsound(
            f"the newest {mark[1] - commits} of {mark[1]} commits are missing:"
            " its log was cut, damaged or exchanged, or an old copy was put in place"
        )
    return store, commits


def check_structure(connection: sqlite3.Connection) -> None:
    """Pages and indexes by SQLite, and that no entry is missing by each journal's totals.

    About 0.1 s for 100,000 entries. What an entry holds is checked when it is read. Raises Unsound.
    """
    (said,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if said != "ok":
        raise Unsound(f"SQLite says: {said}")
    counted = {
        row[0]: row[1:]
        for row in connection.execute(
            "SELECT journal, count(*), sum(length(payload) + ifnull(length(key), 0) + ?),"
            " sum(digest), max(number) FROM entry GROUP BY journal",
            (ENTRY_OVERHEAD_BYTES,),
        )
    }
    for name, following, *totals in connection.execute(
        "SELECT name, next, rows, bytes, digests FROM journal"
    ):
        *found, newest = counted.pop(name, (0, 0, 0, 0))
        if found != totals or newest >= following:
            raise Unsound(f"the journal {name!r} does not hold what its totals say")
    if counted:
        raise Unsound(f"entries of an unknown journal {min(counted)!r}")


def create_or_migrate(
    connection: sqlite3.Connection,
    parts: Sequence[Part],
    versions: Mapping[str, int],
    path: Path,
    engine: Engine,
) -> None:
    """Bring every part to its newest version, all in one transaction.

    An existing file is copied before to `<file>.before-migration`. Raises sqlite3.Error, DiskError;
    the file is then as it was.
    """
    pending = [
        (part, number)
        for part in (OWN_PART, *parts)
        for number in range(versions.get(part.name, 0), len(part.migrations))
    ]
    if not pending:
        return
    if versions:
        keep_copy(connection, path, engine)
    connection.execute("BEGIN IMMEDIATE")
    killpoint("store.migrate.begin")
    try:
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={FORMAT}")
        for part, number in pending:
            step = part.migrations[number]
            if isinstance(step, str):
                for statement in statements(step):
                    connection.execute(statement)
                    killpoint("store.migrate.statement")
            else:
                step(Transaction(connection))
                killpoint("store.migrate.statement")
            connection.execute("REPLACE INTO part VALUES (?, ?)", (part.name, number + 1))
        connection.execute("UPDATE store SET commits = commits + 1")
        killpoint("store.migrate.commit.before")
        connection.execute("COMMIT")
        killpoint("store.migrate.commit.after")
    except BaseException:
        connection.rollback()
        raise


def keep_copy(connection: sqlite3.Connection, path: Path, engine: Engine) -> None:
    """Copy the whole database to `<file>.before-migration`, replacing an older copy."""
    passing = path.with_name(path.name + ".before-migration.new")
    # Left by a crash: SQLite would play an old journal into the new copy.
    engine.remove(passing.with_name(passing.name + "-journal"))
    engine.remove(passing)
    copy = engine.connect(passing)
    try:
        connection.backup(copy)
    finally:
        copy.close()
    killpoint("store.migrate.copied")
    engine.rename(passing, path.with_name(path.name + ".before-migration"))
    killpoint("store.migrate.kept")


def watch_quotas(connection: sqlite3.Connection, parts: Sequence[Part]) -> None:
    """Hold the parts' own tables to their quotas, by triggers that live as long as we do.

    They are temporary, so that a quota can change without a migration.
    """
    connection.execute(
        "CREATE TEMP TABLE quota_use (name TEXT PRIMARY KEY, rows INTEGER NOT NULL,"
        " bytes INTEGER NOT NULL, evicted INTEGER NOT NULL) STRICT"
    )
    for part in parts:
        for table, (quota, eviction) in part.quotas.items():
            for statement in _quota_sql(connection, table, quota, eviction):
                connection.execute(statement)


def _quota_sql(
    connection: sqlite3.Connection, table: str, quota: Quota, eviction: Eviction
) -> list[str]:
    # Names were checked when the part was made; column names come from the part's own migrations.
    columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]

    def size(row: str) -> str:
        lengths = (f'ifnull(length(CAST({row}."{name}" AS BLOB)), 0)' for name in columns)
        return " + ".join([str(ENTRY_OVERHEAD_BYTES), *lengths])

    def count(rows: str, bytes_: str, evicted: str = "0") -> str:
        return (
            f"UPDATE quota_use SET rows = rows + {rows}, bytes = bytes + {bytes_},"
            f" evicted = evicted + {evicted} WHERE name = '{table}';"
        )

    new, old = size("NEW"), size("OLD")
    too_many = f"(SELECT rows > {quota.rows} FROM quota_use WHERE name = '{table}')"
    refuse = (
        f"SELECT RAISE(ABORT, 'quota of {table}') FROM quota_use WHERE name = '{table}'"
        f" AND (rows > {quota.rows} OR bytes > {quota.bytes});"
    )
    make_room = ""
    if eviction is Eviction.OLDEST:
        make_room = count("0", "0", too_many) + (
            f" DELETE FROM {table} WHERE {too_many} AND rowid = (SELECT min(rowid) FROM {table});"
        )
    return [
        f"INSERT INTO quota_use SELECT '{table}', count(*), ifnull(sum({size('t')}), 0), 0"
        f" FROM main.{table} AS t",
        f"CREATE TEMP TRIGGER quota_{table}_insert AFTER INSERT ON main.{table} BEGIN"
        f" {count('1', new)} {make_room} {refuse} END",
        f"CREATE TEMP TRIGGER quota_{table}_delete AFTER DELETE ON main.{table} BEGIN"
        f" {count('-1', f'-({old})')} END",
        f"CREATE TEMP TRIGGER quota_{table}_update AFTER UPDATE ON main.{table} BEGIN"
        f" {count('0', f'({new}) - ({old})')} {refuse} END",
    ]
