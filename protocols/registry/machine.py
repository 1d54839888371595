"""The descriptors a peer holds: bounded, newest only, with proofs against those who tell two tales.

Pure: time and chance are arguments. Times are dates by our own clock, in seconds since 1970.
Spec: specs/registry/registry-v1.md, section 6.
"""

from __future__ import annotations

import heapq
import ipaddress
from collections import OrderedDict
from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from fogp2p.addresses import Multiaddr, Scope, scope_of
from fogp2p.ids import PeerId

from .config import (
    MAX_FLOORS,
    MAX_HELD,
    MAX_HELD_BYTES,
    MAX_LIFETIME_S,
    MAX_PROOFS,
    PER_NETWORK,
    PER_TELLER,
    SKEW_S,
)
from .descriptor import Descriptor
from .messages import Verdict

__all__ = ["Chance", "Equivocation", "Limits", "Origin", "Outcome", "Store", "network_of"]

G = TypeVar("G", bound=MutableMapping[PeerId, None])

# No descriptor that exists now can be alive after this many seconds.
_LAST_BREATH_S: Final = MAX_LIFETIME_S + SKEW_S


class Chance(Protocol):
    """The part of `random.Random` that sampling needs."""

    def sample(self, population: Sequence[PeerId], k: int) -> list[PeerId]:
        """`k` different members in random order."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a store; the defaults are those of `config`."""

    held: int = MAX_HELD
    held_bytes: int = MAX_HELD_BYTES
    per_network: int = PER_NETWORK
    per_teller: int = PER_TELLER
    floors: int = MAX_FLOORS
    proofs: int = MAX_PROOFS


@dataclass(frozen=True, slots=True)
class Origin:
    """How a descriptor came: from its own peer (`teller` empty) or told by somebody else.

    `network` is the public network of the peer, as observed or, told by others, as claimed; empty
    for LAN, loopback and unknown. `teller` stands for who told it.
    """

    network: str = ""
    teller: str = ""


@dataclass(frozen=True, slots=True)
class Equivocation:
    """Two different descriptors of one peer with one sequence: the proof is in the signatures."""

    peer: PeerId
    sequence: int
    first: bytes
    second: bytes
    until: int
    """Until then nothing of this peer is believed: both have expired by then."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `add` did. `held` is what is held instead of a superseded one, if anything is."""

    verdict: Verdict
    held: Descriptor | None = None
    equivocation: Equivocation | None = None


@dataclass(slots=True)
class _Entry:
    descriptor: Descriptor
    origin: Origin

    @property
    def is_first_hand(self) -> bool:
        return not self.origin.teller


_Ticket = tuple[int, int, bytes]  # expires, sequence, peer: the least valuable is the smallest


class Store:
    """At most one descriptor for each peer.

    When there is no room, told ones go before first-hand ones, and of these the one that expires
    first. Within one public network and of one teller the same, by their own smaller bounds.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits if limits is not None else Limits()
        self._held: dict[PeerId, _Entry] = {}
        self._bytes = 0
        self._roles: dict[str, dict[PeerId, None]] = {}
        self._networks: dict[str, dict[PeerId, None]] = {}
        self._tellers: dict[str, OrderedDict[PeerId, None]] = {}
        self._queues: tuple[list[_Ticket], list[_Ticket]] = ([], [])
        self._floors: OrderedDict[PeerId, tuple[int, bytes, float]] = OrderedDict()
        self._proofs: OrderedDict[PeerId, Equivocation] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def held_bytes(self) -> int:
        """Bytes of the envelopes held."""
        return self._bytes

    @property
    def roles(self) -> dict[str, int]:
        """How many descriptors there are of each role."""
        return {role: len(peers) for role, peers in sorted(self._roles.items())}

    @property
    def proofs(self) -> tuple[Equivocation, ...]:
        """Equivocations seen, the oldest first."""
        return tuple(self._proofs.values())

    # --- asking ----------------------------------------------------------------------------------

    def get(self, peer: PeerId, now: float) -> Descriptor | None:
        """What `peer` says of itself, unless that has expired."""
        self.expire(now)
        entry = self._held.get(peer)
        return entry.descriptor if entry is not None else None

    def is_first_hand(self, peer: PeerId) -> bool:
        """Whether the held descriptor came from its own peer."""
        entry = self._held.get(peer)
        return entry is not None and entry.is_first_hand

    def all(self, now: float, role: str | None = None) -> tuple[Descriptor, ...]:
        """Every descriptor alive, of one role or of any."""
        self.expire(now)
        peers: Iterable[PeerId] = self._held if role is None else self._roles.get(role, ())
        return tuple(self._held[peer].descriptor for peer in peers)

    def sample(
        self, role: str, limit: int, now: float, chance: Chance
    ) -> tuple[tuple[Descriptor, ...], int]:
        """Up to `limit` descriptors of `role`, each as likely as any other; and how many fit."""
        self.expire(now)
        peers = tuple(self._roles.get(role, ()))
        drawn = chance.sample(peers, min(limit, len(peers)))
        return tuple(self._held[peer].descriptor for peer in drawn), len(peers)

    def settled(self, claimed: Descriptor, now: float) -> Outcome | None:
        """What can be said of a descriptor before its signature is checked; None if nothing.

        Whatever repeats or precedes something that is known already needs no check.
        """
        self.expire(now)
        peer = claimed.peer
        entry = self._held.get(peer)
        if entry is not None:
            held = entry.descriptor
            if claimed.content == held.content:
                return Outcome(Verdict.KNOWN, held)
            if claimed.sequence < held.sequence:
                return Outcome(Verdict.SUPERSEDED, held)
            return None
        if self._is_banned(peer, now):
            return Outcome(Verdict.REFUSED)
        floor = self._floors.get(peer)
        if floor is not None and claimed.sequence <= floor[0] and claimed.content != floor[1]:
            return Outcome(Verdict.SUPERSEDED)
        return None

    # --- adding ----------------------------------------------------------------------------------

    def add(self, descriptor: Descriptor, origin: Origin, now: float) -> Outcome:
        """Take a proven descriptor, unless one as new is known or there is no room for it."""
        settled = self.settled(descriptor, now)
        if settled is not None:
            if settled.verdict is Verdict.KNOWN and not origin.teller:
                self._confirm(descriptor.peer, origin, now)
            return settled
        if descriptor.expires <= now:
            return Outcome(Verdict.REFUSED)
        entry = self._held.get(descriptor.peer)
        if entry is not None and entry.descriptor.sequence == descriptor.sequence:
            return self._expose(entry.descriptor, descriptor, now)
        if entry is not None and entry.is_first_hand and origin.teller:
            # It is news from the same peer; that it is here we know ourselves.
            origin = entry.origin
        self._place(_Entry(descriptor, origin))
        self._make_room(descriptor.peer, now)
        kept = descriptor.peer in self._held
        return Outcome(Verdict.KEPT if kept else Verdict.REFUSED)

    def expire(self, now: float) -> None:
        """Drop what has expired, and what was remembered for its sake."""
        for queue in self._queues:
            while queue and queue[0][0] <= now:
                ticket = heapq.heappop(queue)
                if (peer := self._valid(ticket, queue)) is not None:
                    self._remove(peer, now)
        while self._floors:
            peer, (_, _, until) = next(iter(self._floors.items()))
            if until > now:
                break
            del self._floors[peer]

    # --- inside ----------------------------------------------------------------------------------

    def _is_banned(self, peer: PeerId, now: float) -> bool:
        proof = self._proofs.get(peer)
        return proof is not None and now < proof.until

    def _expose(self, held: Descriptor, other: Descriptor, now: float) -> Outcome:
        """Nothing of a peer that says two things at once is believed until both have expired."""
        first, second = sorted((held, other), key=lambda each: each.content)
        until = max(held.expires, other.expires)
        proof = Equivocation(held.peer, held.sequence, first.raw, second.raw, until)
        self._remove(held.peer, now)
        self._proofs.pop(held.peer, None)
        self._proofs[held.peer] = proof
        while len(self._proofs) > self._limits.proofs:
            self._proofs.popitem(last=False)
        return Outcome(Verdict.SUPERSEDED, held, proof)

    def _confirm(self, peer: PeerId, origin: Origin, now: float) -> None:
        """Its own peer said what was only told before."""
        entry = self._held[peer]
        if not entry.is_first_hand:
            self._take_out(peer)
            self._place(_Entry(entry.descriptor, origin))
            self._make_room(peer, now)

    def _place(self, entry: _Entry) -> None:
        descriptor, origin = entry.descriptor, entry.origin
        peer = descriptor.peer
        if peer in self._held:
            self._take_out(peer)
        self._held[peer] = entry
        self._bytes += len(descriptor.raw)
        for role in descriptor.roles:
            self._roles.setdefault(role, {})[peer] = None
        if origin.network:
            self._networks.setdefault(origin.network, {})[peer] = None
        if origin.teller:
            self._tellers.setdefault(origin.teller, OrderedDict())[peer] = None
        queue = self._queues[entry.is_first_hand]
        heapq.heappush(queue, (descriptor.expires, descriptor.sequence, peer.raw))
        if len(queue) > 2 * len(self._held) + 64:
            # Tickets of what was replaced since: at most as many as there are good ones.
            queue[:] = [ticket for ticket in queue if self._valid(ticket, queue) is not None]
            heapq.heapify(queue)

    def _take_out(self, peer: PeerId) -> _Entry:
        entry = self._held.pop(peer)
        self._bytes -= len(entry.descriptor.raw)
        for role in entry.descriptor.roles:
            _discard(self._roles, role, peer)
        if entry.origin.network:
            _discard(self._networks, entry.origin.network, peer)
        if entry.origin.teller:
            _discard(self._tellers, entry.origin.teller, peer)
        return entry

    def _remove(self, peer: PeerId, now: float) -> None:
        """Forget a descriptor but not how new it was."""
        gone = self._take_out(peer).descriptor
        self._floors.pop(peer, None)
        self._floors[peer] = (gone.sequence, gone.content, now + _LAST_BREATH_S)
        while len(self._floors) > self._limits.floors:
            self._floors.popitem(last=False)

    def _make_room(self, newcomer: PeerId, now: float) -> None:
        origin, limits = self._held[newcomer].origin, self._limits
        network = self._networks.get(origin.network, {})
        if len(network) > limits.per_network:
            self._remove(min(network, key=self._worth), now)
        told = self._tellers.get(origin.teller, OrderedDict())
        if len(told) > limits.per_teller:
            self._remove(next(iter(told)), now)
        while len(self._held) > limits.held or self._bytes > limits.held_bytes:
            self._remove(self._least(), now)

    def _worth(self, peer: PeerId) -> tuple[bool, int, bytes]:
        entry = self._held[peer]
        return (entry.is_first_hand, entry.descriptor.expires, peer.raw)

    def _least(self) -> PeerId:
        for queue in self._queues:
            while queue:
                if (peer := self._valid(heapq.heappop(queue), queue)) is not None:
                    return peer
        raise AssertionError("every descriptor held has a ticket")

    def _valid(self, ticket: _Ticket, queue: list[_Ticket]) -> PeerId | None:
        """The peer of a ticket, if that still stands for what is held."""
        expires, sequence, raw = ticket
        peer = PeerId(raw)
        entry = self._held.get(peer)
        if entry is None or self._queues[entry.is_first_hand] is not queue:
            return None
        found = entry.descriptor
        return peer if (found.expires, found.sequence) == (expires, sequence) else None


def network_of(addresses: Iterable[Multiaddr]) -> str:
    """The IPv4 /24 or IPv6 /48 of the first public IP address; empty when there is none."""
    for address in addresses:
        if scope_of(address) is not Scope.PUBLIC:
            continue
        for protocol, value in address.items():
            if protocol.name in ("ip4", "ip6"):
                bits = 24 if protocol.name == "ip4" else 48
                return str(ipaddress.ip_network(f"{value}/{bits}", strict=False))
    return ""


def _discard(groups: MutableMapping[str, G], name: str, peer: PeerId) -> None:
    group = groups[name]
    del group[peer]
    if not group:
        del groups[name]
