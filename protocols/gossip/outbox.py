"""What waits to be sent to one peer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import trio

from .config import BATCH_BYTES, COLLECT_S, OUTBOX, OUTBOX_AGE_S, OUTBOX_BYTES
from .stats import Tally

__all__ = ["Outbox"]


@dataclass(frozen=True, slots=True)
class _Waiting:
    frame: bytes
    since: float
    is_control: bool
    # Of a frame that is one message: its id.
    name: bytes | None


class Outbox:
    """Frames waiting for one peer. Full, it loses the oldest messages; changes of the mesh stay.

    Frames are collected for 20 ms when the last ones went less than that ago. What `has` says the
    peer got meanwhile from somebody else is not sent; nor is what waited for two seconds.
    """

    def __init__(self, tally: Tally, has: Callable[[bytes], bool]) -> None:
        self._tally = tally
        self._has = has
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._news = trio.Event()
        self._sent_at = float("-inf")

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether the next one costs another."""
        return len(self._waiting) >= OUTBOX or self._bytes >= OUTBOX_BYTES

    def put(self, frame: bytes, *, is_control: bool, name: bytes | None, is_urgent: bool) -> bool:
        """False when even what may not be lost is too much: the peer does not read."""
        while self.is_full:
            oldest = next((each for each in self._waiting if not each.is_control), None)
            if oldest is None:
                self._tally.drop("backlog", not is_control)
                return not is_control
            self._waiting.remove(oldest)
            self._bytes -= len(oldest.frame)
            self._tally.drop("backlog")
        entry = _Waiting(frame, trio.current_time(), is_control, name)
        self._bytes += len(frame)
        if is_urgent:
            self._waiting.appendleft(entry)
        else:
            self._waiting.append(entry)
        self._news.set()
        return True

    async def get(self) -> bytes:
        """Everything that waits and is still wanted, up to one batch."""
        while True:
            if not self._waiting:
                self._news = trio.Event()
                await self._news.wait()
            rest = self._sent_at + COLLECT_S - trio.current_time()
            if rest > 0 and self._bytes < BATCH_BYTES:
                await trio.sleep(rest)
            if batch := self._batch(trio.current_time()):
                self._sent_at = trio.current_time()
                return batch

    def _batch(self, now: float) -> bytes:
        batch = bytearray()
        while self._waiting and len(batch) < BATCH_BYTES:
            entry = self._waiting.popleft()
            self._bytes -= len(entry.frame)
            if entry.name is not None and self._has(entry.name):
                self._tally.drop("unwanted")
            elif not entry.is_control and entry.since + OUTBOX_AGE_S < now:
                self._tally.drop("stale")
            else:
                self._tally.count("sent", entry.name is not None)
                batch += entry.frame
        return bytes(batch)
