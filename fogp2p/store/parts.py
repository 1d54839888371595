"""What a room declares about its part of the store."""

from __future__ import annotations

import enum
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from fogp2p.errors import LocalProtocolError

from .config import QUOTA_ROWS

__all__ = [
    "Eviction",
    "Migration",
    "Part",
    "Quota",
    "Transaction",
    "check_name",
    "code_of",
    "is_callers_fault",
    "statements",
]

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")

_CALLERS_FAULTS: Final = frozenset(
    {
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_RANGE,
        sqlite3.SQLITE_MISUSE,
    }
)

SqlValue: TypeAlias = int | float | str | bytes | None


class Eviction(enum.Enum):
    """What happens when a quota is used up."""

    REFUSE = "refuse new ones"
    DONE_FIRST = "the oldest that are done go; without any, refuse new ones"
    OLDEST = "the oldest go, done or not"


@dataclass(frozen=True, slots=True)
class Quota:
    """`bytes` counts what the owner put in and 64 bytes for each row."""

    rows: int
    bytes: int

    def __post_init__(self) -> None:
        if not (0 < self.rows <= QUOTA_ROWS and self.bytes > 0):
            raise LocalProtocolError(
                f"a quota has 1-{QUOTA_ROWS} rows and some bytes", code="quota"
            )


class Transaction:
    """What a write or read function works on. It belongs to the call: do not keep it."""

    __slots__ = ("_connection", "failure")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.failure: sqlite3.Error | None = None
        """The first error that is not plainly the caller's fault, even a caught one."""

    def run(self, sql: str, values: Sequence[SqlValue] | Mapping[str, SqlValue] = ()) -> int:
        """Execute one statement; return how many rows it changed. Raises sqlite3.Error."""
        return self._execute(sql, values).rowcount

    def rows(
        self, sql: str, values: Sequence[SqlValue] | Mapping[str, SqlValue] = ()
    ) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, one by one. Raises sqlite3.Error."""
        cursor = self._execute(sql, values)
        while (row := self._fetch(cursor)) is not None:
            yield row

    def row(
        self, sql: str, values: Sequence[SqlValue] | Mapping[str, SqlValue] = ()
    ) -> tuple[Any, ...] | None:
        """The first row of a query. Raises sqlite3.Error."""
        return self._fetch(self._execute(sql, values))

    def _execute(
        self, sql: str, values: Sequence[SqlValue] | Mapping[str, SqlValue]
    ) -> sqlite3.Cursor:
        try:
            return self._connection.execute(sql, values)
        except sqlite3.Error as exc:
            self._keep(exc)
            raise

    def _fetch(self, cursor: sqlite3.Cursor) -> tuple[Any, ...] | None:
        try:
            row: tuple[Any, ...] | None = cursor.fetchone()
        except sqlite3.Error as exc:
            self._keep(exc)
            raise
        return row

    def _keep(self, exc: sqlite3.Error) -> None:
        if self.failure is None and not is_callers_fault(exc):
            self.failure = exc


def code_of(exc: sqlite3.Error) -> int:
    """SQLite's primary code; the module's own complaints (wrong types, closed) count as misuse."""
    code: int = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_MISUSE)
    return code & 0xFF


def is_callers_fault(exc: sqlite3.Error) -> bool:
    """A statement was wrong or a rule of a table was broken: the database itself is well."""
    return code_of(exc) in _CALLERS_FAULTS


Migration: TypeAlias = str | Callable[[Transaction], None]
"""SQL (one or more statements), or a function for what SQL cannot say."""


@dataclass(frozen=True, slots=True)
class Part:
    """A room's part: its own tables, and quotas of tables.

    `migrations[n]` leads from version n to n + 1 and never changes once released. Tables are STRICT
    and carry the part's name in front (`chat_message`); foreign keys are not deferred, because what
    fails at the commit fails for everybody. `quotas`: table -> how much it may hold;
    past the rows the oldest row (by rowid) goes under Eviction.OLDEST, otherwise, and past the
    bytes, StoreFull. Journals need no declaration: see `Store.journal`.
    """

    name: str
    migrations: tuple[Migration, ...] = ()
    quotas: Mapping[str, tuple[Quota, Eviction]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.name)
        for table, (_, eviction) in self.quotas.items():
            check_name(table)
            if not table.startswith(self.name):
                raise LocalProtocolError(f"{table} is no table of {self.name}", code="part")
            if eviction is Eviction.DONE_FIRST:
                raise LocalProtocolError("only journals know what is done", code="part")


def check_name(name: str) -> None:
    """Names stand in SQL. Raises LocalProtocolError("part")."""
    if _NAME.fullmatch(name) is None:
        raise LocalProtocolError(f"{name!r} is no name of a part, table or journal", code="part")


def statements(sql: str) -> Iterator[str]:
    """The single statements of a migration."""
    one = ""
    for piece in sql.split(";")[:-1] if sql.rstrip().endswith(";") else sql.split(";"):
        one += piece + ";"
        if sqlite3.complete_statement(one):
            yield one.strip()
            one = ""
    if one.strip():
        raise LocalProtocolError(f"incomplete SQL: {one.strip()[:80]}", code="part")
