"""What waits to be sent to one peer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import trio

from fogp2p.framing import encode_frame

from .config import BATCH_BYTES, COLLECT_S, MAX_RPC_BYTES, OUTBOX, OUTBOX_AGE_S, OUTBOX_BYTES
from .stats import Tally

__all__ = ["Outbox"]


@dataclass(frozen=True, slots=True)
class _Waiting:
    body: bytes
    since: float
    is_control: bool
    # Of an RPC that is one message: its id.
    name: bytes | None


class Outbox:
    """RPCs waiting for one peer. Full, it loses the oldest messages; changes of the mesh stay.

    RPCs are collected for 20 ms when the last ones went less than that ago, and leave as one: the
    encodings of two RPCs after each other are the encoding of both. What `has` says the peer got
    meanwhile from somebody else is not sent; nor is what waited for two seconds.
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

    def put(self, body: bytes, *, is_control: bool, name: bytes | None, now: float) -> bool:
        """False when even what may not be lost is too much: the peer does not read."""
        while self.is_full:
            oldest = next((each for each in self._waiting if not each.is_control), None)
            if oldest is None:
                self._tally.drop("backlog", not is_control)
                return not is_control
            self._waiting.remove(oldest)
            self._bytes -= len(oldest.body)
            self._tally.drop("backlog")
        self._bytes += len(body)
        self._waiting.append(_Waiting(body, now, is_control, name))
        self._news.set()
        return True

    async def get(self) -> bytes:
        """One frame with all that waits and is still wanted, up to one batch."""
        while True:
            if not self._waiting:
                self._news = trio.Event()
                await self._news.wait()
            now = trio.current_time()
            if now < self._sent_at + COLLECT_S and self._bytes < BATCH_BYTES:
                await trio.sleep_until(self._sent_at + COLLECT_S)
                now = trio.current_time()
            if batch := self._batch(now):
                self._sent_at = now
                return encode_frame(batch, max_bytes=MAX_RPC_BYTES)

    def _batch(self, now: float) -> bytes:
        batch = bytearray()
        while self._waiting and len(batch) + len(self._waiting[0].body) <= MAX_RPC_BYTES:
            if len(batch) >= BATCH_BYTES:
                break
            entry = self._waiting.popleft()
            self._bytes -= len(entry.body)
            if entry.name is not None and self._has(entry.name):
                self._tally.drop("unwanted")
            elif not entry.is_control and entry.since + OUTBOX_AGE_S < now:
                self._tally.drop("stale")
            else:
                self._tally.count("sent", entry.name is not None)
                batch += entry.body
        return bytes(batch)
