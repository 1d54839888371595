"""Where a log survives restarts.

The interface is small on purpose: append in order with numbers, read by number, fetch by id, and
remember how far each consumer has come. `MemoryStorage` keeps it for as long as the object lives,
so tests restart a peer by handing the same object to the next one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import trio

from fogp2p.errors import LocalProtocolError

__all__ = ["MemoryStorage", "Storage", "Stored"]


@dataclass(frozen=True, slots=True)
class Stored:
    """One entry as delivered: its number in this replica, its id, and its bytes."""

    number: int
    id: bytes
    data: bytes


class Storage(Protocol):
    """What a log needs of a disk. Every method may raise FogError when the disk fails."""

    async def groups(self) -> Sequence[bytes]:
        """The groups that have been opened, in any order."""
        ...

    async def add_group(self, group: bytes) -> None:
        """Remember a group, even before it has entries. Repeating it does nothing."""
        ...

    async def commit(
        self, group: bytes, entries: Sequence[Stored], marks: Mapping[str, int] | None = None
    ) -> None:
        """Store all of it, or nothing, and return once it will survive a crash.

        A group that is not remembered yet is from now on.
        `entries` continue the numbers of the group without a gap: being stored with a number is
        being delivered. `marks`: consumer -> number of the last entry it has dealt with.
        """
        ...

    async def read(self, group: bytes, after: int, most: int) -> Sequence[Stored]:
        """Up to `most` entries with numbers greater than `after`, ascending."""
        ...

    async def fetch(self, group: bytes, ids: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """Id -> bytes of these entries; those that are not stored are left out."""
        ...

    async def mark(self, group: bytes, consumer: str) -> int:
        """What `commit` stored for a consumer; 0 for nothing."""
        ...


@dataclass(slots=True)
class _Kept:
    entries: list[Stored] = field(default_factory=list)
    by_id: dict[bytes, bytes] = field(default_factory=dict)
    marks: dict[str, int] = field(default_factory=dict)


class MemoryStorage:
    """A Storage in memory."""

    def __init__(self) -> None:
        self._groups: dict[bytes, _Kept] = {}

    async def groups(self) -> Sequence[bytes]:
        """See Storage."""
        await trio.lowlevel.checkpoint()
        return tuple(self._groups)

    async def add_group(self, group: bytes) -> None:
        """See Storage."""
        await trio.lowlevel.checkpoint()
        self._groups.setdefault(group, _Kept())

    async def commit(
        self, group: bytes, entries: Sequence[Stored], marks: Mapping[str, int] | None = None
    ) -> None:
        """See Storage. Raises LocalProtocolError("log-storage") for a gap in the numbers."""
        await trio.lowlevel.checkpoint()
        kept = self._groups.setdefault(group, _Kept())
        expected = range(len(kept.entries) + 1, len(kept.entries) + 1 + len(entries))
        if [each.number for each in entries] != list(expected):
            raise LocalProtocolError("numbers continue without a gap", code="log-storage")
        kept.entries += entries
        kept.by_id.update((each.id, each.data) for each in entries)
        kept.marks.update(marks or {})

    async def read(self, group: bytes, after: int, most: int) -> Sequence[Stored]:
        """See Storage."""
        await trio.lowlevel.checkpoint()
        return tuple(self._groups.get(group, _Kept()).entries[after : after + most])

    async def fetch(self, group: bytes, ids: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """See Storage."""
        await trio.lowlevel.checkpoint()
        by_id = self._groups.get(group, _Kept()).by_id
        return {name: by_id[name] for name in ids if name in by_id}

    async def mark(self, group: bytes, consumer: str) -> int:
        """See Storage."""
        await trio.lowlevel.checkpoint()
        return self._groups.get(group, _Kept()).marks.get(consumer, 0)
