"""One direction between two hosts: when does a segment handed over now arrive?"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from .config import MAX_RETRANSMITS, RETRANSMIT_MIN_S, LinkSettings

__all__ = ["Path", "Uplink"]


class Uplink:
    """What one host can send, shared by all its links."""

    def __init__(self, bytes_per_s: float) -> None:
        self.bytes_per_s = bytes_per_s
        self._busy_until = -math.inf

    def passed(self, now: float, size: int) -> float:
        """When the last of `size` bytes handed over at `now` has left the host."""
        self._busy_until = max(now, self._busy_until) + size / self.bytes_per_s
        return self._busy_until


class Path:
    """Draws delays, shares the bandwidth, and can be cut."""

    def __init__(
        self, settings: LinkSettings, source: random.Random, uplink: Uplink | None = None
    ) -> None:
        self.settings = settings
        self.carried_bytes = 0
        self.carried_segments = 0
        self._uplink = uplink
        self._random = source
        self._busy_until = -math.inf
        self._cut = False
        self._listeners: set[Callable[[], object]] = set()

    @property
    def is_cut(self) -> bool:
        """Whether nothing arrives at the moment."""
        return self._cut

    def cut(self, *, cut: bool) -> None:
        """Stop or resume delivery; what was under way arrives after the resumption."""
        self._cut = cut
        for wake in tuple(self._listeners):
            wake()

    def subscribe(self, wake: Callable[[], object]) -> None:
        """Call `wake` whenever the path is cut or resumed."""
        self._listeners.add(wake)

    def unsubscribe(self, wake: Callable[[], object]) -> None:
        """Undo `subscribe`."""
        self._listeners.discard(wake)

    def arrival(self, now: float, size: int) -> float:
        """When a segment of `size` bytes handed over at `now` arrives."""
        settings = self.settings
        self.carried_bytes += size
        self.carried_segments += 1
        left = self._uplink.passed(now, size) if self._uplink is not None else now
        start = max(left, self._busy_until)
        self._busy_until = start + size / settings.bandwidth
        return self._busy_until + self.delay()

    def delay(self) -> float:
        """A one-way delay, losses included."""
        settings = self.settings
        delay = settings.latency_s
        if settings.jitter_s:
            delay += self._random.expovariate(1 / settings.jitter_s)
        if settings.loss:
            again = max(RETRANSMIT_MIN_S, 2 * settings.latency_s)
            for _ in range(MAX_RETRANSMITS):
                if self._random.random() >= settings.loss:
                    break
                delay += again
                again *= 2  # exponential back-off (RFC 6298 section 5.5)
        return delay
