"""The parts of a peer as services: what each stands on, and what becomes of the peer without it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import trio

from fogp2p import __version__
from fogp2p.config import Config, parse_versions
from fogp2p.environment import Environment, within
from fogp2p.host import Discovery, Handler, Host
from fogp2p.identity import Identity
from fogp2p.ids import ProtocolId, Version
from fogp2p.paths import Paths
from fogp2p.protocols import echo, ping
from fogp2p.protocols.gossip import Gossip, open_gossip
from fogp2p.protocols.versioning import Catalogue, Offer, Release, Versioning, open_versioning
from fogp2p.supervisor import Group, Probe, Service, Supervisor, fixed, running
from fogp2p.tasks import open_tasks

from .connector import Connector
from .settings import PROVIDE_AGAIN_S
from .topics import Topics
from .watcher import Watcher
from .ways import Ways

__all__ = ["DISCOVERY", "GROUPS", "HostOpener", "Parts", "Way"]

DISCOVERY: Final = "discovery"
# Without the network a peer is none; without the others it is a poorer one.
GROUPS: Final = (
    Group("network", essential=True),
    Group("protocols"),
    Group(DISCOVERY),
    Group("rooms"),
)

# Protocols of the rooms (see `rooms`), each in its first version. What a peer does not serve at the
# moment, such as a group log without a store, it refuses when asked.
_ROOM_PROTOCOLS: Final = ("fog/blob", "fog/invite", "fog/log", "fog/registry")

HostOpener = Callable[[], AbstractAsyncContextManager[Host]]
"""Opens the host, and opens it again after a failure."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way of finding peers as a service. `name` is the `source` of the discovery it opens.

    `open` gets what returns the host; it may call that only with `needs_host`.
    """

    name: str
    open: Callable[[Callable[[], Host]], AbstractAsyncContextManager[Discovery]]
    needs_host: bool = False


class Parts:
    """What the services of one node share. It outlives each of them."""

    def __init__(
        self,
        supervisor: Supervisor,
        identity: Identity,
        config: Config,
        environment: Environment,
        paths: Paths | None,
    ) -> None:
        self.supervisor = supervisor
        self.identity = identity
        self.config = config
        self.environment = environment
        self._paths = paths
        self.ways = Ways(supervisor, DISCOVERY)
        self.echo_versions = _echo_versions(config)
        self.counters = echo.Counters()
        self.connector = Connector(
            identity.peer_id, config.network.target_peers, environment.random
        )
        self.topics = Topics(supervisor)
        self._versioned: Host | None = None
        self.handlers: dict[ProtocolId, Handler] = {}
        """What programs serve; put on each new host."""

    def host(self) -> Host:
        """Raises ServiceDown."""
        host: Host = self.supervisor.value("host")
        return host

    def services(
        self, host: Host | HostOpener, watcher: Watcher, discoveries: Sequence[Discovery | Way]
    ) -> list[Service]:
        """All parts, in an order of starting."""
        ways = [each if isinstance(each, Way) else _way(each) for each in discoveries]
        found = tuple(way.name for way in ways)
        needs_host = ("host",)
        return [
            Service(
                "host",
                fixed(host) if isinstance(host, Host) else host,
                "network",
                essential=True,
                probe=_PROBE,
            ),
            Service("versioning", self._versioning, "network", needs_host, essential=True),
            Service("ping", self._ping, "protocols", needs_host),
            # Fog protocols are not served before the gate stands.
            Service("echo", self._echo, "protocols", ("versioning",)),
            Service("gossip", self._gossip, "protocols", needs_host, ("versioning",)),
            Service("handlers", self._handlers, "protocols", needs_host, ("versioning",)),
            Service(
                "watcher",
                running(lambda **more: watcher.run(self.host(), self._versions(), **more)),
                "network",
                ("versioning",),
                essential=True,
            ),
            *(self._discovery(way) for way in ways),
            Service(
                "connector",
                running(lambda **more: self.connector.run(self.host(), **more)),
                "network",
                needs_host,
                ("watcher", *found),
                essential=True,
            ),
        ]

    def _versions(self) -> Versioning:
        versioning: Versioning = self.supervisor.value("versioning")
        return versioning

    @asynccontextmanager
    async def _versioning(self) -> AsyncIterator[Versioning]:
        host = self.host()
        if self._versioned is host:
            # Versions are agreed once for each connection, and nobody knows any more which.
            async with trio.open_nursery() as nursery:
                for peer in host.peers():
                    nursery.start_soon(host.disconnect, peer)
        self._versioned = host
        releases = tuple(Release(version) for version in self.echo_versions)
        offers = {name: Offer((Release(Version(1, 0)),)) for name in _ROOM_PROTOCOLS}
        catalogue = Catalogue(f"fogp2p/{__version__}", {echo.NAME: Offer(releases), **offers})
        async with open_versioning(host, self.identity, catalogue, self.environment) as versioning:
            yield versioning

    @asynccontextmanager
    async def _ping(self) -> AsyncIterator[None]:
        host = self.host()
        ping.install(host)
        try:
            yield
        finally:
            ping.remove(host)

    @asynccontextmanager
    async def _echo(self) -> AsyncIterator[None]:
        host = self.host()
        echo.install(host, self.echo_versions, self.counters)
        try:
            yield
        finally:
            echo.remove(host, self.echo_versions)

    @asynccontextmanager
    async def _gossip(self) -> AsyncIterator[Gossip]:
        async with (
            open_gossip(
                self.host(),
                self.identity,
                self.environment,
                numbers=self._paths.gossip_numbers if self._paths is not None else None,
            ) as gossip,
            self.topics.on(gossip),
        ):
            yield gossip

    @asynccontextmanager
    async def _handlers(self) -> AsyncIterator[Host]:
        host = self.host()
        try:
            for protocol, handler in self.handlers.items():
                host.set_handler(protocol, handler)
            yield host
        finally:
            for protocol in self.handlers:
                host.remove_handler(protocol)

    def _discovery(self, way: Way) -> Service:
        @asynccontextmanager
        async def found() -> AsyncIterator[Discovery]:
            async with way.open(self.host) as discovery, open_tasks() as nursery:
                nursery.start_soon(self.connector.listen, discovery, self.ways.saw)
                for key in self.ways.provided:
                    nursery.start_soon(_provide, discovery, key)
                try:
                    yield discovery
                finally:
                    nursery.cancel_scope.cancel()

        needs = ("host",) if way.needs_host else ()
        return Service(way.name, found, DISCOVERY, needs, probe=_PROBE)


async def _check(part: Host | Discovery) -> None:
    await part.check()


_PROBE: Final = Probe(_check)


def _echo_versions(config: Config) -> tuple[Version, ...]:
    """The versions of echo that the configuration asks for and this program has."""
    low, high = parse_versions(config.protocols.echo)
    return tuple(version for version in echo.OFFER_1_1 if low <= version <= high)


def _way(discovery: Discovery) -> Way:
    def there_already(_: Callable[[], Host]) -> AbstractAsyncContextManager[Discovery]:
        return fixed(discovery)()

    return Way(discovery.source, there_already)


async def _provide(discovery: Discovery, key: bytes) -> None:
    await discovery.provide(key, deadline=within(PROVIDE_AGAIN_S))
