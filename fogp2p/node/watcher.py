"""Follows the connections of a host: since when, to whom, and what happened when."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable

import trio

from fogp2p.addresses import Multiaddr
from fogp2p.eventlog import EventLog
from fogp2p.events import Gap
from fogp2p.host import (
    Connected,
    ConnectionInfo,
    Direction,
    Disconnected,
    Host,
    HostEvent,
    PeerIdentified,
)
from fogp2p.ids import PeerId
from fogp2p.protocols.versioning import Versioning
from fogp2p.tasks import open_tasks

from .connector import Connector

__all__ = ["Watcher"]

_LOG = logging.getLogger(__name__)


class Watcher:
    """Run it on a host. What it knows outlives its own `run`, but not the host's connections."""

    def __init__(
        self,
        connector: Connector,
        event_log: EventLog,
        worked: Callable[[PeerId, Multiaddr], None],
    ) -> None:
        """`worked` is told where peers were reached."""
        self._connector = connector
        self._event_log = event_log
        self._worked = worked
        self._host: Host | None = None
        self._known: dict[int, tuple[ConnectionInfo, float]] = {}
        self._agents: dict[PeerId, str] = {}

    def since(self, connection: ConnectionInfo) -> float:
        """When the connection came, on trio's clock."""
        found = self._known.get(connection.number)
        return found[1] if found is not None else trio.current_time()

    def agent(self, peer: PeerId) -> str:
        """How `peer` names its software; empty before it has."""
        return self._agents.get(peer, "")

    async def run(
        self,
        host: Host,
        versioning: Versioning,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Keep what is known about connected peers, and tell who looks for others."""
        if host is not self._host:
            self._forget_all("this host started again")
            self._host = host
        with host.events() as events, versioning.agreements() as agreements:
            self._look_again(host)
            async with open_tasks() as nursery:
                nursery.start_soon(self._follow_agreements, agreements)
                task_status.started()
                async for event in events:
                    self._follow(host, event)

    async def _follow_agreements(self, agreements: AsyncIterator[PeerId | Gap]) -> None:
        async for peer in agreements:
            if isinstance(peer, PeerId):
                self._event_log.record("peer.agreed", {"peer_id": str(peer)})

    def _follow(self, host: Host, event: HostEvent | Gap) -> None:
        match event:
            case Connected(connection=connection):
                self._came(connection)
            case Disconnected(connection=connection, reason=reason):
                self._went(connection, reason)
            case PeerIdentified(peer=peer, agent=agent):
                if host.connection_to(peer) is not None:
                    self._agents[peer] = agent
                    self._event_log.record(
                        "peer.identified", {"peer_id": str(peer), "agent": agent}
                    )
            case Gap():
                self._look_again(host)
            case _:
                pass

    def _came(self, connection: ConnectionInfo) -> None:
        if connection.number in self._known:
            return
        peer, direction = connection.peer, connection.direction
        _LOG.info("connected peer=%s direction=%s", peer.short, direction.value)
        self._known[connection.number] = connection, trio.current_time()
        told = {
            "peer_id": str(peer),
            "direction": direction.value,
            "address": str(connection.address),
        }
        self._event_log.record("peer.connected", told)
        self._connector.connected(peer)
        if direction is Direction.OUTBOUND:
            self._worked(peer, connection.address)

    def _went(self, connection: ConnectionInfo, reason: str) -> None:
        if self._known.pop(connection.number, None) is None:
            return
        peer = connection.peer
        _LOG.info("disconnected peer=%s reason=%s", peer.short, reason)
        self._event_log.record("peer.disconnected", {"peer_id": str(peer), "reason": reason})
        if not any(other.peer == peer for other, _ in self._known.values()):
            self._agents.pop(peer, None)
            self._connector.lost(peer)

    def _look_again(self, host: Host) -> None:
        """Events were lost: the connections themselves are the truth."""
        present = {connection.number: connection for connection in host.connections()}
        for connection, _ in tuple(self._known.values()):
            if connection.number not in present:
                self._went(connection, "it went unnoticed")
        for connection in present.values():
            self._came(connection)

    def _forget_all(self, reason: str) -> None:
        for connection, _ in tuple(self._known.values()):
            self._went(connection, reason)
