"""From a configuration and a directory to a running peer on real sockets."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from fogp2p import __version__
from fogp2p.addresses import parse_address
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

from .node import Node, open_node

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
            identity = await environment.executor.in_thread(
                _identity, paths, environment, passphrase
            )
            encrypted = passphrase is not None
        settings = Libp2pConfig(
            listen=tuple(parse_address(address) for address in config.network.listen),
            agent=f"fogp2p/{__version__}",
            inbound_connections=config.network.max_inbound,
        )
        host = await stack.enter_async_context(open_host(identity, settings, environment))
        discoveries = await _discoveries(stack, host, config, environment, paths)
        node = await stack.enter_async_context(
            open_node(
                host,
                identity,
                config,
                environment,
                discoveries=discoveries,
                key_encrypted=encrypted,
            )
        )
        yield node


def _identity(paths: Paths, environment: Environment, passphrase: str | None) -> Identity:
    keystore = Keystore(paths.keystore, environment)
    if keystore.exists():
        return keystore.load(passphrase=passphrase)
    return keystore.create(passphrase=passphrase)


async def _discoveries(
    stack: AsyncExitStack,
    host: Host,
    config: Config,
    environment: Environment,
    paths: Paths | None,
) -> list[Discovery]:
    """The ways of finding peers that the configuration asks for."""
    wanted = config.discovery
    found: list[Discovery] = []
    if wanted.bootstrap:
        found.append(Bootstrap([parse_address(address) for address in wanted.bootstrap]))
    if wanted.known_peers and paths is not None:
        known = open_known_peers(paths.known_peers, environment)
        found.append(await stack.enter_async_context(known))
    if wanted.mdns:
        service = wanted.mdns_service
        settings = MdnsConfig(
            service=service if service.endswith(".") else f"{service}.",
            port=wanted.mdns_port,
            interfaces=wanted.mdns_interfaces,
        )
        mdns = open_mdns(host.peer_id, lambda: host.addresses, settings, environment)
        found.append(await stack.enter_async_context(mdns))
    if wanted.dht != "off":
        kad = open_kad(host, environment, KadConfig(serve=wanted.dht == "server"))
        found.append(await stack.enter_async_context(kad))
    return found
