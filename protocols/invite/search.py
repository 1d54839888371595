"""Finds peers that may have an invite, and asks them.

Candidates: peers we are connected to, peers that discoveries see, and peers that announced the
nameplate in the DHT. Spec: specs/invite/invite-v1.md section 9.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from fogp2p.addresses import Multiaddr
from fogp2p.environment import Environment, within
from fogp2p.errors import (
    LimitExceeded,
    ProtocolRefused,
    RemoteProtocolError,
    TransportError,
)
from fogp2p.events import Gap
from fogp2p.host import Connected, Discovery, Host, Sighting
from fogp2p.ids import PeerId

from .config import ASK_TIMEOUT_S, ASKED_AT_ONCE, MAX_CANDIDATES, MAX_OFFERS, QUIET_S
from .messages import Reason, Refusal
from .talk import ask

__all__ = ["Candidate", "Search", "nameplate_key"]

_LOG = logging.getLogger(__name__)
_SHA2_256 = b"\x12\x20"
_HAD_IT = frozenset({Reason.EXPIRED, Reason.USED, Reason.BURNT})


def nameplate_key(nameplate: int) -> bytes:
    """The multihash under which inviters announce a nameplate in the DHT."""
    name = f"fog/invite/1 nameplate {nameplate}"
    return _SHA2_256 + hashlib.sha256(name.encode("ascii")).digest()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A peer that says it has an open invite."""

    peer: PeerId
    addresses: tuple[Multiaddr, ...]
    nameplate: int
    seconds_left: int


class Search:
    """One search: run `run` in a nursery and take candidates with `next`."""

    def __init__(
        self,
        host: Host,
        discoveries: Sequence[Discovery],
        environment: Environment,
        nameplate: int,
        deadline: float,
    ) -> None:
        """`nameplate` 0 searches for all open invites that peers on the LAN tell of."""
        self._host = host
        self._discoveries = discoveries
        self._environment = environment
        self._nameplate = nameplate
        self._deadline = deadline
        self._limiter = trio.CapacityLimiter(ASKED_AT_ONCE)
        self._asked: set[PeerId] = {host.peer_id}
        self._asking = 0
        self.answers = 0
        """How many peers gave an answer, whichever."""
        self.refusal: Refusal | None = None
        """What a peer said that had this invite once."""
        queue = MAX_CANDIDATES * MAX_OFFERS
        self._send, self._receive = trio.open_memory_channel[Candidate](queue)

    async def next(self, *, patient: bool) -> Candidate | None:
        """The next candidate; None at the deadline, or once it has been quiet for `QUIET_S` while
        nobody is being asked, unless `patient` and no peer has said that it had this invite."""
        while trio.current_time() < self._deadline:
            with trio.move_on_at(min(self._deadline, within(QUIET_S))):
                return await self._receive.receive()
            impatient = not patient or self.refusal is not None
            if impatient and not self._asking:
                return None
        return None

    async def run(self) -> None:
        """Look for candidates until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow_host, nursery)
            for discovery in self._discoveries:
                nursery.start_soon(self._follow, discovery, nursery)
                if self._nameplate:
                    nursery.start_soon(self._look_up, discovery, nursery)

    async def _follow_host(self, nursery: trio.Nursery) -> None:
        with self._host.events() as events:
            for peer in self._host.peers():
                self._consider(peer, (), nursery)
            async for event in events:
                if isinstance(event, Connected):
                    self._consider(event.connection.peer, (), nursery)
                elif isinstance(event, Gap):
                    for peer in self._host.peers():
                        self._consider(peer, (), nursery)

    async def _follow(self, discovery: Discovery, nursery: trio.Nursery) -> None:
        with discovery.sightings() as sightings:
            async for sighting in sightings:
                if isinstance(sighting, Sighting) and sighting.expires_at > trio.current_time():
                    self._consider(sighting.peer, sighting.addresses, nursery)

    async def _look_up(self, discovery: Discovery, nursery: trio.Nursery) -> None:
        key = nameplate_key(self._nameplate)
        try:
            found = await discovery.find_providers(key, deadline=self._deadline)
        except (TransportError, LimitExceeded) as exc:
            _LOG.info("invite_lookup source=%s failed=%s", discovery.source, exc)
            return
        for sighting in found:
            self._consider(sighting.peer, sighting.addresses, nursery)

    def _consider(
        self, peer: PeerId, addresses: tuple[Multiaddr, ...], nursery: trio.Nursery
    ) -> None:
        if peer in self._asked or len(self._asked) > MAX_CANDIDATES:
            return
        self._asked.add(peer)
        self._asking += 1
        nursery.start_soon(self._ask, peer, addresses)

    async def _ask(self, peer: PeerId, addresses: tuple[Multiaddr, ...]) -> None:
        try:
            async with self._limiter:
                said = await ask(
                    self._host,
                    peer,
                    addresses,
                    self._environment,
                    nameplate=self._nameplate,
                    deadline=min(self._deadline, within(ASK_TIMEOUT_S)),
                )
            self.answers += 1
            if isinstance(said, Refusal):
                if said.reason in _HAD_IT:
                    self.refusal = said
                return
            for nameplate, seconds_left in said.invites:
                self._send.send_nowait(Candidate(peer, addresses, nameplate, seconds_left))
        except (ProtocolRefused, RemoteProtocolError) as exc:
            _LOG.info("invite_asked peer=%s answer=%s", peer.short, exc)
        except (TransportError, LimitExceeded) as exc:
            # It may be reachable later, at another address: a later sighting asks it again.
            self._asked.discard(peer)
            _LOG.info("invite_asked peer=%s failed=%s", peer.short, exc)
        finally:
            self._asking -= 1
