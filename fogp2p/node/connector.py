"""Connects to peers that were seen, until there are as many as wanted.

Whoever dials us does not decide whom we talk to: some of our peers are always of our own choice,
however many others came (reference: Heilman et al., Eclipse Attacks, USENIX Security 2015).
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable

import trio

from fogp2p.environment import within
from fogp2p.errors import FogError
from fogp2p.events import Gap
from fogp2p.host import Direction, Discovery, Host, Sighting
from fogp2p.ids import PeerId

from .candidates import Candidates
from .settings import CONNECT_TIMEOUT_S, MAX_DIALS, OWN_CHOICES

__all__ = ["Connector"]

_LOG = logging.getLogger(__name__)


class Connector:
    """Run it on a host; tell it of connections that come and go.

    What it knows of peers outlives the host, the discoveries and its own `run`.
    """

    def __init__(self, own: PeerId, target: int, source: random.Random) -> None:
        self.candidates = Candidates(own)
        self.seen: Counter[str] = Counter()
        """Sightings so far, by the name of the discovery."""
        self._target = target
        self._random = source
        self._dialling: set[PeerId] = set()
        self._wake = trio.Event()

    async def run(
        self, host: Host, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Dial from `host`."""
        self._dialling.clear()
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                self._wake = trio.Event()
                self._dial_due(host, nursery)
                with trio.move_on_at(self._next_deadline(host)):
                    await self._wake.wait()

    async def listen(self, discovery: Discovery, tell: Callable[[Sighting], None]) -> None:
        """Take the hints of `discovery`, endlessly, and pass them on to `tell`."""
        with discovery.sightings() as sightings:
            async for sighting in sightings:
                match sighting:
                    case Sighting():
                        self.seen[discovery.source] += 1
                        self.candidates.saw(sighting, trio.current_time())
                        self._wake.set()
                        tell(sighting)
                    case Gap():
                        pass  # hints were lost; those who are still there announce themselves again

    def connected(self, peer: PeerId) -> None:
        """`peer` is connected."""
        self.candidates.connected(peer)
        self._wake.set()

    def lost(self, peer: PeerId) -> None:
        """`peer` is connected no longer."""
        self.candidates.lost(peer, trio.current_time(), self._random.random())
        self._wake.set()

    def _busy(self, host: Host) -> set[PeerId]:
        return self._dialling | set(host.peers())

    def _wanted(self, host: Host, busy: set[PeerId]) -> int:
        """How many more peers to dial."""
        outbound = {
            each.peer for each in host.connections() if each.direction is Direction.OUTBOUND
        }
        own = len(outbound | self._dialling)
        return max(self._target - len(busy), min(self._target, OWN_CHOICES) - own)

    def _dial_due(self, host: Host, nursery: trio.Nursery) -> None:
        busy = self._busy(host)
        most = min(self._wanted(host, busy), MAX_DIALS - len(self._dialling))
        due = self.candidates.due(trio.current_time(), busy=busy, most=most)
        for peer, addresses in due:
            host.add_addresses(peer, addresses)
            self._dialling.add(peer)
            nursery.start_soon(self._dial, host, peer)

    def _next_deadline(self, host: Host) -> float:
        busy = self._busy(host)
        if self._wanted(host, busy) <= 0:
            return float("inf")
        return self.candidates.next_deadline(trio.current_time(), busy=busy)

    async def _dial(self, host: Host, peer: PeerId) -> None:
        try:
            await host.connect(peer, deadline=within(CONNECT_TIMEOUT_S))
        except FogError as exc:
            _LOG.info("dial_failed peer=%s reason=%s", peer.short, exc)
            self.candidates.failed(peer, str(exc), trio.current_time(), self._random.random())
        finally:
            self._dialling.discard(peer)
            self._wake.set()
