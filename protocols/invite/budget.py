"""How often a peer may ask. Pure; `now` is told, in seconds."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from fogp2p.ids import PeerId

from .config import ASK_BURST, ASKERS, ASKS_PER_S

__all__ = ["Budget"]


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Budget:
    """A bucket of tokens for each peer, of the peers seen last."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[PeerId, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, peer: PeerId, now: float) -> bool:
        """Whether `peer` may ask now; that uses up one token."""
        bucket = self._buckets.get(peer)
        if bucket is None:
            bucket = self._buckets[peer] = _Bucket(float(ASK_BURST), now)
            if len(self._buckets) > ASKERS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(peer)
        bucket.tokens = min(ASK_BURST, bucket.tokens + (now - bucket.at) * ASKS_PER_S)
        bucket.at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True
