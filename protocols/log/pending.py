"""Entries that came before their parents, bounded in every direction. Pure.

What is evicted is what lies farthest ahead (greatest height): it will be needed last, and can be
asked for again.
"""

from __future__ import annotations

from .config import (
    MAX_PENDING,
    MAX_PENDING_BYTES,
    MAX_PENDING_PER_AUTHOR,
    MAX_PENDING_STRANGERS,
)
from .entries import Entry

__all__ = ["Pending"]


class Pending:
    """Waiting entries by id, and who waits for whom."""

    def __init__(self) -> None:
        self._entries: dict[bytes, Entry] = {}
        self._waiters: dict[bytes, set[bytes]] = {}
        self._by_author: dict[bytes, set[bytes]] = {}
        self._strangers: set[bytes] = set()
        self.bytes = 0
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: bytes) -> bool:
        return name in self._entries

    def add(self, entry: Entry, *, is_stranger: bool) -> None:
        """Keep `entry` until its parents come. `is_stranger`: nobody we know of admitted it."""
        if entry.id in self._entries:
            return
        self._entries[entry.id] = entry
        self.bytes += len(entry.data)
        self._by_author.setdefault(entry.author, set()).add(entry.id)
        if is_stranger:
            self._strangers.add(entry.id)
        for parent in entry.past:
            self._waiters.setdefault(parent, set()).add(entry.id)
        if len(self._strangers) > MAX_PENDING_STRANGERS:
            self._evict(self._strangers)
        mine = self._by_author.get(entry.author, set())
        if len(mine) > MAX_PENDING_PER_AUTHOR:
            self._evict(mine)
        while len(self._entries) > MAX_PENDING or self.bytes > MAX_PENDING_BYTES:
            self._evict(self._entries)

    def released_by(self, parent: bytes) -> list[Entry]:
        """Entries that wait for `parent`, among others perhaps; they stay here."""
        return [self._entries[name] for name in sorted(self._waiters.get(parent, ()))]

    def remove(self, name: bytes) -> None:
        """Forget an entry: it was placed, or turned out to be worthless."""
        entry = self._entries.pop(name, None)
        if entry is None:
            return
        self.bytes -= len(entry.data)
        self._strangers.discard(name)
        _discard(self._by_author, entry.author, name)
        for parent in entry.past:
            _discard(self._waiters, parent, name)

    def _evict(self, among: dict[bytes, Entry] | set[bytes]) -> None:
        farthest = max(among, key=lambda name: (self._entries[name].height, name))
        self.remove(farthest)
        self.evicted += 1


def _discard(groups: dict[bytes, set[bytes]], key: bytes, name: bytes) -> None:
    group = groups[key]
    group.discard(name)
    if not group:
        del groups[key]
