"""From a configuration and a directory to a running peer on real sockets."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from fogp2p import __version__
from fogp2p.addresses import Multiaddr, parse_address
from fogp2p.backup import check_restored
from fogp2p.config import Config, load_config
from fogp2p.environment import Environment, real_environment
from fogp2p.host import Discovery, Host
from fogp2p.identity import Identity, Keystore, ephemeral
from fogp2p.paths import Paths, home_paths
from fogp2p.process import hold
from fogp2p.protocols.kad import KadConfig, open_kad
from fogp2p.transports.libp2p import Libp2pConfig, open_host
from fogp2p.transports.mdns import MdnsConfig, open_mdns
from fogp2p.transports.peerbook import Bootstrap, open_known_peers

from .leftovers import remove_leftovers
from .node import Node, open_node
from .parts import Way

__all__ = ["open_peer"]


@asynccontextmanager
async def open_peer(
    home: Path | Paths | str | None = None,
    *,
    config: Config | None = None,
    passphrase: str | None = None,
    environment: Environment | None = None,
) -> AsyncIterator[Node]:
    """Run a peer on this machine's network while the context lasts.

    `home`: the directory that keeps its keys and what it learns; made if need be, held by one
    process at a time. None: a peer without files, with new keys each time. `config`: None reads
    `<home>/config.toml` and the variables `FOGP2P_<SECTION>__<KEY>`. `passphrase` opens (or, for a
    new peer, protects) the keys.

    Raises ConfigError (also for a port in use), KeystoreError, DiskError, and LockedError when
    another process runs on the same directory.
    """
    environment = environment if environment is not None else real_environment()
    paths = home_paths(Path(home)) if isinstance(home, (str, Path)) else home
    if config is None:
        file = paths.config if paths is not None else None
        config = load_config(file, disk=environment.disk, environ=os.environ).config
    async with AsyncExitStack() as stack:
        encrypted: bool | None = None
        if paths is None:
            identity = ephemeral(environment.random)
        else:
            stack.enter_context(hold(paths.lock))
            check_restored(paths)
            await environment.executor.in_thread(remove_leftovers, paths, environment.disk)
            identity = await environment.executor.in_thread(
                _identity, paths, environment, passphrase
            )
            encrypted = passphrase is not None
        node = await stack.enter_async_context(
            open_node(
                _Listening(identity, config, environment).open,
                identity,
                config,
                environment,
                discoveries=_ways(identity, config, environment, paths),
                key_encrypted=encrypted,
                paths=paths,
            )
        )
        yield node


def _identity(paths: Paths, environment: Environment, passphrase: str | None) -> Identity:
    keystore = Keystore(paths.keystore, environment)
    if keystore.exists():
        return keystore.load(passphrase=passphrase)
    return keystore.create(passphrase=passphrase)


class _Listening:
    """Opens the host, after a failure on the ports it had before: others know those."""

    def __init__(self, identity: Identity, config: Config, environment: Environment) -> None:
        self._identity = identity
        self._environment = environment
        self._settings = Libp2pConfig(
            listen=tuple(parse_address(address) for address in config.network.listen),
            agent=f"fogp2p/{__version__}",
            inbound_connections=config.network.max_inbound,
        )
        self._before: tuple[Multiaddr, ...] = ()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Host]:
        settings = replace(self._settings, listen=self._before or self._settings.listen)
        self._before = ()  # if it is taken meanwhile, the next try takes what is configured
        async with open_host(self._identity, settings, self._environment) as host:
            self._before = host.listening
            yield host


def _ways(
    identity: Identity, config: Config, environment: Environment, paths: Paths | None
) -> list[Way | Discovery]:
    """The ways of finding peers that the configuration asks for. Raises ConfigError."""
    wanted = config.discovery
    found: list[Way | Discovery] = []
    if wanted.bootstrap:
        found.append(Bootstrap([parse_address(address) for address in wanted.bootstrap]))
    if wanted.known_peers and paths is not None:
        found.append(Way("known", lambda _: open_known_peers(paths.known_peers, environment)))
    if wanted.mdns:
        service = wanted.mdns_service
        settings = MdnsConfig(
            service=service if service.endswith(".") else f"{service}.",
            port=wanted.mdns_port,
            interfaces=wanted.mdns_interfaces,
        )

        def mdns(host: Callable[[], Host]) -> AbstractAsyncContextManager[Discovery]:
            here = host()
            return open_mdns(identity.peer_id, lambda: here.addresses, settings, environment)

        found.append(Way("mdns", mdns, needs_host=True))
    if wanted.dht != "off":
        kad = KadConfig(serve=wanted.dht == "server")
        found.append(Way("dht", lambda host: open_kad(host(), environment, kad), needs_host=True))
    return found
