"""What was seen, and what can still be handed out. Pure."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from dataclasses import dataclass

from fogp2p.ids import PeerId

from .config import (
    CACHE_WINDOWS,
    FLOOR_TTL_S,
    GOSSIP_WINDOWS,
    MAX_CACHE_BYTES,
    MAX_FLOORS,
    MAX_RETRANSMISSIONS,
    MAX_SEEN,
    SEEN_TTL_S,
    SEQNO_BYTES,
    TIME_RANGE_S,
)
from .messages import Envelope

__all__ = ["MessageCache", "Seen"]


@dataclass(frozen=True, slots=True)
class _Floor:
    """Below what an author's numbers are too old; None for one whose numbers are no times."""

    number: int | None
    until: float


class Seen:
    """Ids of genuine messages that were handled, each once.

    An id is remembered for two minutes. After that the author's numbers must be higher: what is
    not was seen, or comes too late to tell (GOS-007). Only where numbers are times, as go-libp2p,
    rust-libp2p, py-libp2p and we make them: those of js-libp2p are random.
    """

    def __init__(self, wall_s: float = 0.0) -> None:
        """`wall_s`: what has to be added to `now` to get seconds since 1970."""
        self._ids: OrderedDict[bytes, float] = OrderedDict()
        self._floors: OrderedDict[bytes, _Floor] = OrderedDict()
        self._wall_s = wall_s

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, name: bytes) -> bool:
        return name in self._ids or self._is_old(name)

    def _is_old(self, name: bytes) -> bool:
        floor = self._floors.get(name[:-SEQNO_BYTES])
        if floor is None or floor.number is None:
            return False
        return int.from_bytes(name[-SEQNO_BYTES:]) <= floor.number

    def add(self, name: bytes, now: float) -> bool:
        """Whether it is new. Only what is genuine may be added: it counts against its author."""
        if name in self:
            return False
        self._ids[name] = now + SEEN_TTL_S
        if len(self._ids) > MAX_SEEN:
            self._forget(self._ids.popitem(last=False)[0], now)
        return True

    def expire(self, now: float) -> None:
        """Forget what is older than two minutes, and authors that said nothing for an hour."""
        while self._ids and next(iter(self._ids.values())) <= now:
            self._forget(self._ids.popitem(last=False)[0], now)
        while self._floors and next(iter(self._floors.values())).until <= now:
            self._floors.popitem(last=False)

    def _forget(self, name: bytes, now: float) -> None:
        author, number = name[:-SEQNO_BYTES], int.from_bytes(name[-SEQNO_BYTES:])
        known = self._floors.pop(author, None)
        is_time = abs(number / 1e9 - (now + self._wall_s)) <= TIME_RANGE_S
        floor: int | None = None
        if is_time and known is None:
            floor = number
        elif is_time and known is not None and known.number is not None:
            floor = max(known.number, number)
        self._floors[author] = _Floor(floor, now + FLOOR_TTL_S)
        if len(self._floors) > MAX_FLOORS:
            self._floors.popitem(last=False)


class MessageCache:
    """Messages of the last five heartbeats, at most 16 MiB."""

    def __init__(self) -> None:
        self._messages: dict[bytes, Envelope] = {}
        self._sent: dict[bytes, Counter[PeerId]] = {}
        self._windows: deque[list[bytes]] = deque([[]])
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, envelope: Envelope) -> None:
        """Keep a message; the oldest make room when it is too much."""
        if envelope.id in self._messages:
            return
        self._messages[envelope.id] = envelope
        self._windows[0].append(envelope.id)
        self._bytes += len(envelope.data)
        while self._bytes > MAX_CACHE_BYTES:
            self._forget(next(iter(self._messages)))

    def get(self, name: bytes, peer: PeerId) -> Envelope | None:
        """The message, unless `peer` has asked for it three times already."""
        found = self._messages.get(name)
        if found is None:
            return None
        sent = self._sent.setdefault(name, Counter())
        sent[peer] += 1
        return found if sent[peer] <= MAX_RETRANSMISSIONS else None

    def recent(self, topic: str) -> list[bytes]:
        """Ids of the topic's messages of the last three heartbeats."""
        return [
            name
            for window in list(self._windows)[:GOSSIP_WINDOWS]
            for name in window
            if name in self._messages and self._messages[name].topic == topic
        ]

    def shift(self) -> None:
        """A heartbeat passed."""
        self._windows.appendleft([])
        if len(self._windows) > CACHE_WINDOWS:
            for name in self._windows.pop():
                if name in self._messages:
                    self._forget(name)

    def _forget(self, name: bytes) -> None:
        self._bytes -= len(self._messages.pop(name).data)
        self._sent.pop(name, None)
