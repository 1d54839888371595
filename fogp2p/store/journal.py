"""Entries in order, durable before they have a number: journals and outboxes.

A journal is a numbered list of byte strings. Numbers rise by one and are never used again. Each
entry carries a digest over everything in it, and each journal the sum of its digests: an entry that
changed is found when it is read, one that is missing when the store is opened.

An entry is *waiting* until its owner says that it is *done* (consumed, acknowledged, published).
"""

from __future__ import annotations

import hashlib
import math
import sqlite3
import struct
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from fogp2p.errors import LocalProtocolError
from fogp2p.killpoints import killpoint

from .config import (
    ENTRY_BYTES,
    ENTRY_OVERHEAD_BYTES,
    KEY_CHARS,
    KIND_CHARS,
    READ_BYTES,
    READ_ROWS,
)
from .errors import StoreDamaged, StoreFull
from .parts import Eviction, Quota, Transaction, check_name

if TYPE_CHECKING:
    from .store import Store

__all__ = ["Entry", "Journal", "Outbox"]

_DIGEST_BYTES: Final = 5  # see QUOTA_ROWS
_HEAD: Final = struct.Struct("!QBHHB")
_COLUMNS: Final = "number, done, kind, key, payload, digest"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as it was appended."""

    number: int
    kind: str
    key: str | None
    payload: bytes
    is_done: bool


class Journal:
    """One journal. The methods that take a Transaction combine with others into one write."""

    def __init__(self, store: Store, name: str, quota: Quota, eviction: Eviction) -> None:
        check_name(name)
        self._store = store
        self.name: Final = name
        self.quota: Final = quota
        self.eviction: Final = eviction

    async def append(
        self, kind: str, payload: bytes, *, key: str | None = None, deadline: float = math.inf
    ) -> int:
        """Add an entry; when this returns its number, it is durable.

        `payload`: at most 1 MiB. `key`: names the entry for its owner; a second append with the
        same key changes nothing and returns the first one's number, as long as that is kept.
        Raises StoreFull, StoreUnavailable, DeadlineExceeded (it may be durable all the same).
        """
        return await self._store.write(
            lambda transaction: self.add(transaction, kind, payload, key=key), deadline=deadline
        )

    async def read(
        self, after: int = 0, *, limit: int = READ_ROWS, waiting: bool = False
    ) -> tuple[Entry, ...]:
        """The entries behind number `after`, in order; at most `limit`, and about 4 MiB.

        `waiting`: only those that are not done. Raises StoreDamaged for an entry that changed.
        """
        return await self._store.read(
            lambda transaction: self.entries(transaction, after, limit=limit, waiting=waiting)
        )

    async def find(self, key: str) -> Entry | None:
        """The entry with that key."""
        return await self._store.read(lambda transaction: self.entry(transaction, key))

    async def done(self, *numbers: int) -> None:
        """Mark entries done, durably. Those that are gone or done already change nothing."""
        await self._store.write(lambda transaction: self.finish(transaction, numbers))

    async def trim(self, up_to: int) -> int:
        """Remove the done entries up to a number; return how many."""
        return await self._store.write(lambda transaction: self.remove(transaction, up_to))

    async def salvage(self) -> tuple[tuple[Entry, ...], tuple[int, ...]]:
        """Everything that can still be read of a damaged journal, and the numbers that cannot.

        Reads each number by itself: a damaged page costs the entries on it. For exports by hand.
        """
        last = await self._store.read(self._last)
        found: list[Entry] = []
        lost: list[int] = []
        for start in range(1, last + 1, READ_ROWS):
            numbers = range(start, min(start + READ_ROWS, last + 1))
            each = await self._store.read(partial(self._try_each, numbers=numbers))
            for number, entry in each:
                if isinstance(entry, Entry):
                    found.append(entry)
                elif entry:
                    lost.append(number)
        return tuple(found), tuple(lost)

    # --- inside a write or read function ---------------------------------------------------------

    def add(
        self, transaction: Transaction, kind: str, payload: bytes, *, key: str | None = None
    ) -> int:
        """As `append`, inside a write function. Raises StoreFull, LocalProtocolError."""
        _check(kind, payload, key)
        killpoint("journal.append.before")
        if key is not None and (known := self.entry(transaction, key)) is not None:
            return known.number
        totals = transaction.row(
            "SELECT next, rows, bytes, digests, evicted FROM journal WHERE name = ?", (self.name,)
        )
        if totals is None:
            totals = (1, 0, 0, 0, 0)
            transaction.run("INSERT INTO journal VALUES (?, 1, 0, 0, 0, 0)", (self.name,))
        number, rows, size, digests, evicted = totals
        cost = len(payload) + len(key or "") + ENTRY_OVERHEAD_BYTES
        while rows + 1 > self.quota.rows or size + cost > self.quota.bytes:
            gone = self._evict(transaction)
            rows, size = rows - 1, size - gone[0]
            digests, evicted = digests - gone[1], evicted + 1
            killpoint("journal.evicted")
        digest = self._digest(number, 0, kind, key, payload)
        transaction.run(
            "INSERT INTO entry VALUES (?, ?, 0, ?, ?, ?, ?)",
            (self.name, number, kind, key, payload, digest),
        )
        killpoint("journal.inserted")
        transaction.run(
            "UPDATE journal SET next = ?, rows = ?, bytes = ?, digests = ?, evicted = ?"
            " WHERE name = ?",
            (number + 1, rows + 1, size + cost, digests + digest, evicted, self.name),
        )
        killpoint("journal.counted")
        return int(number)

    def entries(
        self,
        transaction: Transaction,
        after: int = 0,
        *,
        limit: int = READ_ROWS,
        waiting: bool = False,
    ) -> tuple[Entry, ...]:
        """As `read`, inside a function."""
        which = "AND done = 0" if waiting else ""
        found, size = [], 0
        for row in transaction.rows(
            f"SELECT {_COLUMNS} FROM entry WHERE journal = ? AND number > ? {which}"
            " ORDER BY number LIMIT ?",
            (self.name, after, min(limit, READ_ROWS)),
        ):
            found.append(self._entry(row))
            size += len(found[-1].payload)
            if size >= READ_BYTES:
                break
        return tuple(found)

    def entry(self, transaction: Transaction, key: str) -> Entry | None:
        """As `find`, inside a function."""
        row = transaction.row(
            f"SELECT {_COLUMNS} FROM entry WHERE journal = ? AND key = ?",
            (self.name, key),
        )
        return self._entry(row) if row is not None else None

    def finish(self, transaction: Transaction, numbers: Iterable[int]) -> None:
        """As `done`, inside a write function."""
        for number in numbers:
            row = transaction.row(
                f"SELECT {_COLUMNS} FROM entry WHERE journal = ? AND number = ? AND done = 0",
                (self.name, number),
            )
            if row is None:
                continue
            entry, before = self._entry(row), row[-1]
            digest = self._digest(number, 1, entry.kind, entry.key, entry.payload)
            transaction.run(
                "UPDATE entry SET done = 1, digest = ? WHERE journal = ? AND number = ?",
                (digest, self.name, number),
            )
            transaction.run(
                "UPDATE journal SET digests = digests + ? WHERE name = ?",
                (digest - before, self.name),
            )
            killpoint("journal.done")

    def remove(self, transaction: Transaction, up_to: int) -> int:
        """As `trim`, inside a write function."""
        these = (self.name, up_to)
        row = transaction.row(
            "SELECT count(*), sum(length(payload) + ifnull(length(key), 0) + ?), sum(digest)"
            " FROM entry WHERE journal = ? AND number <= ? AND done = 1",
            (ENTRY_OVERHEAD_BYTES, *these),
        )
        if row is None or row[0] == 0:
            return 0
        transaction.run("DELETE FROM entry WHERE journal = ? AND number <= ? AND done = 1", these)
        transaction.run(
            "UPDATE journal SET rows = rows - ?, bytes = bytes - ?, digests = digests - ?"
            " WHERE name = ?",
            (*row, self.name),
        )
        killpoint("journal.trimmed")
        return int(row[0])

    def _evict(self, transaction: Transaction) -> tuple[int, int]:
        """Remove one entry by the rule; return its bytes and its digest. Raises StoreFull."""
        row = None
        if self.eviction is not Eviction.REFUSE:
            which = "AND done = 1" if self.eviction is Eviction.DONE_FIRST else ""
            row = transaction.row(
                "SELECT number, length(payload) + ifnull(length(key), 0), digest"
                f" FROM entry WHERE journal = ? {which} ORDER BY number LIMIT 1",
                (self.name,),
            )
        if row is None:
            raise StoreFull(
                f"the journal {self.name!r} holds {self.quota.rows} entries"
                f" or {self.quota.bytes} bytes, its quota",
                hint="wait until entries are done, or raise the quota",
            )
        transaction.run("DELETE FROM entry WHERE journal = ? AND number = ?", (self.name, row[0]))
        return row[1] + ENTRY_OVERHEAD_BYTES, row[2]

    def _entry(self, row: tuple[Any, ...]) -> Entry:
        number, done, kind, key, payload, digest = row
        if digest != self._digest(number, done, kind, key, payload):
            raise StoreDamaged(
                f"entry {number} of the journal {self.name!r} is not what was written",
                hint="keep the files; `fogp2p restore` brings back a backup",
            )
        return Entry(number, kind, key, payload, bool(done))

    def _digest(self, number: int, done: int, kind: str, key: str | None, payload: bytes) -> int:
        name, sort, word = self.name.encode(), kind.encode(), (key or "").encode()
        state = hashlib.blake2b(digest_size=_DIGEST_BYTES, person=b"fogp2p entry")
        state.update(_HEAD.pack(number, done, len(name), len(sort), key is not None))
        state.update(len(word).to_bytes(2) + name + sort + word)
        state.update(payload)
        return int.from_bytes(state.digest())

    def _last(self, transaction: Transaction) -> int:
        row = transaction.row("SELECT next - 1 FROM journal WHERE name = ?", (self.name,))
        return int(row[0]) if row is not None else 0

    def _try_each(
        self, transaction: Transaction, numbers: Iterable[int]
    ) -> list[tuple[int, Entry | bool]]:
        """Each number with its entry; True when it is unreadable, False when it is not there."""
        found: list[tuple[int, Entry | bool]] = []
        for number in numbers:
            try:
                row = transaction.row(
                    f"SELECT {_COLUMNS} FROM entry WHERE journal = ? AND number = ?",
                    (self.name, number),
                )
                found.append((number, self._entry(row) if row is not None else False))
            except (sqlite3.Error, StoreDamaged):
                found.append((number, True))
        transaction.failure = None  # known: that is what salvage is for
        return found


class Outbox:
    """What must leave this peer once it is durable: queued, then published, in this order.

    The journal's waiting entries are the queue; publishing again after a crash is possible, so the
    receiver has to know an entry by its number or key. Nothing is published that is not durable.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal: Final = journal

    async def put(
        self, kind: str, payload: bytes, *, key: str | None = None, deadline: float = math.inf
    ) -> int:
        """Queue an entry, durably. As `Journal.append`."""
        return await self.journal.append(kind, payload, key=key, deadline=deadline)

    async def publish(
        self, send: Callable[[Entry], Awaitable[None]], *, limit: int = READ_ROWS
    ) -> int:
        """Send the queued entries, oldest first, and mark each published; return how many.

        What `send` raises ends it; that entry and those behind it stay queued.
        """
        entries = await self.journal.read(limit=limit, waiting=True)
        for entry in entries:
            killpoint("outbox.publish.before")
            await send(entry)
            killpoint("outbox.publish.after")
            await self.journal.done(entry.number)
            killpoint("outbox.done.after")
        return len(entries)


def _check(kind: str, payload: bytes, key: str | None) -> None:
    if not 0 < len(kind) <= KIND_CHARS or (key is not None and not 0 < len(key) <= KEY_CHARS):
        raise LocalProtocolError(
            f"a kind has 1-{KIND_CHARS} characters and a key 1-{KEY_CHARS}", code="journal-entry"
        )
    if len(payload) > ENTRY_BYTES:
        raise LocalProtocolError(
            f"an entry of {len(payload)} bytes, at most {ENTRY_BYTES} are allowed",
            code="journal-entry",
        )
