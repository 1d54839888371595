"""A peer that speaks the wire and then breaks its rules."""

from __future__ import annotations

import gc
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
import trio

from fogp2p.addresses import Multiaddr
from fogp2p.conformance import wire
from fogp2p.environment import real_environment, within
from fogp2p.errors import StreamReset
from fogp2p.host import Host, Stream
from fogp2p.identity import Identity, ephemeral
from fogp2p.ids import ProtocolId
from fogp2p.transports.libp2p import Libp2pConfig, open_host
from fogp2p.transports.libp2p.host import LibP2PHost

ECHO = ProtocolId("/test/echo/1.0.0")
SINK = ProtocolId("/test/sink/1.0.0")
SOURCE = ProtocolId("/test/source/1.0.0")


def endpoint(host: Host) -> tuple[str, int]:
    """Where `host` listens."""
    parts = {protocol.name: value for protocol, value in host.addresses[0].items()}
    return str(parts["ip4"]), int(str(parts["tcp"]))


# What the attackers of one test opened, closed after it.
_SOCKETS: list[trio.SocketStream] = []


async def raw_socket(host: Host) -> trio.SocketStream:
    """A TCP connection that has said nothing."""
    socket = await wire.open_socket(endpoint(host))
    _SOCKETS.append(socket)
    return socket


async def raw_dial(host: Host, identity: Identity | None = None) -> wire.RawPeer:
    """Come in as a proven peer."""
    identity = identity or ephemeral(random.SystemRandom())
    peer = await wire.raw_dial(endpoint(host), host.peer_id, identity)
    _SOCKETS.append(peer.socket)
    return peer


async def _echo(stream: Stream) -> None:
    while data := await stream.read_some():
        await stream.write_all(data)


async def _sink(stream: Stream) -> None:
    await trio.sleep_forever()


async def _source(stream: Stream) -> None:
    while True:
        await stream.write_all(bytes(65536))


@asynccontextmanager
async def open_target(config: Libp2pConfig | None = None) -> AsyncIterator[LibP2PHost]:
    """A host with three handlers, to be attacked."""
    identity = ephemeral(random.SystemRandom())
    async with open_host(identity, config or Libp2pConfig(), real_environment()) as host:
        for protocol, handler in ((ECHO, _echo), (SINK, _sink), (SOURCE, _source)):
            host.set_handler(protocol, handler)
        yield host


async def honest_echo(host: LibP2PHost, addresses: tuple[Multiaddr, ...] = ()) -> float:
    """Another peer comes, gets an echo, and goes; seconds it took."""
    start = trio.current_time()
    identity = ephemeral(random.SystemRandom())
    async with open_host(identity, Libp2pConfig(), real_environment()) as friend:
        await friend.connect(host.peer_id, host.addresses, deadline=within(10))
        stream = await friend.open_stream(host.peer_id, [ECHO], deadline=within(10))
        async with stream:
            await stream.write_all(b"still there?")
            got = b""
            while len(got) < 12:
                part = await stream.read_some()
                if not part:
                    raise StreamReset("no echo")
                got += part
        assert got == b"still there?"
        took = trio.current_time() - start
    return took


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Wait for something that no event tells."""
    with trio.fail_after(timeout_s):
        while not condition():
            await trio.lowlevel.checkpoint()
            await trio.sleep(0.005)


class Tools:
    """What the tests of this directory share (tests are no package)."""

    DATA, WINDOW, PING, GO_AWAY = wire.DATA, wire.WINDOW, wire.PING, wire.GO_AWAY
    SYN, ACK, FIN, RST = wire.SYN, wire.ACK, wire.FIN, wire.RST
    ECHO, SINK, SOURCE = ECHO, SINK, SOURCE
    frame = staticmethod(wire.frame)
    line = staticmethod(wire.line)
    endpoint = staticmethod(endpoint)
    raw_socket = staticmethod(raw_socket)
    raw_dial = staticmethod(raw_dial)
    open_target = staticmethod(open_target)
    honest_echo = staticmethod(honest_echo)
    until = staticmethod(until)


@pytest.fixture
async def tools() -> AsyncIterator[type[Tools]]:
    """The attacker's tools."""
    yield Tools
    while _SOCKETS:
        _SOCKETS.pop().socket.close()


def pytest_collection_finish() -> None:
    """Garbage is looked for among what tests make, not among all tests and modules each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _what_the_stock_library_leaves(request: pytest.FixtureRequest) -> Iterator[None]:
    """It does not close all its sockets: find them now, where their warnings are ignored."""
    yield
    if request.node.get_closest_marker("stock") is not None:
        gc.collect()
