"""The peers named in the configuration. They are always worth a try."""

from __future__ import annotations

import math
from collections.abc import Sequence

import trio

from fogp2p.addresses import Multiaddr, peer_of, without_peer
from fogp2p.errors import ConfigError
from fogp2p.host import Sighting
from fogp2p.ids import PeerId

from .base import LocalDiscovery

__all__ = ["Bootstrap"]


class Bootstrap(LocalDiscovery):
    """Offers configured addresses as sightings."""

    def __init__(self, addresses: Sequence[Multiaddr]) -> None:
        """Each address ends in `/p2p/<id>`. Raises ConfigError for one that does not."""
        super().__init__()
        self._peers: dict[PeerId, list[Multiaddr]] = {}
        for address in addresses:
            peer = peer_of(address)
            if peer is None:
                raise ConfigError(
                    f"bootstrap address without a peer id: {address}",
                    hint="it ends in /p2p/12D3KooW...; `fogp2p id` prints it on the other side",
                )
            self._peers.setdefault(peer, []).append(without_peer(address))

    @property
    def source(self) -> str:
        return "bootstrap"

    def problem(self) -> str:
        return "" if self._peers else "no peers are configured"

    async def find_peer(self, peer: PeerId, *, deadline: float) -> tuple[Multiaddr, ...]:
        await trio.lowlevel.checkpoint()
        return tuple(self._peers.get(peer, ()))

    def _present(self) -> list[Sighting]:
        return [
            Sighting(peer, tuple(addresses), self.source, math.inf)
            for peer, addresses in self._peers.items()
        ]
