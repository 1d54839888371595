"""Where peers were seen: bounded, the least recently useful forgotten first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from fogp2p.addresses import Multiaddr, without_peer
from fogp2p.ids import PeerId
from fogp2p.limits import ADDRESSES_PER_PEER, KNOWN_PEERS

__all__ = ["AddressBook"]


class AddressBook:
    """Up to 10,000 peers with up to 8 addresses each. Hints, never truth."""

    def __init__(self, *, peers: int = KNOWN_PEERS) -> None:
        self._peers = peers
        self._known: OrderedDict[PeerId, tuple[Multiaddr, ...]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def add(self, peer: PeerId, addresses: Iterable[Multiaddr]) -> None:
        """Put `addresses` before those known, the most promising first."""
        fresh = [without_peer(address) for address in addresses]
        merged = dict.fromkeys([*fresh, *self._known.get(peer, ())])
        if merged:
            self._known[peer] = tuple(merged)[:ADDRESSES_PER_PEER]
            self._known.move_to_end(peer)
        if len(self._known) > self._peers:
            self._known.popitem(last=False)

    def get(self, peer: PeerId) -> tuple[Multiaddr, ...]:
        """The addresses of `peer`, best first."""
        found = self._known.get(peer, ())
        if found:
            self._known.move_to_end(peer)
        return found
