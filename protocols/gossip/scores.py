"""What each peer's behaviour is worth. Pure; time is an argument.

Spec: libp2p/specs pubsub/gossipsub-v1.1.md "Peer scoring": P1, P2, P4, P6 and P7. Counters are
forgotten by half-lives, so that only the time that passed matters, not how often one looks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from fogp2p.ids import PeerId

from .config import (
    FORGERY,
    MAX_SCORES,
    P1_MOST,
    P1_PER_S,
    P2_HALF_LIFE_S,
    P2_MOST,
    P4_HALF_LIFE_S,
    P4_WEIGHT,
    P6_FREE,
    P6_WEIGHT,
    P7_FREE,
    P7_HALF_LIFE_S,
    P7_WEIGHT,
    SCORE_KEPT_S,
)

__all__ = ["Scores"]


@dataclass(slots=True)
class _Record:
    at: float
    first: float = 0.0
    invalid: float = 0.0
    broken: float = 0.0
    grafted: dict[str, float] = field(default_factory=dict)
    address: str = ""
    gone_at: float | None = None


class Scores:
    """Records of connected peers, and for ten minutes of those that went."""

    def __init__(self) -> None:
        self._records: dict[PeerId, _Record] = {}
        self._addresses: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._records)

    def came(self, peer: PeerId, address: str, now: float) -> None:
        """`address`: the public IP address it came from, or "" for one that is shared by right."""
        record = self._records.setdefault(peer, _Record(now))
        record.gone_at, record.address = None, address
        self._addresses[address] += 1

    def went(self, peer: PeerId, now: float) -> None:
        """The connection ended; what was counted stays for a while."""
        record = self._records[peer]
        record.gone_at = now
        record.grafted.clear()
        self._addresses[record.address] -= 1
        if not self._addresses[record.address]:
            del self._addresses[record.address]

    def grafted(self, peer: PeerId, topic: str, now: float) -> None:
        """`peer` is in our mesh of `topic` from now on."""
        self._records[peer].grafted[topic] = now

    def pruned(self, peer: PeerId, topic: str) -> None:
        """It is not any more."""
        self._records[peer].grafted.pop(topic, None)

    def delivered_first(self, peer: PeerId, now: float) -> None:
        """It was the first to bring a valid message."""
        record = self._aged(peer, now)
        record.first = min(record.first + 1, P2_MOST)

    def sent_invalid(self, peer: PeerId, now: float, *, forged: bool) -> None:
        """It relayed a message that a validator rejects, or one with a false signature."""
        self._aged(peer, now).invalid += FORGERY if forged else 1.0

    def misbehaved(self, peer: PeerId, now: float, count: float = 1.0) -> None:
        """It broke a promise or a backoff."""
        self._aged(peer, now).broken += count

    def score(self, peer: PeerId, now: float) -> float:
        """Good peers are above zero, newcomers at zero."""
        if peer not in self._records:
            return 0.0
        record = self._aged(peer, now)
        in_mesh = sum(now - since for since in record.grafted.values())
        total = min(P1_PER_S * in_mesh, P1_MOST) + record.first
        total += P4_WEIGHT * record.invalid**2
        total += P7_WEIGHT * max(0.0, record.broken - P7_FREE) ** 2
        if record.address and record.gone_at is None:
            total += P6_WEIGHT * max(0, self._addresses[record.address] - P6_FREE) ** 2
        return total

    def is_clean(self, peer: PeerId) -> bool:
        """Whether nothing counts against it, so that its score is not below zero. Cheap."""
        record = self._records.get(peer)
        return record is None or not (record.invalid or record.broken or record.address)

    def expire(self, now: float) -> None:
        """Forget peers that went ten minutes ago, and the oldest of too many."""
        for peer, record in tuple(self._records.items()):
            if record.gone_at is not None and record.gone_at + SCORE_KEPT_S <= now:
                del self._records[peer]
        gone = [peer for peer, record in self._records.items() if record.gone_at is not None]
        for peer in gone[: max(0, len(self._records) - MAX_SCORES)]:
            del self._records[peer]

    def _aged(self, peer: PeerId, now: float) -> _Record:
        record = self._records[peer]
        passed = now - record.at
        if passed > 0:
            record.first *= 0.5 ** (passed / P2_HALF_LIFE_S)
            record.invalid *= 0.5 ** (passed / P4_HALF_LIFE_S)
            record.broken *= 0.5 ** (passed / P7_HALF_LIFE_S)
            record.at = now
        return record
