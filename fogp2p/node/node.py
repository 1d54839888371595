"""The running peer: a host, what was agreed with whom, and whom we look for."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import trio

from fogp2p import __version__
from fogp2p.addresses import Multiaddr, parse_address, peer_of
from fogp2p.config import Config, parse_versions
from fogp2p.environment import Environment
from fogp2p.errors import ConfigError, Unreachable
from fogp2p.eventlog import EventLog
from fogp2p.events import Gap
from fogp2p.host import (
    Connected,
    ConnectionInfo,
    Direction,
    Disconnected,
    Discovery,
    Handler,
    Host,
    HostEvent,
    PeerIdentified,
    PubSub,
    Sighting,
    Stream,
)
from fogp2p.identity import Identity
from fogp2p.ids import PeerId, ProtocolId, Version, protocol_id
from fogp2p.protocols import echo, ping
from fogp2p.protocols.gossip import open_gossip
from fogp2p.protocols.versioning import Catalogue, Offer, Release, Versioning, open_versioning
from fogp2p.tasks import open_tasks
from fogp2p.transports.peerbook import KnownPeers

from .connector import Connector
from .status import DiscoveryStatus, NodeStatus, PeerStatus, explain

__all__ = ["Node", "open_node"]

_LOG = logging.getLogger(__name__)


@asynccontextmanager
async def open_node(
    host: Host,
    identity: Identity,
    config: Config,
    environment: Environment,
    *,
    discoveries: Sequence[Discovery] = (),
    key_encrypted: bool | None = None,
) -> AsyncIterator[Node]:
    """Run our protocols on `host` and look for peers while the context lasts.

    Works on any host: sockets or memory. Raises ConfigError for versions we do not have.
    """
    offered = echo_versions(config)
    catalogue = Catalogue(
        f"fogp2p/{__version__}",
        {echo.NAME: Offer(tuple(Release(version) for version in offered))},
    )
    ping.install(host)
    counters = echo.install(host, offered)
    async with (
        open_versioning(host, identity, catalogue, environment) as versioning,
        open_gossip(host, identity, environment) as pubsub,
        open_tasks() as nursery,
    ):
        node = Node(host, identity, config, environment, versioning, counters, discoveries)
        node.pubsub = pubsub
        node.key_encrypted = key_encrypted
        await nursery.start(node.watch)
        await nursery.start(node.connector.run)
        try:
            yield node
        finally:
            nursery.cancel_scope.cancel()


def echo_versions(config: Config) -> tuple[Version, ...]:
    """The versions of echo that the configuration asks for and this program has."""
    low, high = parse_versions(config.protocols.echo)
    return tuple(version for version in echo.OFFER_1_1 if low <= version <= high)


class Node:
    """Made by `open_node` or `open_peer`."""

    def __init__(
        self,
        host: Host,
        identity: Identity,
        config: Config,
        environment: Environment,
        versioning: Versioning,
        counters: echo.Counters,
        discoveries: Sequence[Discovery],
    ) -> None:
        self.host = host
        self.config = config
        self.versioning = versioning
        self.environment = environment
        self.connector = Connector(
            host, discoveries, config.network.target_peers, environment.random
        )
        self.key_encrypted: bool | None = None
        self.pubsub: PubSub
        """Topics that spread messages among all peers: `node.pubsub.publish("/chess", b"e4")`."""
        self.stopping = trio.Event()
        """Set when somebody asked this peer to stop."""
        self.event_log = EventLog(environment.clock)
        """What happened here, for programs that follow it."""
        self._identity = identity
        self._discoveries = discoveries
        self._counters = counters
        self._started = trio.current_time()
        self._started_at = environment.clock.wall()
        self._agents: dict[PeerId, str] = {}
        self._since: dict[int, float] = {}

    # --- for programs that build on it -----------------------------------------------------------

    @property
    def peer_id(self) -> PeerId:
        """Our name."""
        return self.host.peer_id

    @property
    def addresses(self) -> tuple[Multiaddr, ...]:
        """Where we can be dialled."""
        return self.host.addresses

    def serve(self, protocol: str, handler: Callable[[Stream], Awaitable[None]]) -> None:
        """Serve a protocol of your own, such as "/chess/1.0.0".

        Raises LocalProtocolError for a name that is malformed or served already.
        """
        serving: Handler = handler
        self.host.set_handler(protocol_id(protocol), serving)

    async def open_stream(self, peer: PeerId, protocol: str, *, deadline: float) -> Stream:
        """Open a stream of a protocol of your own. Raises as `Host.open_stream`."""
        return await self.host.open_stream(peer, [protocol_id(protocol)], deadline=deadline)

    async def connect(self, address: str, *, deadline: float) -> PeerId:
        """Connect to the peer at an address that ends in `/p2p/<id>`; return its id.

        Raises ConfigError for another address, or as `Host.connect`.
        """
        parsed = parse_address(address)
        peer = peer_of(parsed)
        if peer is None:
            raise ConfigError(f"no peer id at the end of {address}", hint="it ends in /p2p/12D3...")
        await self.host.connect(peer, [parsed], deadline=deadline)
        return peer

    async def ping(self, peer: PeerId, *, deadline: float) -> float:
        """The round-trip time in seconds. Looks the peer up if need be; raises as `reach`."""
        await self.reach(peer, deadline=deadline)
        return await ping.ping(self.host, peer, self.environment.random, deadline=deadline)

    async def find_peer(self, peer: PeerId, *, deadline: float) -> tuple[Multiaddr, ...]:
        """Ask every discovery for `peer`'s addresses; () when nobody knew before the deadline."""
        found: dict[Multiaddr, None] = {}

        async def ask(discovery: Discovery) -> None:
            found.update(dict.fromkeys(await discovery.find_peer(peer, deadline=deadline)))

        async with trio.open_nursery() as nursery:
            for discovery in self._discoveries:
                nursery.start_soon(ask, discovery)
        return tuple(found)

    async def reach(self, peer: PeerId, *, deadline: float) -> ConnectionInfo:
        """Connect to `peer`, looking it up when no address of it is known.

        Raises Unreachable when nobody knows one, or as `Host.connect`.
        """
        addresses: tuple[Multiaddr, ...] = ()
        if self.host.connection_to(peer) is None and not self.host.known_addresses(peer):
            addresses = await self.find_peer(peer, deadline=deadline)
            if not addresses:
                raise Unreachable(
                    f"nobody knows an address of {peer.short}",
                    hint="is it running, and on this network or in the DHT? `fogp2p status`",
                )
        return await self.host.connect(peer, addresses, deadline=deadline)

    async def provide(self, key: bytes, *, deadline: float) -> int:
        """Announce that we have what the CID or multihash `key` names; how many peers know now.

        Raises LocalProtocolError("kad-key") for another key.
        """
        return sum([await each.provide(key, deadline=deadline) for each in self._discoveries])

    async def find_providers(self, key: bytes, *, deadline: float) -> tuple[Sighting, ...]:
        """Peers that announced `key`. Raises LocalProtocolError("kad-key") for another key."""
        found: dict[PeerId, Sighting] = {}
        for each in self._discoveries:
            for sighting in await each.find_providers(key, deadline=deadline):
                found.setdefault(sighting.peer, sighting)
        return tuple(found.values())

    async def echo(
        self, peer: PeerId, messages: Sequence[bytes], *, deadline: float
    ) -> echo.EchoResult:
        """Send messages in the agreed version of echo and check the answers.

        Raises ProtocolRefused when none is agreed, or as `protocols.echo.echo`.
        """
        await self.reach(peer, deadline=deadline)
        await self.versioning.ready(peer, deadline=deadline)
        protocol: ProtocolId = self.versioning.protocol(peer, echo.NAME)
        return await echo.echo(self.host, peer, protocol, messages, deadline=deadline)

    def stop(self) -> None:
        """Ask this peer to stop; who runs it leaves its context then."""
        self.stopping.set()

    # --- for people ------------------------------------------------------------------------------

    def status(self) -> NodeStatus:
        """What this peer does, and why it does nothing."""
        peers = self.host.peers()
        discovery = tuple(
            DiscoveryStatus(each.source, self.connector.seen[each.source], each.problem())
            for each in self._discoveries
        )
        wanted = self.config.network.target_peers
        failures = [(peer.short, reason) for peer, reason in self.connector.candidates.failures()]
        return NodeStatus(
            peer_id=str(self.peer_id),
            version=__version__,
            key_type=self._identity.key_type,
            key_encrypted=self.key_encrypted,
            started_at=self._started_at,
            uptime_s=trio.current_time() - self._started,
            addresses=tuple(str(address) for address in self.addresses),
            peers_connected=len(peers),
            peers_agreed=sum(self.versioning.agreement(peer) is not None for peer in peers),
            peers_wanted=wanted,
            discovery=discovery,
            echo_messages=self._counters.messages,
            echo_bytes=self._counters.bytes,
            why=explain(len(peers), wanted, discovery, failures),
        )

    def peers(self) -> tuple[PeerStatus, ...]:
        """The peers we are connected to, oldest first."""
        return tuple(self._describe(connection) for connection in self.host.connections())

    def _describe(self, connection: ConnectionInfo) -> PeerStatus:
        peer = connection.peer
        agreement = self.versioning.agreement(peer)
        agreed = agreement.protocols if agreement is not None else {}
        hello = self.versioning.hello(peer)
        now = trio.current_time()
        return PeerStatus(
            peer_id=str(peer),
            address=str(connection.address),
            direction=connection.direction.value,
            connected_s=now - self._since.get(connection.number, now),
            agent=self._agents.get(peer, ""),
            software=hello.software if hello is not None else "",
            protocols={name: str(version) for name, (version, _) in agreed.items()},
            not_agreed=self.versioning.why_not(peer),
            warnings=self.versioning.warnings(peer),
        )

    # --- following the host ----------------------------------------------------------------------

    async def watch(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep what is known about connected peers, and tell who looks for others."""
        with self.host.events() as events:
            for connection in self.host.connections():
                self._came(connection)
            task_status.started()
            async for event in events:
                self._follow(event)

    def _follow(self, event: HostEvent | Gap) -> None:
        match event:
            case Connected(connection=connection):
                self._came(connection)
            case Disconnected(connection=connection, reason=reason):
                _LOG.info("disconnected peer=%s reason=%s", connection.peer.short, reason)
                told = {"peer_id": str(connection.peer), "reason": reason}
                self.event_log.record("peer.disconnected", told)
                self._went(connection.peer, connection.number)
            case PeerIdentified(peer=peer, agent=agent):
                if self.host.connection_to(peer) is not None:
                    self._agents[peer] = agent
            case Gap():
                self._look_again()
            case _:
                pass

    def _came(self, connection: ConnectionInfo) -> None:
        _LOG.info(
            "connected peer=%s direction=%s", connection.peer.short, connection.direction.value
        )
        if connection.number not in self._since:
            told = {"peer_id": str(connection.peer), "direction": connection.direction.value}
            self.event_log.record("peer.connected", told)
        self._since.setdefault(connection.number, trio.current_time())
        self.connector.connected(connection.peer)
        if connection.direction is Direction.OUTBOUND:
            for discovery in self._discoveries:
                if isinstance(discovery, KnownPeers):
                    discovery.worked(connection.peer, connection.address)

    def _went(self, peer: PeerId, number: int) -> None:
        self._since.pop(number, None)
        if self.host.connection_to(peer) is None:
            self._agents.pop(peer, None)
            self.connector.lost(peer)

    def _look_again(self) -> None:
        """Events were lost: the connections themselves are the truth."""
        present = {connection.number for connection in self.host.connections()}
        for number in self._since.keys() - present:
            del self._since[number]
        connected = set(self.host.peers())
        for peer in self._agents.keys() - connected:
            del self._agents[peer]
            self.connector.lost(peer)
        for connection in self.host.connections():
            self._came(connection)
