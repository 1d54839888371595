"""Connects to peers that were seen, until there are as many as wanted."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence

import trio

from fogp2p.environment import within
from fogp2p.errors import FogError
from fogp2p.events import Gap
from fogp2p.host import Discovery, Host, Sighting
from fogp2p.ids import PeerId

from .candidates import Candidates
from .settings import CONNECT_TIMEOUT_S, MAX_DIALS

__all__ = ["Connector"]

_LOG = logging.getLogger(__name__)


class Connector:
    """Run it in a nursery; tell it of connections that come and go."""

    def __init__(
        self, host: Host, discoveries: Sequence[Discovery], target: int, source: random.Random
    ) -> None:
        self.candidates = Candidates(host.peer_id)
        self.seen: dict[str, int] = {each.source: 0 for each in discoveries}
        """Sightings so far, by the name of the discovery."""
        self._host = host
        self._discoveries = discoveries
        self._target = target
        self._random = source
        self._dialling: set[PeerId] = set()
        self._wake = trio.Event()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen to all discoveries and dial."""
        async with trio.open_nursery() as nursery:
            for discovery in self._discoveries:
                nursery.start_soon(self._listen, discovery)
            task_status.started()
            while True:
                self._wake = trio.Event()
                self._dial_due(nursery)
                with trio.move_on_at(self._next_deadline()):
                    await self._wake.wait()

    def connected(self, peer: PeerId) -> None:
        """`peer` is connected."""
        self.candidates.connected(peer)
        self._wake.set()

    def lost(self, peer: PeerId) -> None:
        """`peer` is connected no longer."""
        self.candidates.lost(peer, trio.current_time(), self._random.random())
        self._wake.set()

    def _busy(self) -> set[PeerId]:
        return self._dialling | set(self._host.peers())

    def _dial_due(self, nursery: trio.Nursery) -> None:
        busy = self._busy()
        most = min(self._target - len(busy), MAX_DIALS - len(self._dialling))
        due = self.candidates.due(trio.current_time(), busy=busy, most=most)
        for peer, addresses in due:
            self._host.add_addresses(peer, addresses)
            self._dialling.add(peer)
            nursery.start_soon(self._dial, peer)

    def _next_deadline(self) -> float:
        busy = self._busy()
        if len(busy) >= self._target:
            return float("inf")
        return self.candidates.next_deadline(trio.current_time(), busy=busy)

    async def _dial(self, peer: PeerId) -> None:
        try:
            await self._host.connect(peer, deadline=within(CONNECT_TIMEOUT_S))
        except FogError as exc:
            _LOG.info("dial_failed peer=%s reason=%s", peer.short, exc)
            self.candidates.failed(peer, str(exc), trio.current_time(), self._random.random())
        finally:
            self._dialling.discard(peer)
            self._wake.set()

    async def _listen(self, discovery: Discovery) -> None:
        with discovery.sightings() as sightings:
            async for sighting in sightings:
                match sighting:
                    case Sighting():
                        self.seen[discovery.source] += 1
                        self.candidates.saw(sighting, trio.current_time())
                        self._wake.set()
                    case Gap():
                        pass  # hints were lost; those who are still there announce themselves again
