"""Whom to dial next: pure, time and chance are arguments.

Every sighting is a hint. A peer that could not be reached is left alone for a while that doubles
with each failure; a peer that said goodbye or whose sightings all expired is forgotten.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from fogp2p.addresses import Multiaddr
from fogp2p.host import Sighting
from fogp2p.ids import PeerId
from fogp2p.limits import ADDRESSES_PER_PEER

from .settings import MAX_CANDIDATES, RECONNECT_S, RETRY_FIRST_S, RETRY_MOST_S

__all__ = ["Candidates"]


@dataclass(slots=True)
class _Candidate:
    addresses: tuple[Multiaddr, ...]
    expires_at: float
    not_before: float
    failures: int = 0
    reason: str = ""


class Candidates:
    """At most 512 peers that were seen somewhere."""

    def __init__(self, own: PeerId) -> None:
        self._own = own
        self._known: dict[PeerId, _Candidate] = {}

    def __len__(self) -> int:
        return len(self._known)

    def saw(self, sighting: Sighting, now: float) -> None:
        """Take a hint; one that has expired already is a farewell."""
        peer = sighting.peer
        if peer == self._own:
            return
        found = self._known.get(peer)
        if sighting.expires_at <= now:
            if found is not None and set(found.addresses) <= set(sighting.addresses):
                del self._known[peer]
            return
        if found is None:
            self._known[peer] = _Candidate(sighting.addresses, sighting.expires_at, now)
            if len(self._known) > MAX_CANDIDATES:
                # Configured and remembered peers never expire: a storm does not drive them out.
                soonest = min(self._known, key=lambda each: self._known[each].expires_at)
                del self._known[soonest]
            return
        news = [a for a in sighting.addresses if a not in found.addresses]
        merged = dict.fromkeys([*sighting.addresses, *found.addresses])
        found.addresses = tuple(merged)[:ADDRESSES_PER_PEER]
        found.expires_at = max(found.expires_at, sighting.expires_at)
        if news:
            # Somewhere it has not been tried: old failures say nothing about that.
            found.failures, found.not_before = 0, now

    def due(
        self, now: float, *, busy: Container[PeerId], most: int
    ) -> list[tuple[PeerId, tuple[Multiaddr, ...]]]:
        """Up to `most` peers to dial now, none of them in `busy`."""
        for peer in [peer for peer, each in self._known.items() if each.expires_at <= now]:
            del self._known[peer]
        ready = [
            (peer, each.addresses)
            for peer, each in self._known.items()
            if each.not_before <= now and peer not in busy
        ]
        return ready[: max(0, most)]

    def next_deadline(self, now: float, *, busy: Container[PeerId]) -> float:
        """When somebody who has to wait now is due; infinity when nobody does."""
        waiting = [
            each.not_before
            for peer, each in self._known.items()
            if peer not in busy and each.not_before > now
        ]
        return min(waiting, default=float("inf"))

    def failed(self, peer: PeerId, reason: str, now: float, chance: float) -> None:
        """Dialling `peer` failed. `chance`: uniform in 0..1."""
        found = self._known.get(peer)
        if found is not None:
            pause = min(RETRY_FIRST_S * 2**found.failures, RETRY_MOST_S)
            found.failures = min(found.failures + 1, 16)
            found.not_before = now + pause * (1 + chance / 2)
            found.reason = reason

    def connected(self, peer: PeerId) -> None:
        """There is a connection to `peer`."""
        found = self._known.get(peer)
        if found is not None:
            found.failures, found.reason = 0, ""

    def lost(self, peer: PeerId, now: float, chance: float) -> None:
        """The connection to `peer` ended."""
        found = self._known.get(peer)
        if found is not None:
            found.not_before = now + RECONNECT_S * (0.5 + chance)

    def failures(self) -> list[tuple[PeerId, str]]:
        """Who could not be reached, and why, at the last try."""
        return [(peer, each.reason) for peer, each in self._known.items() if each.reason]
