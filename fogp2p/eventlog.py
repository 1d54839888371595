"""What happened in this peer, in order: a bounded ring of entries with rising numbers.

Programs follow it over the local API. Whoever lags behind the ring is told how much it missed
instead of being waited for: a slow reader costs nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import trio

from .environment import Clock

__all__ = ["Entry", "EventLog", "Missed"]

# A busy peer records a few events a second: some minutes for a client to come back in.
_KEPT: Final = 1_024


@dataclass(frozen=True, slots=True)
class Entry:
    """`type` is a noun and a past participle (`peer.connected`); `at` is seconds since 1970 UTC.

    `data` is what JSON can carry, its members depend on `type`. `id` rises by one.
    """

    id: int
    at: float
    type: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Missed:
    """Entries `first`-`last` are gone: look at the state afresh, then go on."""

    first: int
    last: int


class EventLog:
    """Numbers begin at 1 with the process: a client that remembers more has seen a restart."""

    def __init__(self, clock: Clock, *, kept: int = _KEPT) -> None:
        self._clock = clock
        self._entries: deque[Entry] = deque(maxlen=kept)
        self._last = 0
        self._more = trio.Event()

    @property
    def last(self) -> int:
        """The number of the newest entry; 0 before the first."""
        return self._last

    def record(self, type: str, data: Mapping[str, Any] | None = None) -> Entry:
        """Add an entry. Never blocks; past the bound the oldest entry goes."""
        self._last += 1
        entry = Entry(self._last, self._clock.wall(), type, dict(data or {}))
        self._entries.append(entry)
        self._more.set()
        self._more = trio.Event()
        return entry

    def after(self, number: int) -> tuple[Entry | Missed, ...]:
        """Everything that followed entry `number`, at once; begins with Missed if some is gone."""
        if number >= self._last:
            return ()
        oldest = self._last - len(self._entries) + 1
        kept = [entry for entry in self._entries if entry.id > number]
        gone = (Missed(number + 1, oldest - 1),) if number + 1 < oldest else ()
        return (*gone, *kept)

    def follow(self, since: int) -> AsyncIterator[Entry | Missed]:
        """Everything after entry `since`, then whatever comes, endlessly.

        A number that this log has not reached yet is from before a restart: it means Missed
        everything, and following begins with the next entry.
        """
        return _Follower(self, since)

    async def _next(self, since: int) -> Entry | Missed:
        if since > self._last:
            return Missed(1, self._last)
        while since == self._last:
            await self._more.wait()
        oldest = self._last - len(self._entries) + 1
        if since + 1 < oldest:  # the ring turned over while the reader was busy
            return Missed(since + 1, oldest - 1)
        return self._entries[since + 1 - oldest]


class _Follower:
    # No async generator: those need closing, and a reader that goes away should cost nothing.
    def __init__(self, log: EventLog, since: int) -> None:
        self._log = log
        self._since = since

    def __aiter__(self) -> _Follower:
        return self

    async def __anext__(self) -> Entry | Missed:
        found = await self._log._next(self._since)
        self._since = found.last if isinstance(found, Missed) else found.id
        return found
