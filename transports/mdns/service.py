"""The sockets of LAN discovery: one for each interface and address family."""

from __future__ import annotations

import ipaddress
import logging
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass

import psutil
import trio

from fogp2p.addresses import Multiaddr, Scope, scope_of
from fogp2p.environment import Environment, within
from fogp2p.errors import LimitExceeded, RemoteProtocolError, TransportError
from fogp2p.events import EventHub, Gap
from fogp2p.host import Discovery, Sighting
from fogp2p.ids import PeerId
from fogp2p.tasks import open_tasks

from .config import (
    CONTENT_WAIT_S,
    MAX_CONTENTS,
    MAX_PROVIDERS,
    MAX_RECEIVE_BYTES,
    TTL_S,
    MdnsConfig,
)
from .machine import Heard, Machine
from .messages import (
    Announcement,
    Query,
    announcement,
    content_label,
    content_query,
    parse,
    query,
)

__all__ = ["open_mdns"]

_LOG = logging.getLogger(__name__)
# How often interfaces and our own addresses are looked at again.
_LOOK_INTERVAL_S = 5.0
_GOODBYE_S = 0.2
# Three rounds without a look: it is not looking any more.
_ASLEEP_S = 3 * _LOOK_INTERVAL_S
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Interface:
    """One address of one interface."""

    name: str
    index: int
    ip: IpAddress

    @property
    def scope(self) -> Scope:
        """How far what is heard here has come at most."""
        return Scope.LOOPBACK if self.ip.is_loopback else Scope.LAN


@asynccontextmanager
async def open_mdns(
    peer: PeerId,
    addresses: Callable[[], tuple[Multiaddr, ...]],
    config: MdnsConfig,
    environment: Environment,
) -> AsyncIterator[Discovery]:
    """Ask and answer while the context lasts; `addresses` gives our present multiaddrs.

    Where multicast is not possible it still opens; `problem()` then says why nothing is seen.
    """
    async with open_tasks() as nursery:
        service = _Mdns(peer, addresses, config, environment)
        nursery.start_soon(service.watch, nursery)
        await service.looked.wait()
        try:
            yield service
        finally:
            with trio.move_on_after(_GOODBYE_S, shield=True):
                await service.say_goodbye()
            service.close()
            nursery.cancel_scope.cancel()


class _Port:
    """One interface: its socket and its machine."""

    def __init__(
        self, interface: Interface, sock: trio.socket.SocketType, machine: Machine
    ) -> None:
        self.interface = interface
        self.socket = sock
        self.machine = machine
        self.wake = trio.Event()


class _Mdns(Discovery):
    def __init__(
        self,
        peer: PeerId,
        addresses: Callable[[], tuple[Multiaddr, ...]],
        config: MdnsConfig,
        environment: Environment,
    ) -> None:
        self._peer = peer
        self._addresses = addresses
        self._config = config
        self._random = environment.random
        # A name nobody can guess or collide with: 32 hexadecimal digits.
        self._name = f"{environment.random.getrandbits(128):032x}"
        self._hub: EventHub[Sighting] = EventHub()
        self._ports: dict[Interface, _Port] = {}
        # Labels of what we have, and of what we look for, with who takes the answers.
        self._contents: dict[str, None] = {}
        self._lookups: dict[object, tuple[str, dict[PeerId, Heard]]] = {}
        self._problem = ""
        self._looked_at = trio.current_time()
        self.looked = trio.Event()

    @property
    def source(self) -> str:
        return "mdns"

    def problem(self) -> str:
        if self._ports:
            return ""
        return self._problem or "no network interface can do multicast"

    def sightings(self) -> AbstractContextManager[AsyncIterator[Sighting | Gap]]:
        present = [heard for port in self._ports.values() for heard in port.machine.present()]
        return self._hub.listen([self._sighting(heard) for heard in present])

    async def find_peer(self, peer: PeerId, *, deadline: float) -> tuple[Multiaddr, ...]:
        await trio.lowlevel.checkpoint()
        for port in self._ports.values():
            found = port.machine.addresses_of(peer)
            if found:
                return found
        return ()

    async def provide(self, key: bytes, *, deadline: float) -> int:
        """Answer from now on who asks for it. Raises LimitExceeded past 1,000 contents."""
        await trio.lowlevel.checkpoint()
        label = content_label(key)
        if label not in self._contents and len(self._contents) >= MAX_CONTENTS:
            raise LimitExceeded(f"at most {MAX_CONTENTS} contents are announced on a LAN")
        self._contents[label] = None
        return 0

    def withdraw(self, key: bytes) -> None:
        self._contents.pop(content_label(key), None)

    async def find_providers(self, key: bytes, *, deadline: float) -> tuple[Sighting, ...]:
        label, found, lookup = content_label(key), dict[PeerId, Heard](), object()
        self._lookups[lookup] = label, found
        try:
            for port in tuple(self._ports.values()):
                await self._send(port, content_query(self._config.service, label))
            with trio.move_on_at(min(deadline, within(CONTENT_WAIT_S))):
                await trio.sleep_forever()
        finally:
            del self._lookups[lookup]
        return tuple(map(self._sighting, found.values()))

    async def check(self) -> None:
        await trio.lowlevel.checkpoint()
        if trio.current_time() - self._looked_at > _ASLEEP_S:
            raise TransportError("it looks at the network interfaces no more")
        if any(port.socket.fileno() < 0 for port in self._ports.values()):
            raise TransportError("a multicast socket is closed")

    # --- interfaces ------------------------------------------------------------------------------

    async def watch(self, nursery: trio.Nursery) -> None:
        """Follow the interfaces as they come and go, and our own addresses as they change."""
        before = self._addresses()
        while True:
            present = set(_interfaces(self._config))
            for interface in present - self._ports.keys():
                self._open(interface, nursery)
            for interface in self._ports.keys() - present:
                self._close(interface)
            addresses = self._addresses()
            if addresses != before:
                before = addresses
                for port in self._ports.values():
                    port.machine.announce_soon(trio.current_time())
                    port.wake.set()
            self._looked_at = trio.current_time()
            self.looked.set()
            await trio.sleep(_LOOK_INTERVAL_S)

    def _open(self, interface: Interface, nursery: trio.Nursery) -> None:
        try:
            sock = _multicast_socket(interface, self._config)
        except OSError as exc:
            self._problem = f"{interface.name}: {exc.strerror or exc}"
            return
        full = f"{self._name}.{self._config.service}"
        now = trio.current_time()
        machine = Machine(self._config, full, self._peer, interface.scope, now, self._contents)
        port = self._ports[interface] = _Port(interface, sock, machine)
        nursery.start_soon(self._listen, port)
        nursery.start_soon(self._speak, port)

    def _close(self, interface: Interface) -> None:
        port = self._ports.pop(interface, None)
        if port is not None:
            port.socket.close()
            port.wake.set()

    def close(self) -> None:
        """Close every socket."""
        for interface in tuple(self._ports):
            self._close(interface)

    # --- talking ---------------------------------------------------------------------------------

    async def _listen(self, port: _Port) -> None:
        while self._ports.get(port.interface) is port:
            try:
                packet, sender = await port.socket.recvfrom(MAX_RECEIVE_BYTES + 1)
            except (OSError, trio.ClosedResourceError) as exc:
                self._problem = f"{port.interface.name}: {exc}"
                self._close(port.interface)
                return
            now = trio.current_time()
            if not port.machine.may_read(now) or not _is_near(sender[0], port.interface):
                continue
            try:
                self._receive(port, packet, now)
            except RemoteProtocolError as exc:
                port.machine.dropped += 1
                _LOG.debug("mdns_dropped interface=%s reason=%s", port.interface.name, exc)

    def _receive(self, port: _Port, packet: bytes, now: float) -> None:
        told = parse(packet, self._config.service)
        if isinstance(told, Query):
            port.machine.receive_query(told, now, self._random.random())
        else:
            for one in told:
                if one.label:
                    self._receive_provider(port, one, now)
                elif (news := port.machine.receive_announcement(one, now)) is not None:
                    self._hub.publish(self._sighting(news))
        port.wake.set()

    def _receive_provider(self, port: _Port, told: Announcement, now: float) -> None:
        asking = [found for label, found in self._lookups.values() if label == told.label]
        heard = port.machine.receive_provider(told, now) if asking else None
        for found in asking:
            if heard is not None and len(found) < MAX_PROVIDERS:
                found.setdefault(heard.peer, heard)

    def _sighting(self, heard: Heard) -> Sighting:
        return Sighting(heard.peer, heard.addresses, self.source, heard.expires_at)

    async def _speak(self, port: _Port) -> None:
        while self._ports.get(port.interface) is port:
            port.wake = trio.Event()
            with trio.move_on_at(port.machine.next_deadline()):
                await port.wake.wait()
            now = trio.current_time()
            port.machine.expire(now)
            known = port.machine.query_due(now)
            if known is not None:
                await self._send(port, query(self._config.service, known))
            if port.machine.answer_due(now):
                await self._announce(port, TTL_S)
            label = port.machine.content_due(now)
            if label is not None:
                await self._announce(port, TTL_S, label)

    async def _announce(self, port: _Port, ttl_s: int, label: str = "") -> None:
        addresses = self._advertised(port.interface)
        if addresses:
            packet = announcement(
                self._config.service, self._name, addresses, port.interface.ip, ttl_s, label
            )
            await self._send(port, packet)

    def _advertised(self, interface: Interface) -> tuple[Multiaddr, ...]:
        """Private addresses on a LAN, loopback on loopback: nothing that is of no use there."""
        wanted = (Scope.LOOPBACK,) if interface.scope is Scope.LOOPBACK else (Scope.LAN, Scope.LINK)
        return tuple(a for a in self._addresses() if scope_of(a) in wanted)

    async def _send(self, port: _Port, packet: bytes) -> None:
        group = self._config.group4 if port.interface.ip.version == 4 else self._config.group6
        target = (group, self._config.port)
        if port.interface.ip.version == 6:
            target = (*target, 0, port.interface.index)  # type: ignore[assignment]
        try:
            await port.socket.sendto(packet, target)
        except (OSError, trio.ClosedResourceError) as exc:
            self._problem = f"{port.interface.name}: {exc}"
            self._close(port.interface)

    async def say_goodbye(self) -> None:
        """Tell everybody that we leave (TTL 0)."""
        for port in tuple(self._ports.values()):
            await self._announce(port, 0)


def _interfaces(config: MdnsConfig) -> list[Interface]:
    """Every address that multicast can be tried on."""
    stats = psutil.net_if_stats()
    indices = {name: index for index, name in socket.if_nameindex()}
    found = []
    for name, entries in psutil.net_if_addrs().items():
        wanted = not config.interfaces or name in config.interfaces
        if not wanted or name not in indices or not (name in stats and stats[name].isup):
            continue
        for entry in entries:
            usable = entry.family == socket.AF_INET or (
                config.ipv6 and entry.family == socket.AF_INET6
            )
            if usable:
                ip = ipaddress.ip_address(entry.address.split("%")[0])
                if ip.version == 4 or ip.is_link_local:
                    found.append(Interface(name, indices[name], ip))
    return found


def _multicast_socket(interface: Interface, config: MdnsConfig) -> trio.socket.SocketType:
    """A socket that shares the port, joined to the group on this interface. Raises OSError."""
    version4 = interface.ip.version == 4
    family = socket.AF_INET if version4 else socket.AF_INET6
    sock = trio.socket.from_stdlib_socket(socket.socket(family, socket.SOCK_DGRAM))
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if version4:
            _join4(sock, interface, config)
        else:
            _join6(sock, interface, config)
    except OSError:
        sock.close()
        raise
    return sock


def _join4(sock: trio.socket.SocketType, interface: Interface, config: MdnsConfig) -> None:
    own = interface.ip.packed
    group = socket.inet_aton(config.group4)
    # Bound to the group: unicast and other groups' packets never reach us.
    _bind(sock, (config.group4, config.port))
    member = group + own
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)


def _join6(sock: trio.socket.SocketType, interface: Interface, config: MdnsConfig) -> None:
    index = struct.pack("=I", interface.index)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    _bind(sock, (config.group6, config.port, 0, interface.index))
    group = socket.inet_pton(socket.AF_INET6, config.group6)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + index)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)


def _bind(sock: trio.socket.SocketType, address: tuple[object, ...]) -> None:
    # Numeric addresses: nothing is looked up, so nothing blocks.
    sock._sock.bind(address)  # type: ignore[attr-defined]


def _is_near(sender: str, interface: Interface) -> bool:
    """Whether a packet can come from this link: mDNS does not cross routers (RFC 6762 sec. 11)."""
    ip = ipaddress.ip_address(sender.split("%")[0])
    if interface.scope is Scope.LOOPBACK:
        return ip.is_loopback
    return ip.is_private or ip.is_link_local
