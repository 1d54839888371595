"""The store's thread: everything that touches SQLite, one call after the other.

A group of writes is one transaction; each write stands in a savepoint of its own, so that one that
fails is undone alone. Order of a group: apply all, commit (fsync), write the mark, answer.

SQLite goes on after a failed fsync: the next commit succeeds, although the system may have dropped
pages of the one before. Therefore the first error that is not plainly a caller's own fault latches
the database: nothing is written until it is opened again, which replays and checks the log.
Checkpoints are our own, because the automatic ones hide their errors.
"""

from __future__ import annotations

import enum
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from fogp2p.environment import DiskError
from fogp2p.errors import LocalProtocolError
from fogp2p.killpoints import killpoint

from .config import CACHE_KIB, StoreConfig
from .engine import Engine, decode_mark, encode_mark
from .errors import (
    StoreBusy,
    StoreDamaged,
    StoreFull,
    StoreNewer,
    StoreReadOnly,
    StoreUnavailable,
)
from .opening import (
    Newer,
    Unsound,
    check_commits,
    check_structure,
    create_or_migrate,
    known_versions,
    watch_quotas,
)
from .parts import Part, Transaction, code_of, is_callers_fault

__all__ = ["Call", "Database", "State"]


class State(enum.Enum):
    """What the store can do."""

    OK = "ok"
    READ_ONLY = "read-only"
    DAMAGED = "damaged"
    NEWER = "newer"


_HINTS: Final = {
    State.OK: "",
    State.READ_ONLY: "free space or mend the disk, then start the peer again",
    State.DAMAGED: "keep the files; `fogp2p restore` brings back a backup",
    State.NEWER: "use the newer fogp2p that wrote it, or restore a backup from before",
}
_ERRORS: Final = {
    State.READ_ONLY: StoreReadOnly,
    State.DAMAGED: StoreDamaged,
    State.NEWER: StoreNewer,
}
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


class Call:
    """One function that somebody waits for, and what became of it."""

    __slots__ = ("error", "function", "is_write", "result")

    def __init__(self, function: Callable[[Transaction], Any], *, is_write: bool) -> None:
        self.function = function
        self.is_write = is_write
        self.result: Any = None
        self.error: Exception | None = None


class Database:
    """Its methods run in one thread; the plain attributes may be read from any."""

    def __init__(
        self, path: Path, parts: Sequence[Part], config: StoreConfig, engine: Engine
    ) -> None:
        self.path: Final = path
        self.parts: Final = tuple(parts)
        self.state = State.OK
        self.why = ""
        self.commits = 0
        self.usage: tuple[tuple[str, int, int, int], ...] = ()
        """(journal or table, rows, bytes, evicted) as of the last commit."""
        self._config = config
        self._engine = engine
        self._held = ExitStack()
        self._connection: sqlite3.Connection | None = None
        self._store = bytes(16)
        self.is_checkpoint_due = False

    @property
    def hint(self) -> str:
        """What the owner can do."""
        return _HINTS[self.state]

    def refusal(self) -> StoreUnavailable:
        """The error for a call that the state forbids."""
        kind = _ERRORS.get(self.state, StoreUnavailable)
        return kind(f"{self.path} is {self.state.value}: {self.why}", hint=self.hint)

    # --- opening and closing -------------------------------------------------------------------

    def open(self) -> None:
        """Open, check, migrate. What is wrong with the file becomes the state, not an error.

        Raises LockedError when another process has it.
        """
        try:
            self._held.enter_context(self._engine.hold(self.path))
        except DiskError as exc:
            self._latch(State.READ_ONLY, str(exc))
        killpoint("store.open.locked")
        try:
            with self._undone_by_a_bug():
                self._open_checked()
        except Newer as exc:
            self._latch(State.NEWER, str(exc))
        except Unsound as exc:
            self._latch(State.DAMAGED, str(exc))
        except (sqlite3.Error, DiskError) as exc:
            self._note(exc)
        killpoint("store.open.ready")

    @contextmanager
    def _undone_by_a_bug(self) -> Iterator[None]:
        """A migration that raises something of its own leaves nothing open behind it."""
        try:
            yield
        except (Newer, Unsound, sqlite3.Error, DiskError):
            raise
        except BaseException:
            self._latch(State.READ_ONLY, "it could not be opened")
            self.close()
            raise

    def _open_checked(self) -> None:
        """Check by a connection that cannot change anything; then open the one that can.

        What is not well stays open by the first one, for reads.
        """
        raw = self._engine.read_mark(self.path)
        mark = decode_mark(raw) if raw is not None else None
        is_there = self.sizes()[0] > 0
        if mark is not None and not is_there:
            raise Unsound(f"the database is empty or gone, and had {mark[1]} commits")
        if is_there or self._is_latched:
            connection = self._connect(read_only=True)
            killpoint("store.open.connected")
            self._check(connection, mark)
            killpoint("store.open.checked")
            if self._is_latched:
                return
            connection.close()
        connection = self._connect(read_only=False)
        connection.execute("PRAGMA journal_mode=WAL")
        versions = known_versions(connection, self.parts, mark)
        create_or_migrate(connection, self.parts, versions, self.path, self._engine)
        watch_quotas(connection, self.parts)
        self._store, self.commits = check_commits(connection, mark)
        self._refresh(connection)
        for slot in (0, 1):
            self._engine.write_mark(self.path, slot, encode_mark(self._store, self.commits))

    def _check(self, connection: sqlite3.Connection, mark: tuple[bytes, int] | None) -> None:
        try:
            if known_versions(connection, self.parts, mark):
                self._store, self.commits = check_commits(connection, mark)
                self._refresh(connection)
                check_structure(connection)
        except sqlite3.Error as exc:
            if is_callers_fault(exc):  # these statements are right: the tables are not
                raise Unsound(str(exc)) from exc
            raise

    def _connect(self, *, read_only: bool) -> sqlite3.Connection:
        self._connection = connection = self._engine.connect(self.path, read_only=read_only)
        for pragma in (
            "trusted_schema=OFF",
            "cell_size_check=ON",
            "foreign_keys=ON",
            "recursive_triggers=ON",  # REPLACE then runs the triggers that count
            "temp_store=MEMORY",
            f"cache_size=-{CACHE_KIB}",
            f"synchronous={self._config.synchronous}",
            "wal_autocheckpoint=0",
        ):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def close(self) -> None:
        """Move the log into the file and close. After a failure, only close."""
        killpoint("store.close.before")
        try:
            if not self._is_latched:
                self._checkpoint()
                killpoint("store.close.checkpointed")
        finally:
            if self._connection is not None:
                self._close(self._connection)
                self._connection = None
            self._engine.close_mark(self.path)
            killpoint("store.close.after")
            self._held.close()

    def _close(self, connection: sqlite3.Connection) -> None:
        """After a failure the log stays as it is: closing the last connection would remove it."""
        guard = None
        if self._is_latched:
            with suppress(sqlite3.Error, DiskError):
                guard = self._engine.connect(self.path, read_only=True)
                guard.execute("BEGIN")
                guard.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        connection.close()
        if guard is not None:
            guard.close()

    # --- calls ---------------------------------------------------------------------------------

    def run(self, calls: Sequence[Call]) -> None:
        """Do the writes as one group, then the reads; each call gets its result or error."""
        writes = [call for call in calls if call.is_write]
        if writes:
            self._group(writes)
        reads = [call for call in calls if not call.is_write]
        if reads:
            self._read_all(reads)
        killpoint("store.ack.before")

    def _group(self, calls: Sequence[Call]) -> None:
        connection = self._connection
        if self._is_latched or connection is None:
            _fail(calls, self.refusal)
            return
        try:
            connection.execute("BEGIN IMMEDIATE")
            if self._apply_all(connection, calls):
                self._commit(connection)
            else:
                connection.rollback()
        except (sqlite3.Error, DiskError) as exc:
            if isinstance(exc, sqlite3.Error) and code_of(exc) in _BUSY:
                self._roll_back(connection)
                _fail(calls, lambda: _busy(self.path))
                return
            self._note(exc)
        if self._is_latched:
            # Some writes may be on disk, none is acknowledged.
            self._roll_back(connection)
            _fail(calls, self.refusal)

    @property
    def _is_latched(self) -> bool:
        return self.state is not State.OK

    def _apply_all(self, connection: sqlite3.Connection, calls: Sequence[Call]) -> bool:
        """Whether there is something to commit."""
        for call in calls:
            killpoint("store.write.before")
            self._apply(connection, call)
            if self._is_latched:
                return False
            killpoint("store.write.after" if call.error is None else "store.write.undone")
        return any(call.error is None for call in calls)

    def _apply(self, connection: sqlite3.Connection, call: Call) -> None:
        transaction = Transaction(connection)
        savepoint = _Savepoint(connection)
        with savepoint:
            call.result = call.function(transaction)
        self._settle(call, savepoint.error, transaction.failure)
        if not self._is_latched and not connection.in_transaction:
            self._latch(State.READ_ONLY, "a write function ended the transaction")

    def _commit(self, connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE store SET commits = commits + 1")
        self._refresh(connection)
        killpoint("store.commit.before")
        connection.execute("COMMIT")
        killpoint("store.commit.after")
        self.commits += 1
        self._engine.write_mark(self.path, self.commits & 1, encode_mark(self._store, self.commits))
        killpoint("store.mark.after")
        self.is_checkpoint_due = self.sizes()[1] > self._config.checkpoint_bytes

    def _read_all(self, calls: Sequence[Call]) -> None:
        connection = self._connection
        if connection is None or self.state is State.NEWER:
            _fail(calls, self.refusal)
            return
        try:
            connection.execute("PRAGMA query_only=ON")
            for call in calls:
                self._read(connection, call)
            if not self._is_latched:
                connection.execute("PRAGMA query_only=OFF")
        except sqlite3.Error as exc:
            self._note(exc)
            _fail(calls, self.refusal)

    def _read(self, connection: sqlite3.Connection, call: Call) -> None:
        connection.execute("BEGIN")
        transaction = Transaction(connection)
        collected = _Collected()
        with collected:
            call.result = call.function(transaction)
        self._roll_back(connection)
        if _is_write_by_a_read(transaction.failure):
            call.error = LocalProtocolError("a read function cannot write", code="store-read")
            return
        self._settle(call, collected.error, transaction.failure)

    def _settle(self, call: Call, error: Exception | None, failure: sqlite3.Error | None) -> None:
        """Give the call its error, and the database its state."""
        call.error = error
        if failure is None and isinstance(error, sqlite3.Error):
            failure = error
        if failure is not None and not is_callers_fault(failure):
            self._note(failure)
            call.error = self.refusal()
        elif isinstance(error, StoreDamaged):
            self._latch(State.DAMAGED, str(error))
        elif isinstance(error, sqlite3.IntegrityError) and str(error).startswith("quota of "):
            call.error = StoreFull(
                f"the {error} is used up", hint="wait until entries are done, or raise the quota"
            )

    # --- the rest ------------------------------------------------------------------------------

    def checkpoint(self) -> None:
        """Move the log into the file. An error latches."""
        self.is_checkpoint_due = False
        if not self._is_latched:
            killpoint("store.checkpoint.before")
            self._checkpoint()
            killpoint("store.checkpoint.after")

    def _checkpoint(self) -> None:
        if self._connection is not None:
            try:
                # Somebody who reads the file (a backup) makes it do less; the next one does more.
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except sqlite3.Error as exc:
                if code_of(exc) not in _BUSY:
                    self._note(exc)

    def sizes(self) -> tuple[int, int]:
        """Bytes of the database and of its log."""
        return self._engine.sizes(self.path)

    def _refresh(self, connection: sqlite3.Connection) -> None:
        query = "SELECT name, rows, bytes, evicted FROM journal"
        if connection.execute("SELECT 1 FROM temp.sqlite_schema").fetchone():
            query += " UNION ALL SELECT name, rows, bytes, evicted FROM quota_use"
        self.usage = tuple(connection.execute(query))

    def _note(self, exc: sqlite3.Error | DiskError) -> None:
        """Latch for an error of the database or the disk."""
        if isinstance(exc, sqlite3.Error) and code_of(exc) in _DAMAGE:
            self._latch(State.DAMAGED, str(exc))
        else:
            self._latch(State.READ_ONLY, str(exc))

    def _latch(self, state: State, why: str) -> None:
        """The first reason stays, unless damage shows itself later."""
        if self.state is State.OK or (self.state is State.READ_ONLY and state is State.DAMAGED):
            self.state, self.why = state, why

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        with suppress(sqlite3.Error):  # already latched, or SQLite has done it itself
            connection.rollback()


class _Collected:
    """Keeps what a call raised, for the task that waits for the call: it is raised there."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, Exception):
            self.error = error
        return self.error is not None


class _Savepoint(_Collected):
    """Undoes a call that raised, and nothing else of its group."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__()
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("SAVEPOINT call")

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        collected = super().__exit__(kind, error, trace)
        # After some errors (a full disk) SQLite has already rolled back everything.
        if self._connection.in_transaction:
            if error is not None:
                self._connection.execute("ROLLBACK TO call")
            self._connection.execute("RELEASE call")
        return collected


def _fail(calls: Sequence[Call], error: Callable[[], Exception]) -> None:
    for call in calls:
        call.result, call.error = None, error()


def _busy(path: Path) -> StoreBusy:
    return StoreBusy(
        f"another program holds {path}", hint="close the program that has the file open"
    )


def _is_write_by_a_read(failure: sqlite3.Error | None) -> bool:
    """The disk's own refusals have longer codes (SQLITE_READONLY_RECOVERY and others)."""
    return getattr(failure, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY
