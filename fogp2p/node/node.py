"""The running peer: its parts under a supervisor, and what programs and people ask of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from fogp2p import __version__
from fogp2p.addresses import Multiaddr, parse_address, peer_of
from fogp2p.config import Config
from fogp2p.environment import Environment
from fogp2p.errors import ConfigError, LocalProtocolError, Unreachable
from fogp2p.eventlog import EventLog
from fogp2p.host import ConnectionInfo, Discovery, Handler, Host, PubSub, Sighting, Stream
from fogp2p.identity import Identity
from fogp2p.ids import PeerId, ProtocolId, protocol_id
from fogp2p.paths import Paths
from fogp2p.protocols import echo, ping
from fogp2p.protocols.blob import Blobs
from fogp2p.protocols.gossip import Gossip, GossipStats
from fogp2p.protocols.invite import Invites
from fogp2p.protocols.log import Logs
from fogp2p.protocols.registry import Registry
from fogp2p.protocols.versioning import Versioning
from fogp2p.store import Store
from fogp2p.supervisor import (
    Changed,
    GroupStatus,
    Service,
    ServiceStatus,
    Supervisor,
    open_services,
)
from fogp2p.transports.peerbook import KnownPeers

from .health import Health, count, health_of, reasons_of
from .parts import DISCOVERY, GROUPS, HostOpener, Parts, Way
from .rooms import ROOMS, Rooms
from .status import DiscoveryStatus, NodeStatus, PeerStatus, explain
from .watcher import Watcher

__all__ = ["Node", "open_node"]


@asynccontextmanager
async def open_node(
    host: Host | HostOpener,
    identity: Identity,
    config: Config,
    environment: Environment,
    *,
    discoveries: Sequence[Discovery | Way] = (),
    key_encrypted: bool | None = None,
    paths: Paths | None = None,
) -> AsyncIterator[Node]:
    """Run our protocols on `host` and look for peers while the context lasts.

    Works on any host: sockets or memory. What opens a host opens it again after a failure; a host
    that is open already stays as it is. With `paths` it keeps files there and has all its rooms:
    store, invites, blobs, groups; without, the registry only.

    Raises ConfigError for versions we do not have, and what an essential part raises when it does
    not open or was given up later.
    """
    async with open_services((), environment, groups=GROUPS) as supervisor:
        parts = Parts(supervisor, identity, config, environment, paths)
        node = Node(parts, config, key_encrypted, paths)
        supervisor.on_change = node.service_changed
        base = parts.services(host, node.watcher, discoveries)
        ways = tuple(each.name for each in base if each.group == DISCOVERY)
        await supervisor.add(*base, *node.rooms.services(ways))
        yield node


class Node:
    """Made by `open_node` or `open_peer`. Methods raise ServiceDown while a part is down."""

    def __init__(
        self, parts: Parts, config: Config, key_encrypted: bool | None, paths: Paths | None
    ) -> None:
        self.config = config
        self.environment = parts.environment
        self.key_encrypted = key_encrypted
        self.pubsub: PubSub = parts.topics
        """Topics that spread messages among all peers: `node.pubsub.publish("/chess", b"e4")`."""
        self.stopping = trio.Event()
        """Set when somebody asked this peer to stop."""
        self.event_log = EventLog(parts.environment.clock)
        """What happened in this peer, for programs that follow it."""
        self.rooms = Rooms(parts, self.event_log, paths)
        self.connector = parts.connector
        self.watcher = Watcher(parts.connector, self.event_log, self._worked)
        self._parts = parts
        self._supervisor: Supervisor = parts.supervisor
        self._health: Health | None = None
        self._started = trio.current_time()
        self._started_at = parts.environment.clock.wall()

    @property
    def host(self) -> Host:
        """The host of the moment. Raises ServiceDown."""
        return self._parts.host()

    @property
    def versioning(self) -> Versioning:
        """What was agreed with whom. Raises ServiceDown."""
        versioning: Versioning = self._supervisor.value("versioning")
        return versioning

    # --- for programs that build on it -----------------------------------------------------------

    @property
    def peer_id(self) -> PeerId:
        """Our name."""
        return self._parts.identity.peer_id

    @property
    def addresses(self) -> tuple[Multiaddr, ...]:
        """Where we can be dialled."""
        return self.host.addresses

    def serve(self, protocol: str, handler: Callable[[Stream], Awaitable[None]]) -> None:
        """Serve a protocol of your own, such as "/chess/1.0.0".

        It is served again after a restart of the host. Raises LocalProtocolError for a name that
        is malformed or served already.
        """
        name: ProtocolId = protocol_id(protocol)
        serving: Handler = handler
        if name in self._parts.handlers:
            raise LocalProtocolError(f"{name} is served already", code="handler-taken")
        if self._supervisor.is_ready("handlers"):
            self.host.set_handler(name, serving)
        self._parts.handlers[name] = serving

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
        """Ask every discovery for `peer`'s addresses; () when nobody knew before the deadline.

        Raises ServiceDown when all of them are down.
        """
        self._discoveries()
        return await self._parts.ways.find_peer(peer, deadline=deadline)

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
        self._announcing()
        return await self._parts.ways.provide(key, deadline=deadline)

    async def find_providers(self, key: bytes, *, deadline: float) -> tuple[Sighting, ...]:
        """Peers that announced `key`. Raises LocalProtocolError("kad-key") for another key."""
        self._announcing()
        return await self._parts.ways.find_providers(key, deadline=deadline)

    def gossip_stats(self) -> GossipStats | None:
        """What topics did, and what was dropped and why; None while gossip is down."""
        if not self._supervisor.is_ready("gossip"):
            return None
        gossip: Gossip = self._supervisor.value("gossip")
        return gossip.stats()

    @property
    def registry(self) -> Registry:
        """What peers say of themselves. Raises ServiceDown."""
        registry: Registry = self._room("registry")
        return registry

    @property
    def invites(self) -> Invites:
        """Invites, joins and contacts. Raises ServiceDown, or ConfigError without files."""
        invites: Invites = self._room("invites")
        return invites

    @property
    def blobs(self) -> Blobs:
        """Files by their content. Raises ServiceDown, or ConfigError without files."""
        blobs: Blobs = self._room("blobs")
        return blobs

    @property
    def groups(self) -> Logs:
        """Group logs. Raises ServiceDown, or ConfigError without files."""
        groups: Logs = self._room("groups")
        return groups

    @property
    def store(self) -> Store:
        """The durable store. Raises ServiceDown, or ConfigError without files."""
        store: Store = self._room("store")
        return store

    def _room(self, name: str) -> Any:
        if name not in self._supervisor.names(ROOMS):
            raise ConfigError(
                f"this peer has no {name}: it keeps no files, or its key is of another kind",
                hint='start it with a home: open_peer("my-peer")',
            )
        return self._supervisor.value(name)

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

    def _discoveries(self) -> None:
        """Raise ServiceDown when there are ways of finding peers and none is up."""
        names = self._supervisor.names(DISCOVERY)
        if names and not any(map(self._supervisor.is_ready, names)):
            self._supervisor.value(names[0])

    def _announcing(self) -> None:
        """Raise ServiceDown when the DHT is down."""
        if "dht" in self._supervisor.names(DISCOVERY):
            self._supervisor.value("dht")

    # --- its parts -------------------------------------------------------------------------------

    def services(self) -> tuple[ServiceStatus, ...]:
        """The parts of this peer, in an order of starting."""
        return self._supervisor.services()

    def service_groups(self) -> tuple[GroupStatus, ...]:
        """How the parts belong together."""
        return self._supervisor.groups()

    async def add_service(self, service: Service) -> Any:
        """Run another part under the supervisor; return its value.

        It needs and wants others by their names (`services`), and stops before them. Raises
        ServiceDown when it is not ready at first, and LocalProtocolError("service-plan") for one
        that does not fit; an error that only its owner can mend ends the peer.
        """
        await self._supervisor.add(service)
        return self._supervisor.value(service.name)

    async def restart_service(self, name: str) -> None:
        """Have a part and those that need it end in an orderly way and start again.

        Returns before that is done. Raises LocalProtocolError("no-service").
        """
        self._supervisor.restart(name)
        await trio.lowlevel.checkpoint()

    async def crash_service(self, name: str) -> None:
        """A drill: let a part fail as if by an error of its own, and see it come back.

        Returns before that is done. Raises ServiceDown, or LocalProtocolError("no-service").
        """
        self._supervisor.crash(name)
        await trio.lowlevel.checkpoint()

    def service_changed(self, change: Changed) -> None:
        """Write down what the supervisor tells."""
        told = {
            "name": change.name,
            "from": change.before.value,
            "to": change.after.value,
            "reason": change.reason,
            "restarts": change.restarts,
        }
        self.event_log.record("service.changed", told)
        health = health_of(self.services())
        if (self._health is None and health is Health.FAILING) or self._supervisor.is_stopping:
            return  # it is not up yet, or no longer meant to be
        if self._health is not None and health is not self._health:
            moved = {"from": self._health.value, "to": health.value}
            self.event_log.record("health.changed", moved)
        self._health = health

    def stop(self) -> None:
        """Ask this peer to stop; who runs it leaves its context then."""
        self.stopping.set()

    # --- for people ------------------------------------------------------------------------------

    def status(self) -> NodeStatus:
        """What this peer does, and why it does nothing."""
        peers = self.host.peers() if self._supervisor.is_ready("host") else ()
        discovery = tuple(self._discovery(name) for name in self._supervisor.names(DISCOVERY))
        wanted = self.config.network.target_peers
        failures = [(peer.short, reason) for peer, reason in self.connector.candidates.failures()]
        services, identity = self.services(), self._parts.identity
        health, inside = health_of(services), self.rooms.reasons()
        return NodeStatus(
            peer_id=str(self.peer_id),
            name=self.rooms.name,
            version=__version__,
            key_type=identity.key_type,
            key_encrypted=self.key_encrypted,
            started_at=self._started_at,
            uptime_s=trio.current_time() - self._started,
            addresses=tuple(str(address) for address in self._addresses()),
            peers_connected=len(peers),
            peers_agreed=sum(not self._not_agreed(peer) for peer in peers),
            peers_wanted=wanted,
            discovery=discovery,
            echo_messages=self._parts.counters.messages,
            echo_bytes=self._parts.counters.bytes,
            why=explain(len(peers), wanted, discovery, failures),
            health=Health.DEGRADED if health is Health.OK and inside else health,
            reasons=(*reasons_of(services), *inside),
            services=count(services),
            rooms=self.rooms.status(),
        )

    def peers(self) -> tuple[PeerStatus, ...]:
        """The peers we are connected to, oldest first; none while the host is down."""
        if not self._supervisor.is_ready("host"):
            return ()
        return tuple(self._describe(connection) for connection in self.host.connections())

    def _addresses(self) -> tuple[Multiaddr, ...]:
        return self.host.addresses if self._supervisor.is_ready("host") else ()

    def _discovery(self, name: str) -> DiscoveryStatus:
        if self._supervisor.is_ready(name):
            discovery: Discovery = self._supervisor.value(name)
            problem = discovery.problem()
        else:
            problem = next(each.why for each in self.services() if each.name == name)
        return DiscoveryStatus(name, self.connector.seen[name], problem)

    def _not_agreed(self, peer: PeerId) -> str:
        if not self._supervisor.is_ready("versioning"):
            return "the part that agrees on versions is down"
        return self.versioning.why_not(peer)

    def _describe(self, connection: ConnectionInfo) -> PeerStatus:
        peer = connection.peer
        up = self._supervisor.is_ready("versioning")
        agreement = self.versioning.agreement(peer) if up else None
        agreed = agreement.protocols if agreement is not None else {}
        hello = self.versioning.hello(peer) if up else None
        return PeerStatus(
            peer_id=str(peer),
            address=str(connection.address),
            direction=connection.direction.value,
            connected_s=trio.current_time() - self.watcher.since(connection),
            agent=self.watcher.agent(peer),
            software=hello.software if hello is not None else "",
            protocols={name: str(version) for name, (version, _) in agreed.items()},
            not_agreed=self._not_agreed(peer),
            warnings=self.versioning.warnings(peer) if up else (),
        )

    def _worked(self, peer: PeerId, address: Multiaddr) -> None:
        """Remember where a peer was reached."""
        if self._supervisor.is_ready("known"):
            known = self._supervisor.value("known")
            if isinstance(known, KnownPeers):
                known.worked(peer, address)
