"""Group logs in the durable store: numbered, found by id, with a mark for each consumer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from fogp2p.errors import LocalProtocolError
from fogp2p.store import Part, Store, Transaction

from .storage import Stored

__all__ = ["LOG_PART", "StoreStorage"]

LOG_PART: Final = Part(
    "log",
    (
        """
        CREATE TABLE log_group (
            number INTEGER PRIMARY KEY,
            id BLOB NOT NULL UNIQUE
        ) STRICT;
        CREATE TABLE log_entry (
            grp INTEGER NOT NULL REFERENCES log_group (number),
            number INTEGER NOT NULL,
            id BLOB NOT NULL,
            data BLOB NOT NULL,
            PRIMARY KEY (grp, number),
            UNIQUE (grp, id)
        ) STRICT;
        CREATE TABLE log_mark (
            grp INTEGER NOT NULL REFERENCES log_group (number),
            consumer TEXT NOT NULL,
            number INTEGER NOT NULL,
            PRIMARY KEY (grp, consumer)
        ) STRICT;
        """,
    ),
)


class StoreStorage:
    """A `Storage` over `fogp2p.store`. Every method raises as `Store.write` and `Store.read`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def groups(self) -> Sequence[bytes]:
        """See Storage."""
        query = "SELECT id FROM log_group ORDER BY number"
        found = await self._store.read(lambda work: list(work.rows(query)))
        return [name for (name,) in found]

    async def add_group(self, group: bytes) -> None:
        """See Storage."""
        await self._store.write(lambda work: _add_group(work, group))

    async def commit(
        self, group: bytes, entries: Sequence[Stored], marks: Mapping[str, int] | None = None
    ) -> None:
        """See Storage. Raises LocalProtocolError("log-storage") for a gap in the numbers."""

        def work(transaction: Transaction) -> None:
            _add_group(transaction, group)
            number = _number(transaction, group)
            last = transaction.row("SELECT max(number) FROM log_entry WHERE grp = ?", (number,))
            expected = (last[0] or 0) + 1 if last is not None else 1
            if [each.number for each in entries] != [*range(expected, expected + len(entries))]:
                raise LocalProtocolError("numbers continue without a gap", code="log-storage")
            for each in entries:
                transaction.run(
                    "INSERT INTO log_entry (grp, number, id, data) VALUES (?, ?, ?, ?)",
                    (number, each.number, each.id, each.data),
                )
            for consumer, mark in (marks or {}).items():
                transaction.run(
                    "INSERT OR REPLACE INTO log_mark (grp, consumer, number) VALUES (?, ?, ?)",
                    (number, consumer, mark),
                )

        await self._store.write(work)

    async def read(self, group: bytes, after: int, most: int) -> Sequence[Stored]:
        """See Storage."""
        query = (
            "SELECT entry.number, entry.id, data FROM log_entry AS entry"
            " JOIN log_group AS grp ON grp.number = entry.grp"
            " WHERE grp.id = ? AND entry.number > ? ORDER BY entry.number LIMIT ?"
        )
        rows = await self._store.read(lambda work: list(work.rows(query, (group, after, most))))
        return [Stored(*row) for row in rows]

    async def fetch(self, group: bytes, ids: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """See Storage."""
        query = "SELECT data FROM log_entry WHERE grp = ? AND id = ?"

        def work(transaction: Transaction) -> dict[bytes, bytes]:
            number = _number(transaction, group)
            found = {name: transaction.row(query, (number, name)) for name in ids}
            return {name: row[0] for name, row in found.items() if row is not None}

        return await self._store.read(work)

    async def mark(self, group: bytes, consumer: str) -> int:
        """See Storage."""
        query = "SELECT number FROM log_mark WHERE grp = ? AND consumer = ?"

        def work(transaction: Transaction) -> int:
            row = transaction.row(query, (_number(transaction, group), consumer))
            return int(row[0]) if row is not None else 0

        return await self._store.read(work)


def _add_group(transaction: Transaction, group: bytes) -> None:
    transaction.run("INSERT OR IGNORE INTO log_group (id) VALUES (?)", (group,))


def _number(transaction: Transaction, group: bytes) -> int:
    """The group's number; 0, which none has, for a group that is not here."""
    row = transaction.row("SELECT number FROM log_group WHERE id = ?", (group,))
    return int(row[0]) if row is not None else 0
