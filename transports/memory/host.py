"""A host in memory: the same promises as any other, kept without sockets or cryptography."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import trio

from fogp2p.addresses import Multiaddr, peer_of, without_peer
from fogp2p.environment import deadline_of
from fogp2p.errors import (
    LimitExceeded,
    LocalProtocolError,
    ProtocolRefused,
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
    PeerIdentified,
    Stream,
)
from fogp2p.ids import PeerId, ProtocolId
from fogp2p.limits import (
    ADDRESSES_PER_PEER,
    INBOUND_STREAMS_PER_PEER,
    KNOWN_PEERS,
    OUTBOUND_STREAMS_PER_PEER,
)
from fogp2p.supervision import serve_stream

from .config import DEAD_AFTER_S, HANDSHAKE_ROUND_TRIPS
from .path import Path
from .stream import MemoryStream, stream_pair

if TYPE_CHECKING:
    from .network import MemoryNetwork

__all__ = ["MemoryHost"]


@dataclass(eq=False, slots=True)
class _Connection:
    """Our view of a connection; the peer has its own."""

    info: ConnectionInfo
    inbound: set[MemoryStream] = field(default_factory=set)
    outbound: set[MemoryStream] = field(default_factory=set)
    freed: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)


class MemoryHost(Host):
    """Made by `MemoryNetwork.open_host`."""

    def __init__(
        self, network: MemoryNetwork, peer: PeerId, number: int, nursery: trio.Nursery
    ) -> None:
        self.number = number
        self._network = network
        self._peer = peer
        self._nursery = nursery
        self._address = network.address_of(number, peer)
        self._handlers: dict[ProtocolId, Handler] = {}
        self._gate: Gate | None = None
        self._known: OrderedDict[PeerId, tuple[Multiaddr, ...]] = OrderedDict()
        self._connections: dict[PeerId, _Connection] = {}
        self._counter = 0
        self._hub: EventHub[HostEvent] = EventHub()
        self._alive = True

    # --- what the interface asks for -------------------------------------------------------------

    @property
    def peer_id(self) -> PeerId:
        return self._peer

    @property
    def addresses(self) -> tuple[Multiaddr, ...]:
        return (self._address,)

    def set_handler(self, protocol: ProtocolId, handler: Handler) -> None:
        if protocol in self._handlers:
            raise LocalProtocolError(f"{protocol} is served already", code="handler-taken")
        self._handlers[protocol] = handler

    def remove_handler(self, protocol: ProtocolId) -> None:
        self._handlers.pop(protocol, None)

    def set_gate(self, gate: Gate | None) -> None:
        self._gate = gate

    def add_addresses(self, peer: PeerId, addresses: Sequence[Multiaddr]) -> None:
        merged = dict.fromkeys([*addresses, *self._known.get(peer, ())])
        self._known[peer] = tuple(merged)[:ADDRESSES_PER_PEER]
        self._known.move_to_end(peer)
        if len(self._known) > KNOWN_PEERS:
            self._known.popitem(last=False)

    def known_addresses(self, peer: PeerId) -> tuple[Multiaddr, ...]:
        return self._known.get(peer, ())

    async def check(self) -> None:
        await trio.lowlevel.checkpoint()
        if not self._alive:
            raise TransportError("this host is gone from the network")

    def connections(self) -> tuple[ConnectionInfo, ...]:
        return tuple(connection.info for connection in self._connections.values())

    def connection_to(self, peer: PeerId) -> ConnectionInfo | None:
        connection = self._connections.get(peer)
        return connection.info if connection is not None else None

    def events(self) -> AbstractContextManager[AsyncIterator[HostEvent | Gap]]:
        return self._hub.listen()

    async def connect(
        self, peer: PeerId, addresses: Sequence[Multiaddr] = (), *, deadline: float
    ) -> ConnectionInfo:
        if peer == self._peer:
            raise LocalProtocolError("a peer does not dial itself", code="dial-self")
        with deadline_of(deadline, f"connecting to {peer.short}"):
            await trio.lowlevel.checkpoint()
            present = self._connections.get(peer)
            if present is not None:
                return present.info
            attempts: list[tuple[str, str]] = []
            for address in dict.fromkeys([*addresses, *self.known_addresses(peer)]):
                problem = await self._dial(peer, address)
                if not problem:
                    return self._connections[peer].info
                attempts.append((str(address), problem))
        raise Unreachable(
            f"no address of {peer.short} answers" if attempts else f"no address of {peer.short}",
            attempts=tuple(attempts),
        )

    async def disconnect(self, peer: PeerId) -> None:
        await trio.lowlevel.checkpoint()
        connection = self._connections.get(peer)
        if connection is not None:
            self._break(connection, "closed here", "closed by the peer")

    async def open_stream(
        self, peer: PeerId, protocols: Sequence[ProtocolId], *, deadline: float
    ) -> Stream:
        if not protocols:
            raise LocalProtocolError("name at least one protocol", code="no-protocol")
        await self.connect(peer, deadline=deadline)
        with deadline_of(deadline, f"opening a stream to {peer.short}"):
            admitted = await self._admitted(peer, protocols)
            connection = await self._free_slot(peer)
            stream, far_end = self._make_streams(peer, connection)
            return await self._negotiate(peer, stream, far_end, admitted)

    # --- dialling --------------------------------------------------------------------------------

    async def _dial(self, peer: PeerId, address: Multiaddr) -> str:
        """Try one address; return what went wrong, or nothing."""
        named = peer_of(address)
        target = self._network.host_at(without_peer(address))
        if named is not None and named != peer:
            return "the address names another peer"
        if target is None:
            return "nobody listens there"
        forth, back = self._paths(target)
        for _ in range(HANDSHAKE_ROUND_TRIPS):
            await self._travel(forth)
            await self._travel(back)
        if target.peer_id != peer:
            return f"{target.peer_id.short} answers there"
        if not target._alive:
            return "the peer went away"
        if peer not in self._connections:
            self._establish(target, address)
        return ""

    def _paths(self, target: MemoryHost) -> tuple[Path, Path]:
        forth = self._network.path(self._peer, target.peer_id)
        return forth, self._network.path(target.peer_id, self._peer)

    async def _travel(self, path: Path) -> None:
        """Wait as long as one small segment takes."""
        arrival = trio.current_time() + path.delay()
        lot = trio.lowlevel.ParkingLot()
        path.subscribe(lot.unpark_all)
        try:
            while path.is_cut or arrival > trio.current_time():
                with trio.move_on_at(arrival) if not path.is_cut else trio.CancelScope():
                    await lot.park()
        finally:
            path.unsubscribe(lot.unpark_all)

    def _establish(self, target: MemoryHost, address: Multiaddr) -> None:
        self._add(target.peer_id, Direction.OUTBOUND, address)
        target._add(self._peer, Direction.INBOUND, self._address)
        self._learn(target)
        target._learn(self)

    def _learn(self, other: MemoryHost) -> None:
        """What identify brings on a network: where the other listens, and what it serves."""
        addresses = tuple(without_peer(address) for address in other.addresses)
        self.add_addresses(other.peer_id, addresses)
        self._hub.publish(
            PeerIdentified(other.peer_id, "memory", tuple(other._handlers), addresses)
        )

    def _add(self, peer: PeerId, direction: Direction, address: Multiaddr) -> None:
        self._counter += 1
        info = ConnectionInfo(peer, self._counter, direction, address)
        self._connections[peer] = _Connection(info)
        self._hub.publish(Connected(info))

    # --- streams ---------------------------------------------------------------------------------

    async def _admitted(
        self, peer: PeerId, protocols: Sequence[ProtocolId]
    ) -> Sequence[ProtocolId]:
        if self._gate is None:
            return protocols
        allowed: list[ProtocolId] = []
        refusal: ProtocolRefused | None = None
        for protocol in protocols:
            try:
                await self._gate.admit(peer, protocol, Direction.OUTBOUND)
                allowed.append(protocol)
            except ProtocolRefused as exc:
                refusal = refusal or exc
        if not allowed:
            assert refusal is not None
            raise refusal
        return allowed

    async def _free_slot(self, peer: PeerId) -> _Connection:
        while True:
            connection = self._connections.get(peer)
            if connection is None:
                raise Unreachable(f"{peer.short} disconnected")
            if len(connection.outbound) < OUTBOUND_STREAMS_PER_PEER:
                return connection
            await connection.freed.park()

    def _make_streams(
        self, peer: PeerId, connection: _Connection
    ) -> tuple[MemoryStream, MemoryStream]:
        far = self._network.path(self._peer, peer), self._network.path(peer, self._peer)
        near_end, far_end = stream_pair(self._peer, peer, *far)
        connection.outbound.add(near_end)
        near_end.on_end = partial(_forget, near_end, connection)
        return near_end, far_end

    async def _negotiate(
        self,
        peer: PeerId,
        stream: MemoryStream,
        far_end: MemoryStream,
        protocols: Sequence[ProtocolId],
    ) -> Stream:
        target = self._network.host_of(peer)
        if target is None:
            raise Unreachable(f"{peer.short} disconnected")
        answered = trio.Event()
        path = self._network.path(self._peer, peer)
        target._nursery.start_soon(target._serve, path, far_end, tuple(protocols), answered)
        if len(protocols) == 1:
            stream.agree(protocols[0])
            return stream
        try:
            await answered.wait()
            await self._travel(self._network.path(peer, self._peer))
        except BaseException:
            stream.reset()
            raise
        if far_end._protocol is None:
            raise ProtocolRefused(f"{peer.short} speaks none of the protocols asked for")
        stream.agree(far_end.protocol)
        return stream

    async def _serve(
        self,
        path: Path,
        stream: MemoryStream,
        protocols: tuple[ProtocolId, ...],
        answered: trio.Event,
    ) -> None:
        """The inbound side of one stream, from its arrival to its end."""
        await self._travel(path)
        connection = self._connections.get(stream.remote_peer)
        chosen = next((p for p in protocols if p in self._handlers), None)
        if connection is None:
            stream.reset()
            await self._renounce(stream.remote_peer)
        elif len(connection.inbound) >= INBOUND_STREAMS_PER_PEER:
            stream.fail(
                LimitExceeded("too many inbound streams"),
                theirs=StreamReset("the peer has too many streams of ours open"),
            )
        elif chosen is None:
            stream.refuse("the peer speaks none of the protocols asked for")
        else:
            stream.agree(chosen)
            answered.set()
            connection.inbound.add(stream)
            try:
                await self._handle(stream, chosen)
            finally:
                connection.inbound.discard(stream)
        answered.set()

    async def _renounce(self, peer: PeerId) -> None:
        """Tell who talks on a connection that we gave up: as TCP's reset."""
        await self._travel(self._network.path(self._peer, peer))
        target = self._network.host_of(peer)
        other = target._connections.get(self._peer) if target is not None else None
        if target is not None and other is not None and peer not in self._connections:
            target._close(other, "the peer gave the connection up")

    async def _handle(self, stream: MemoryStream, protocol: ProtocolId) -> None:
        if self._gate is not None:
            try:
                await self._gate.admit(stream.remote_peer, protocol, Direction.INBOUND)
            except ProtocolRefused as exc:
                stream.refuse(str(exc))
                return
        handler = self._handlers.get(protocol)
        if handler is None:
            stream.refuse("the protocol is not served any more")
            return
        await serve_stream(stream, handler, self.disconnect)

    # --- endings ---------------------------------------------------------------------------------

    def _break(self, connection: _Connection, here: str, there: str) -> None:
        peer = connection.info.peer
        if self._connections.get(peer) is not connection:
            return
        self._close(connection, here)
        target = self._network.host_of(peer)
        other = target._connections.get(self._peer) if target is not None else None
        if target is not None and other is not None:
            target._close(other, there)

    def _close(self, connection: _Connection, reason: str) -> None:
        del self._connections[connection.info.peer]
        lost = StreamReset(f"the connection ended: {reason}")
        for stream in (*connection.inbound, *connection.outbound):
            stream.fail(lost)
        connection.freed.unpark_all()
        self._hub.publish(Disconnected(connection.info, reason))

    def vanish(self) -> None:
        """Be gone at once. For the network."""
        self._alive = False
        for connection in tuple(self._connections.values()):
            peer = connection.info.peer
            self._close(connection, "this host stopped")
            target = self._network.host_of(peer)
            other = target._connections.get(self._peer) if target is not None else None
            if target is not None and other is not None:
                target._close(other, "the peer went away")

    def watch(self, peer: PeerId, path: Path) -> None:
        """Give `peer` up if `path` from it stays cut. For the network."""
        connection = self._connections.get(peer)
        if connection is not None:
            self._nursery.start_soon(self._give_up, connection, path)

    async def _give_up(self, connection: _Connection, path: Path) -> None:
        lot = trio.lowlevel.ParkingLot()
        path.subscribe(lot.unpark_all)
        try:
            with trio.move_on_after(DEAD_AFTER_S):
                while path.is_cut:
                    await lot.park()
        finally:
            path.unsubscribe(lot.unpark_all)
        if path.is_cut and self._connections.get(connection.info.peer) is connection:
            self._close(connection, "the peer stopped answering")


def _forget(stream: MemoryStream, connection: _Connection) -> None:
    """Free the slot of an outbound stream that ended."""
    connection.outbound.discard(stream)
    connection.freed.unpark()
