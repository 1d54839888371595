"""What peers cost themselves by breaking rules. Pure; time is an argument."""

from __future__ import annotations

from collections import OrderedDict

from fogp2p.ids import PeerId

from .config import BARRED_ABOVE, CONDUCT_HALF_LIFE_S, MAX_CONDUCT

__all__ = ["Bucket", "Conduct"]


class Conduct:
    """Points by peer, forgotten by half-lives; leaving does not wash them off."""

    def __init__(self) -> None:
        self._points: OrderedDict[PeerId, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._points)

    def points(self, peer: PeerId, now: float) -> float:
        """What is held against `peer`."""
        value, at = self._points.get(peer, (0.0, now))
        return value * float(0.5 ** ((now - at) / CONDUCT_HALF_LIFE_S))

    def blame(self, peer: PeerId, points: float, now: float) -> None:
        """Hold more against `peer`."""
        self._points[peer] = (self.points(peer, now) + points, now)
        self._points.move_to_end(peer)
        if len(self._points) > MAX_CONDUCT:
            self._points.popitem(last=False)

    def is_barred(self, peer: PeerId, now: float) -> bool:
        """Whether it is not listened to for now."""
        return self.points(peer, now) > BARRED_ABOVE


class Bucket:
    """Lets through a burst, and then a rate."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._level, self._at = burst, now

    def wait_s(self, now: float, count: float = 1) -> float:
        """Take `count`; how long to wait before acting on it."""
        self._level = min(self._burst, self._level + (now - self._at) * self._rate) - count
        self._at = now
        return max(0.0, -self._level / self._rate)
