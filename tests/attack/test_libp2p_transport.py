"""Attacks on the libp2p host around the wire: connections, handlers, addresses, liveness."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from libp2p.identity.identify.pb import identify_pb2

from fogp2p.addresses import Scope, parse_address
from fogp2p.environment import real_environment, within
from fogp2p.errors import FogError, LimitExceeded, StreamReset, TransportError
from fogp2p.host import Connected, Disconnected, InboundRefused, Stream
from fogp2p.identity import ephemeral
from fogp2p.ids import PeerId, ProtocolId
from fogp2p.limits import ADDRESSES_PER_PEER, KNOWN_PEERS, PING_INTERVAL_S, PING_TIMEOUT_S
from fogp2p.transports.libp2p import Libp2pConfig, identify, open_host
from fogp2p.transports.libp2p.book import AddressBook

ADA = PeerId.from_ed25519(bytes(32))


@pytest.mark.attack(1)
@pytest.mark.parametrize(
    "names",
    [["/plaintext/2.0.0"], ["/secio/1.0.0"], ["/tls/1.0.0"], ["/plaintext/2.0.0", "/secio/1.0.0"]],
)
async def test_noise_only(tools, names: list[str]) -> None:
    """P4: nothing but Noise is agreed to, and a claimed id is never listed."""
    async with tools.open_target() as host:
        with host.events() as events:
            socket = await tools.raw_socket(host)
            claim = ADA.key_protobuf or b""
            await socket.send_all(
                tools.line("/multistream/1.0.0") + b"".join(map(tools.line, names))
            )
            heard = b""
            with trio.fail_after(5):
                while heard.count(b"na\n") < len(names):
                    heard += await socket.receive_some(1_000)
            assert not any(name.encode() in heard for name in names)
            await socket.send_all(bytes([len(claim)]) + claim)
            await socket.aclose()
            await tools.honest_echo(host)
            seen = await anext(aiter(events))
            assert isinstance(seen, Connected) and seen.connection.peer != ADA
            assert host.known_addresses(ADA) == ()


@pytest.mark.attack(5)
async def test_halfopen(tools) -> None:
    """P9: 500 connections that say nothing do not keep an honest peer out."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4_096), hard))
    try:
        async with tools.open_target() as host:
            silent = []
            for _ in range(500):
                silent.append(await tools.raw_socket(host))
            await tools.honest_echo(host)
            config = Libp2pConfig()
            assert host._inbound.handshakes <= config.inbound_handshakes
            assert host._inbound.total <= config.inbound_connections + config.inbound_handshakes
            for socket in silent:
                await trio.aclose_forcefully(socket)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.attack(7)
async def test_churn(tools) -> None:
    """P1: connections that come and go leave nothing behind."""
    async with tools.open_target() as host:
        await tools.honest_echo(host)
        await tools.until(lambda: host.peers() == () and host._inbound.total == 0)
        before = len(host._nursery.child_tasks)
        identity = ephemeral(random.SystemRandom())
        async with open_host(identity, Libp2pConfig(), real_environment()) as guest:
            for _ in range(300):
                await guest.connect(host.peer_id, host.addresses, deadline=within(10))
                await guest.disconnect(host.peer_id)
            await tools.until(lambda: host.peers() == () and host._inbound.total == 0)
            await tools.until(lambda: len(host._nursery.child_tasks) <= before)
            assert host._inbound_streams == 0 and len(guest._nursery.child_tasks) <= before


@pytest.mark.attack(8)
async def test_subnet_limit(tools) -> None:
    """Connections of one address are counted and their rate is limited; loopback only if asked."""
    strict = Libp2pConfig(exempt_loopback=False, connections_per_ip=3, connection_burst_per_ip=5)
    async with tools.open_target(strict) as host:
        with host.events() as events:
            reasons = []
            sockets = [await tools.raw_socket(host) for _ in range(5)]
            for _ in range(2):
                refused = await anext(aiter(events))
                assert isinstance(refused, InboundRefused)
                reasons.append(refused.reason)
            for socket in sockets:
                await trio.aclose_forcefully(socket)
            await tools.until(lambda: host._inbound.total == 0)
            for _ in range(4):
                await trio.aclose_forcefully(await tools.raw_socket(host))
                await tools.until(lambda: host._inbound.total == 0)
            refused = await anext(aiter(events))
            assert isinstance(refused, InboundRefused)
            reasons.append(refused.reason)
    assert reasons == ["too-many-from-address"] * 2 + ["too-fast-from-address"]


def _group() -> BaseException:
    return ExceptionGroup("several", [ValueError(1), ExceptionGroup("more", [KeyError(2)])])


ERRORS: list[Callable[[], BaseException]] = [
    ValueError,
    KeyError,
    _group,
    AssertionError,
    RecursionError,
    MemoryError,
    OSError,
    trio.BrokenResourceError,
    trio.TooSlowError,
    lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"),
    lambda: StreamReset("x"),
    lambda: ExceptionGroup("ours", [LimitExceeded("x"), StreamReset("y")]),
]


@pytest.mark.attack(16)
@pytest.mark.parametrize("make", ERRORS)
async def test_handler_raise(tools, make: Callable[[], BaseException]) -> None:
    """P2: whatever a handler raises resets its own stream; other streams go on."""
    bad = ProtocolId("/test/bad/1.0.0")

    async def fail(stream: Stream) -> None:
        await stream.read_some()
        raise make()

    async with tools.open_target() as host:
        host.set_handler(bad, fail)
        identity = ephemeral(random.SystemRandom())
        async with open_host(identity, Libp2pConfig(), real_environment()) as guest:
            await guest.connect(host.peer_id, host.addresses, deadline=within(10))
            good = await guest.open_stream(host.peer_id, [tools.ECHO], deadline=within(5))
            await good.write_all(b"one")
            assert await good.read_some() == b"one"
            stream = await guest.open_stream(host.peer_id, [bad], deadline=within(5))
            await stream.write_all(b"boom")
            with pytest.raises(StreamReset):
                await stream.read_some()
            await good.write_all(b"two")
            assert await good.read_some() == b"two"
            await good.aclose()


@pytest.mark.attack(17)
def test_peerstore_flood() -> None:
    """CVE-2023-40583, F9: addresses of invented peers push out older ones, never memory."""
    book = AddressBook()
    addresses = [parse_address(f"/ip4/10.0.0.{n}/tcp/1") for n in range(50)]
    for n in range(KNOWN_PEERS + 2_000):
        book.add(PeerId.from_ed25519(n.to_bytes(32)), addresses if n % 100 == 0 else addresses[:1])
    assert len(book) == KNOWN_PEERS
    last = PeerId.from_ed25519((KNOWN_PEERS + 1_900).to_bytes(32))
    assert len(book.get(last)) == ADDRESSES_PER_PEER
    assert book.get(PeerId.from_ed25519(bytes(32))) == ()


@pytest.mark.attack(18)
def test_identify_abuse_is_cut_to_size() -> None:
    message = identify_pb2.Identify(
        agent_version="\x1b[2J" + "a" * 5_000,
        protocols=[f"/p/{n}" for n in range(3_000)] + ["no slash", "/\x00"],
        listen_addrs=[
            parse_address(f"/ip4/8.8.{n % 250}.1/tcp/{n}").to_bytes() for n in range(900)
        ],
    )
    told = identify.decode(ADA, message.SerializeToString(), Scope.PUBLIC)
    assert len(told.agent) == 64 and "\x1b" not in told.agent
    assert len(told.protocols) == 128 and len(told.addresses) == ADDRESSES_PER_PEER
    for wrong in (b"\xff" * 100, bytes(identify.MAX_BYTES + 1)):
        with pytest.raises(FogError):
            identify.decode(ADA, wrong, Scope.PUBLIC)


@pytest.mark.attack(18)
def test_identify_text_that_is_not_utf8_is_replaced() -> None:
    """Found by fuzzing: protobuf hands out such text as bytes."""
    agent, protocol = b"\x32\x03a\xffb", b"\x1a\x03/\xff1"
    good = b"\x1a\x04/a/1"
    told = identify.decode(ADA, agent + protocol + good, Scope.PUBLIC)
    assert told.agent == "a\ufffdb" and told.protocols == ("/a/1",)


@pytest.mark.attack(18)
async def test_identify_push_flood(tools) -> None:
    """News within 30 s are dropped, and their stream with them."""
    async with tools.open_target() as host:
        identity = ephemeral(random.SystemRandom())
        async with open_host(identity, Libp2pConfig(), real_environment()) as guest:
            await guest.connect(host.peer_id, host.addresses, deadline=within(10))
            refused = 0
            for n in range(5):
                address = parse_address(f"/ip4/127.0.0.1/tcp/{5_000 + n}")
                news = identify.encode(guest.peer_id, "x", [], [address], None)
                try:
                    stream = await guest.open_stream(
                        host.peer_id, [identify.PUSH], deadline=within(5)
                    )
                    await stream.write_all(identify.frame(news))
                    await stream.close_write()
                    while await stream.read_some():
                        pass
                except TransportError:
                    refused += 1
            assert refused == 4
            known = [str(address) for address in host.known_addresses(guest.peer_id)]
            assert "/ip4/127.0.0.1/tcp/5000" in known
            assert "/ip4/127.0.0.1/tcp/5001" not in known


@pytest.mark.attack(19)
@pytest.mark.parametrize(
    ("source", "kept"),
    [
        (Scope.PUBLIC, ["/ip4/8.8.8.8/tcp/1"]),
        (Scope.LAN, ["/ip4/8.8.8.8/tcp/1", "/ip4/192.168.1.1/tcp/80"]),
        (
            Scope.LOOPBACK,
            ["/ip4/8.8.8.8/tcp/1", "/ip4/192.168.1.1/tcp/80", "/ip4/127.0.0.1/tcp/22"],
        ),
    ],
)
def test_addr_ssrf(source: Scope, kept: list[str]) -> None:
    """A stranger cannot aim us at our own machine or our home network."""
    named = [
        "/ip4/8.8.8.8/tcp/1",
        "/ip4/192.168.1.1/tcp/80",
        "/ip4/127.0.0.1/tcp/22",
        "/ip4/0.0.0.0/tcp/1",
        "/ip4/224.0.0.1/tcp/1",
        "/ip4/255.255.255.255/tcp/1",
    ]
    message = identify_pb2.Identify(listen_addrs=[parse_address(a).to_bytes() for a in named])
    told = identify.decode(ADA, message.SerializeToString(), source)
    assert [str(address) for address in told.addresses] == kept


@pytest.mark.attack(20)
async def test_freeze(tmp_path: Path) -> None:
    """P10: a stopped process is noticed by its silence."""
    assert PING_INTERVAL_S + PING_TIMEOUT_S <= 15
    line = [sys.executable, "-m", "fogp2p", "--home", str(tmp_path), "up"]
    line += ["--set", "network.listen=/ip4/127.0.0.1/tcp/0", "--set", "discovery.mdns=false"]
    read_end, write_end = os.pipe()
    line += ["--ready-fd", str(write_end)]
    child = await trio.lowlevel.open_process(line, pass_fds=(write_end,), stderr=subprocess.DEVNULL)
    os.close(write_end)
    try:
        with os.fdopen(read_end) as pipe:
            assert await trio.to_thread.run_sync(pipe.readline)
        said = await trio.run_process(
            [sys.executable, "-m", "fogp2p", "--home", str(tmp_path), "id"], capture_stdout=True
        )
        name, where = said.stdout.decode().split()[:2]
        address, peer = parse_address(where), PeerId.parse(name)
        quick = Libp2pConfig(ping_interval_s=0.4, ping_timeout_s=0.4)
        async with open_host(ephemeral(random.SystemRandom()), quick, real_environment()) as host:
            with host.events() as events:
                await host.connect(peer, [address], deadline=within(10))
                child.send_signal(signal.SIGSTOP)
                start = trio.current_time()
                with trio.fail_after(10):
                    async for event in events:
                        if isinstance(event, Disconnected):
                            break
                assert event.reason == "the peer stopped answering"
                assert trio.current_time() - start < 5
    finally:
        child.kill()
        with trio.CancelScope(shield=True):
            await child.wait()
