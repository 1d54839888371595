"""What was seen, and what can still be handed out. Pure."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque

from fogp2p.ids import PeerId

from .config import (
    CACHE_WINDOWS,
    GOSSIP_WINDOWS,
    MAX_CACHE_BYTES,
    MAX_RETRANSMISSIONS,
    MAX_SEEN,
    SEEN_TTL_S,
)
from .messages import Envelope

__all__ = ["MessageCache", "Seen"]


class Seen:
    """Ids of messages that were handled within two minutes, each once."""

    def __init__(self) -> None:
        self._ids: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, name: bytes) -> bool:
        return name in self._ids

    def add(self, name: bytes, now: float) -> bool:
        """Whether it is new."""
        if name in self._ids:
            return False
        self._ids[name] = now + SEEN_TTL_S
        if len(self._ids) > MAX_SEEN:
            self._ids.popitem(last=False)
        return True

    def expire(self, now: float) -> None:
        """Forget what is older than two minutes."""
        while self._ids and next(iter(self._ids.values())) <= now:
            self._ids.popitem(last=False)


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
