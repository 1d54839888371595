"""How much may come in: from one peer before it is verified, and in one topic after. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from fogp2p.ids import PeerId

from .config import GossipConfig

__all__ = ["Rates"]


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float

    def take(self, now: float, rate: float, burst: float) -> bool:
        """Whether one more is within `rate` a second and `burst` at once; that uses it up."""
        self.tokens = min(burst, self.tokens + (now - self.at) * rate)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Rates:
    """Buckets of connected peers and of our own topics; both are bounded by their owners."""

    def __init__(self, config: GossipConfig) -> None:
        self._config = config
        self._peers: dict[PeerId, _Bucket] = {}
        self._topics: dict[str, _Bucket] = {}

    def of_peer(self, peer: PeerId, now: float) -> bool:
        """Whether one more message of this peer may be verified."""
        rate, burst = self._config.peer_rate, self._config.peer_burst
        return self._peers.setdefault(peer, _Bucket(burst, now)).take(now, rate, burst)

    def of_topic(self, topic: str, now: float) -> bool:
        """Whether one more message of this topic may be delivered and passed on."""
        own = self._config.topic_rates.get(topic)
        rate = self._config.topic_rate if own is None else own
        burst = self._config.topic_burst if own is None else max(1.0, own)
        return self._topics.setdefault(topic, _Bucket(burst, now)).take(now, rate, burst)

    def forget_peer(self, peer: PeerId) -> None:
        """Its connection ended."""
        self._peers.pop(peer, None)

    def forget_topic(self, topic: str) -> None:
        """We left the topic."""
        self._topics.pop(topic, None)
