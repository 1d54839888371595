"""The host: listens, dials, keeps one session for each peer, and serves streams."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from socket import SO_ACCEPTCONN, SOL_SOCKET
from typing import Final

import trio

from fogp2p.addresses import Multiaddr, Scope, parse_address, peer_of, scope_of, without_peer
from fogp2p.environment import Environment, deadline_of
from fogp2p.errors import (
    ConfigError,
    DeadlineExceeded,
    FogError,
    LimitExceeded,
    LocalProtocolError,
    ProtocolRefused,
    RemoteProtocolError,
    StreamReset,
    TransportError,
    Unreachable,
)
from fogp2p.events import EventHub, Gap
from fogp2p.host import (
    Connected,
    ConnectionInfo,
    Direction,
    Disconnected,
    Gate,
    Handler,
    Host,
    HostEvent,
    Stream,
)
from fogp2p.identity import Identity
from fogp2p.ids import PeerId, ProtocolId
from fogp2p.limits import DIAL_TIMEOUT_S, SHUTDOWN_GRACE_S
from fogp2p.supervision import contained, serve_stream
from fogp2p.tasks import open_tasks

from . import identify
from .book import AddressBook
from .config import Libp2pConfig
from .dialer import race
from .inbound import Inbound
from .interfaces import concrete_addresses, tcp_endpoint
from .multistream import Opener, Responder
from .session import MuxedStream, Session
from .stream import LibP2PStream
from .upgrade import upgrade

__all__ = ["LibP2PHost", "open_host"]

_LOG = logging.getLogger(__name__)
_READ: Final = 65536
# Two peers that dial each other do so within this; a later connection replaces a dead one.
_SIMULTANEOUS_S: Final = 5.0
# The losing connection of a simultaneous dial may finish what was begun on it.
_RETIRE_S: Final = 10.0


@dataclass(eq=False, slots=True)
class _Peer:
    """A connected peer: what the outside sees, and the session in use."""

    info: ConnectionInfo
    session: Session
    dialled_here: bool
    since: float
    retired: set[Session] = field(default_factory=set)
    last_push: float = -identify.PUSH_INTERVAL_S


@asynccontextmanager
async def open_host(
    identity: Identity, config: Libp2pConfig, environment: Environment
) -> AsyncIterator[LibP2PHost]:
    """Listen and serve for as long as the context lasts.

    Raises ConfigError for an address that cannot be listened on.
    """
    async with open_tasks() as nursery:
        host = LibP2PHost(identity, config, environment, nursery)
        await host.listen()
        try:
            yield host
        finally:
            with trio.move_on_after(SHUTDOWN_GRACE_S, shield=True):
                await host.say_goodbye()
            nursery.cancel_scope.cancel()


class LibP2PHost(Host):
    """Made by `open_host`."""

    def __init__(
        self,
        identity: Identity,
        config: Libp2pConfig,
        environment: Environment,
        nursery: trio.Nursery,
    ) -> None:
        self._identity = identity
        self._config = config
        self._environment = environment
        self._nursery = nursery
        self._hub: EventHub[HostEvent] = EventHub()
        self._book = AddressBook()
        self._handlers: dict[ProtocolId, Handler] = {}
        self._gate: Gate | None = None
        self._peers: dict[PeerId, _Peer] = {}
        self._dials: dict[PeerId, trio.Lock] = {}
        self._counter = 0
        self._inbound_streams = 0
        self._bound: list[tuple[str, int]] = []
        self._listeners: list[trio.SocketListener] = []
        self._inbound = Inbound(config, self._hub)
        self.set_handler(identify.IDENTIFY, self._serve_identify)
        self.set_handler(identify.PUSH, self._serve_push)

    # --- what the interface asks for -------------------------------------------------------------

    @property
    def peer_id(self) -> PeerId:
        return self._identity.peer_id

    @property
    def addresses(self) -> tuple[Multiaddr, ...]:
        return tuple(
            parse_address(f"{address}/p2p/{self.peer_id}")
            for ip, port in self._bound
            for address in concrete_addresses(ip, port)
        )

    @property
    def listening(self) -> tuple[Multiaddr, ...]:
        """What is listened on, as configured, with the ports that were given for 0."""
        return tuple(
            parse_address(f"/ip{6 if ':' in ip else 4}/{ip}/tcp/{port}") for ip, port in self._bound
        )

    async def check(self) -> None:
        await trio.lowlevel.checkpoint()
        for listener in self._listeners:
            # A socket that was closed has no number; one that was shut down accepts nobody.
            sock = listener.socket
            if sock.fileno() < 0 or not sock.getsockopt(SOL_SOCKET, SO_ACCEPTCONN):
                raise TransportError("a listening socket is closed")

    def set_handler(self, protocol: ProtocolId, handler: Handler) -> None:
        if protocol in self._handlers:
            raise LocalProtocolError(f"{protocol} is served already", code="handler-taken")
        self._handlers[protocol] = handler

    def remove_handler(self, protocol: ProtocolId) -> None:
        self._handlers.pop(protocol, None)

    def set_gate(self, gate: Gate | None) -> None:
        self._gate = gate

    def add_addresses(self, peer: PeerId, addresses: Sequence[Multiaddr]) -> None:
        self._book.add(peer, addresses)

    def known_addresses(self, peer: PeerId) -> tuple[Multiaddr, ...]:
        return self._book.get(peer)

    def connections(self) -> tuple[ConnectionInfo, ...]:
        return tuple(peer.info for peer in self._peers.values())

    def connection_to(self, peer: PeerId) -> ConnectionInfo | None:
        entry = self._peers.get(peer)
        return entry.info if entry is not None else None

    def events(self) -> AbstractContextManager[AsyncIterator[HostEvent | Gap]]:
        return self._hub.listen()

    async def connect(
        self, peer: PeerId, addresses: Sequence[Multiaddr] = (), *, deadline: float
    ) -> ConnectionInfo:
        if peer == self.peer_id:
            raise LocalProtocolError("a peer does not dial itself", code="dial-self")
        with deadline_of(deadline, f"connecting to {peer.short}"):
            await trio.lowlevel.checkpoint()
            async with self._dials.setdefault(peer, trio.Lock()) as _:
                try:
                    return await self._connect(peer, addresses)
                finally:
                    if not self._dials[peer].statistics().tasks_waiting:
                        del self._dials[peer]

    async def disconnect(self, peer: PeerId) -> None:
        await trio.lowlevel.checkpoint()
        entry = self._peers.get(peer)
        if entry is not None:
            with trio.move_on_after(SHUTDOWN_GRACE_S):
                await entry.session.say_goodbye()
            for session in (entry.session, *entry.retired):
                session.close("closed here")
            self._drop(peer, entry.session, "closed here")

    async def open_stream(
        self, peer: PeerId, protocols: Sequence[ProtocolId], *, deadline: float
    ) -> Stream:
        opener = Opener(protocols)  # refuses an empty list
        if peer not in self._peers:
            await self.connect(peer, deadline=deadline)
        with deadline_of(deadline, f"opening a stream to {peer.short}"):
            if self._gate is not None:
                opener = Opener(await self._admitted(peer, protocols))
            entry = self._peers.get(peer)
            if entry is None:
                raise Unreachable(f"{peer.short} disconnected")
            muxed = await entry.session.open_stream()
            stream = LibP2PStream(entry.session, muxed, opener.first, opener=opener)
            try:
                if opener.has_choice:
                    await stream.negotiate()
                else:
                    await trio.lowlevel.checkpoint()
            except BaseException:
                stream.reset()
                raise
            return stream

    # --- listening -------------------------------------------------------------------------------

    async def listen(self) -> None:
        """Bind the configured addresses. Raises ConfigError."""
        for address in self._config.listen:
            endpoint = tcp_endpoint(address)
            if endpoint is None:
                raise ConfigError(
                    f"cannot listen on {address}",
                    hint="use /ip4/<address>/tcp/<port>; port 0 takes any free one",
                )
            ip, port = endpoint
            try:
                listeners = await trio.open_tcp_listeners(port, host=ip)
            except OSError as exc:
                raise ConfigError(
                    f"cannot listen on {address}: {exc.strerror or exc}",
                    hint="is another program using the port? port 0 takes any free one",
                ) from exc
            self._listeners += listeners
            for listener in listeners:
                self._bound.append((ip, int(listener.socket.getsockname()[1])))
            self._nursery.start_soon(
                partial(trio.serve_listeners, handler_nursery=self._nursery),
                self._accept,
                listeners,
            )

    async def _accept(self, socket: trio.SocketStream) -> None:
        """The whole life of one inbound connection. Nothing a peer does leaves it."""

        async def serve() -> None:
            async with self._inbound.admitted(socket) as (address, scope):
                session = await self._inbound.hurry(
                    scope,
                    partial(
                        upgrade,
                        socket,
                        self._identity,
                        dialled=None,
                        source=self._environment.random,
                        on_stream=self._on_stream,
                        on_progress=scope.made_progress,
                    ),
                )
                await self._run(session, address, dialled_here=False)

        failure = await contained(serve)
        with trio.CancelScope(shield=True), trio.move_on_after(0):
            await trio.aclose_forcefully(socket)
        if isinstance(failure, FogError):
            _LOG.info("inbound_failed reason=%s", failure)
        elif failure is not None:
            _LOG.error("inbound_broken", exc_info=failure)

    # --- dialling --------------------------------------------------------------------------------

    async def _connect(self, peer: PeerId, addresses: Sequence[Multiaddr]) -> ConnectionInfo:
        present = self._peers.get(peer)
        if present is not None:
            return present.info
        if sum(entry.dialled_here for entry in self._peers.values()) >= (
            self._config.outbound_connections
        ):
            raise LimitExceeded("too many outbound connections")
        given = [a if peer_of(a) not in (None, peer) else without_peer(a) for a in addresses]
        targets = tuple(dict.fromkeys([*given, *self._book.get(peer)]))
        session, address = await race(
            peer, targets, partial(self._dial, peer), lambda won: won[0].close("not needed")
        )
        self._book.add(peer, [address])
        ready = trio.Event()
        self._nursery.start_soon(
            partial(self._run, session, address, dialled_here=True, ready=ready)
        )
        await ready.wait()
        entry = self._peers.get(peer)
        if entry is None:
            raise Unreachable(f"{peer.short} hung up: {session.reason}")
        return entry.info

    async def _dial(self, peer: PeerId, address: Multiaddr) -> tuple[Session, Multiaddr]:
        endpoint = tcp_endpoint(address)
        if peer_of(address) is not None:
            raise TransportError("the address names another peer")
        if endpoint is None:
            raise TransportError("not an IP address with a TCP port")
        try:
            with trio.fail_after(DIAL_TIMEOUT_S):
                socket = await trio.open_tcp_stream(*endpoint)
        except OSError as exc:
            raise TransportError(exc.strerror or str(exc)) from exc
        except trio.TooSlowError as exc:
            raise DeadlineExceeded("no answer") from exc
        try:
            with trio.fail_after(self._config.handshake_timeout_s):
                session = await upgrade(
                    socket,
                    self._identity,
                    dialled=peer,
                    source=self._environment.random,
                    on_stream=self._on_stream,
                )
        except trio.TooSlowError as exc:
            await trio.aclose_forcefully(socket)
            raise DeadlineExceeded("the handshake took too long") from exc
        except BaseException:
            socket.socket.close()
            raise
        return session, address

    # --- sessions --------------------------------------------------------------------------------

    async def _run(
        self,
        session: Session,
        address: Multiaddr,
        *,
        dialled_here: bool,
        ready: trio.Event | None = None,
    ) -> None:
        """Serve a session from its first to its last byte."""
        peer = session.remote_peer
        if peer == self.peer_id:
            session.close("that is ourselves")
        else:
            self._add(session, address, dialled_here=dialled_here)
        if ready is not None:
            ready.set()
        try:
            await session.run(
                interval=self._config.ping_interval_s, timeout=self._config.ping_timeout_s
            )
        finally:
            self._drop(peer, session, session.reason)

    def _add(self, session: Session, address: Multiaddr, *, dialled_here: bool) -> None:
        peer, now = session.remote_peer, trio.current_time()
        entry = self._peers.get(peer)
        if entry is not None and now - entry.since > _SIMULTANEOUS_S:
            # The peer would not have dialled if it still had the old connection.
            entry.session.close("replaced by a newer connection")
            self._drop(peer, entry.session, "replaced by a newer connection")
            entry = None
        if entry is None:
            self._counter += 1
            direction = Direction.OUTBOUND if dialled_here else Direction.INBOUND
            info = ConnectionInfo(peer, self._counter, direction, address)
            self._peers[peer] = _Peer(info, session, dialled_here, now)
            self._hub.publish(Connected(info))
            self._nursery.start_soon(self._identify, peer)
            return
        # Both dialled at once. Both sides keep the connection dialled by the smaller peer id.
        keep_new = dialled_here == (self.peer_id < peer) and dialled_here != entry.dialled_here
        loser = entry.session if keep_new else session
        if keep_new:
            entry.session, entry.dialled_here = session, dialled_here
        entry.retired.add(loser)
        self._nursery.start_soon(self._retire, loser)

    async def _retire(self, session: Session) -> None:
        with trio.move_on_after(_RETIRE_S):
            await session.closed.wait()
        session.close("a second connection to the same peer")

    def _drop(self, peer: PeerId, session: Session, reason: str) -> None:
        entry = self._peers.get(peer)
        if entry is None:
            return
        entry.retired.discard(session)
        if entry.session is not session:
            return
        if entry.retired:
            entry.session = entry.retired.pop()
            return
        del self._peers[peer]
        self._hub.publish(Disconnected(entry.info, reason))

    async def say_goodbye(self) -> None:
        """Tell all peers that we stop."""
        async with trio.open_nursery() as nursery:
            for entry in tuple(self._peers.values()):
                nursery.start_soon(entry.session.say_goodbye)

    # --- streams ---------------------------------------------------------------------------------

    async def _admitted(
        self, peer: PeerId, protocols: Sequence[ProtocolId]
    ) -> Sequence[ProtocolId]:
        assert self._gate is not None
        allowed: list[ProtocolId] = []
        refusal: ProtocolRefused | None = None
        for protocol in protocols:
            try:
                await self._gate.admit(peer, protocol, Direction.OUTBOUND)
                allowed.append(protocol)
            except ProtocolRefused as exc:
                refusal = refusal or exc
        if not allowed:
            assert refusal is not None  # there was at least one protocol
            raise refusal
        return allowed

    def _on_stream(self, session: Session, muxed: MuxedStream) -> None:
        if self._inbound_streams >= self._config.inbound_streams:
            muxed.reset(StreamReset("too many inbound streams"))
            return
        self._inbound_streams += 1
        self._nursery.start_soon(self._serve, session, muxed)

    async def _serve(self, session: Session, muxed: MuxedStream) -> None:
        """The whole life of one inbound stream."""
        try:
            stream = await self._agree(session, muxed)
            if stream is not None:
                handler = self._handlers.get(stream.protocol)
                if handler is None:
                    stream.reset()
                else:
                    await serve_stream(stream, handler, self.disconnect)
        finally:
            self._inbound_streams -= 1

    async def _agree(self, session: Session, muxed: MuxedStream) -> LibP2PStream | None:
        responder = Responder(self._handlers.__contains__)
        try:
            with trio.fail_after(self._config.handshake_timeout_s):
                while responder.agreed is None:
                    data = await muxed.read_some(_READ)
                    if not data:
                        raise StreamReset("closed before agreeing on a protocol")
                    answer = responder.receive_data(data)
                    if answer:
                        await muxed.write_all(answer)
                if self._gate is not None:
                    await self._gate.admit(session.remote_peer, responder.agreed, Direction.INBOUND)
        except (TransportError, RemoteProtocolError, trio.TooSlowError) as exc:
            _LOG.info("stream_refused peer=%s reason=%s", session.remote_peer.short, exc)
            muxed.reset(StreamReset("refused"))
            return None
        return LibP2PStream(session, muxed, responder.agreed, early=responder.take_rest())

    # --- identify --------------------------------------------------------------------------------

    async def _identify(self, peer: PeerId) -> None:
        """Ask a new peer who it is. Failing costs nothing but the answer."""

        async def ask() -> None:
            entry = self._peers.get(peer)
            if entry is None:
                return
            muxed = await entry.session.open_stream()
            opener = Opener([identify.IDENTIFY])
            stream = LibP2PStream(entry.session, muxed, opener.first, opener=opener)
            async with stream:
                self._learn(peer, await identify.read_one(stream))

        with trio.move_on_after(self._config.handshake_timeout_s):
            failure = await contained(ask)
            if failure is not None:
                _LOG.info("identify_failed peer=%s reason=%s", peer.short, failure)

    def _learn(self, peer: PeerId, data: bytes) -> None:
        entry = self._peers.get(peer)
        if entry is None:
            return
        source = scope_of(entry.info.address) or Scope.PUBLIC
        told = identify.decode(peer, data, source)
        self._book.add(peer, told.addresses)
        self._hub.publish(told)

    async def _serve_identify(self, stream: Stream) -> None:
        entry = self._peers.get(stream.remote_peer)
        observed = entry.info.address if entry is not None else None
        message = identify.encode(
            self.peer_id, self._config.agent, self._handlers, self.addresses, observed
        )
        await stream.write_all(identify.frame(message))

    async def _serve_push(self, stream: Stream) -> None:
        entry = self._peers.get(stream.remote_peer)
        now = trio.current_time()
        if entry is None or now - entry.last_push < identify.PUSH_INTERVAL_S:
            raise LimitExceeded("identify news come at most every 30 seconds")
        entry.last_push = now
        with deadline_of(now + self._config.handshake_timeout_s, "reading identify news"):
            self._learn(stream.remote_peer, await identify.read_one(stream))
