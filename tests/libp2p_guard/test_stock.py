"""libp2p 0.8.1 as shipped still has the hazards that our host cures.

Each test asserts the safe behaviour and is expected to fail. When one passes after an upgrade, the
hazard was mended upstream: look whether our cure can go. Our halves are in tests/attack.
"""

from __future__ import annotations

import contextlib
import inspect
import random
from importlib.metadata import files
from typing import Any

import pytest
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as x25519_pair
from libp2p.peer.peerinfo import PeerInfo
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_ID
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux import yamux
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from fogp2p.environment import real_environment, within
from fogp2p.errors import TransportError
from fogp2p.identity import ephemeral
from fogp2p.ids import PeerId, ProtocolId
from fogp2p.transports.libp2p import Libp2pConfig, open_host


# What the sockets of an attacker need of a host.
class Target:
    def __init__(self, host: Any) -> None:
        self.peer_id = PeerId.parse(str(host.get_id()))
        self.addresses = [Multiaddr(str(host.get_addrs()[0]).split("/p2p/")[0])]


def make(**options: Any) -> Any:
    """A stock host with Noise alone, so that P4 is out of the way."""
    keys = create_new_key_pair()
    noise = NoiseTransport(keys, noise_privkey=x25519_pair().private_key)
    return new_host(key_pair=keys, sec_opt={NOISE_ID: noise}, listen_addrs=[LOOPBACK], **options)


pytestmark = [pytest.mark.stock, pytest.mark.filterwarnings("ignore")]
LOOPBACK = Multiaddr("/ip4/127.0.0.1/tcp/0")


@pytest.mark.xfail(strict=True, reason="P4: plaintext is offered by default")
def test_plaintext_is_not_offered() -> None:
    host = new_host(key_pair=create_new_key_pair())
    offered = [str(name) for name in host.get_network().upgrader.security_multistream.transports]
    assert not any("plaintext" in name for name in offered)


@pytest.mark.xfail(strict=True, reason="P1: 250 inbound connections in a host's whole life")
def test_inbound_connections_over_a_lifetime_are_not_limited() -> None:
    host = new_host(key_pair=create_new_key_pair())
    assert host.get_network()._inbound_limiter.total_tokens >= 1_000


@pytest.mark.xfail(strict=True, reason="P11: a heartbeat every 120 s")
def test_gossipsub_heartbeats_every_second() -> None:
    parameters = inspect.signature(GossipSub.__init__).parameters
    assert parameters["heartbeat_interval"].default <= 10


@pytest.mark.xfail(strict=True, reason="F7: frames of up to 16 MiB")
def test_a_frame_fits_a_window() -> None:
    assert yamux.MAX_WINDOW_SIZE <= 1024 * 1024


@pytest.mark.xfail(strict=True, reason="P2: an exception in a handler ends the host")
async def test_a_failing_handler_harms_its_stream_only() -> None:
    one, two = make(), make()

    async def fail(stream: object) -> None:
        raise ValueError("a bug in an application")

    two.set_stream_handler("/bad/1", fail)
    with trio.fail_after(15):
        async with one.run([LOOPBACK]), two.run([LOOPBACK]):
            await one.connect(PeerInfo(two.get_id(), two.get_addrs()))
            await one.new_stream(two.get_id(), ["/bad/1"])
            await trio.sleep(0.5)
            stream = await one.new_stream(two.get_id(), ["/ipfs/ping/1.0.0"])
            await stream.write(bytes(32))
            assert await stream.read(32) == bytes(32)


@pytest.mark.xfail(strict=True, reason="P3: bytes that are no protobuf end the host")
async def test_garbage_on_a_gossip_stream_harms_that_stream_only() -> None:
    one, two = make(), make()
    router = GossipSub(["/meshsub/1.1.0"], 6, 4, 9, heartbeat_interval=1)
    pubsub = Pubsub(two, router)
    with trio.fail_after(15):
        async with (
            one.run([LOOPBACK]),
            two.run([LOOPBACK]),
            background_trio_service(pubsub),
            background_trio_service(router),
        ):
            await pubsub.wait_until_ready()
            await one.connect(PeerInfo(two.get_id(), two.get_addrs()))
            stream = await one.new_stream(two.get_id(), ["/meshsub/1.1.0"])
            await stream.write(b"\x05abcde")
            await trio.sleep(0.5)
            again = await one.new_stream(two.get_id(), ["/ipfs/ping/1.0.0"])
            await again.write(bytes(32))
            assert await again.read(32) == bytes(32)


@pytest.mark.xfail(strict=True, reason="P5: one address of each transport is dialled")
async def test_a_dead_address_does_not_hide_a_good_one() -> None:
    one, two = make(), make()
    dead = Multiaddr("/ip4/127.0.0.1/tcp/1")
    with trio.fail_after(15):
        async with one.run([LOOPBACK]), two.run([LOOPBACK]):
            await one.connect(PeerInfo(two.get_id(), [dead, *two.get_addrs()]))


@pytest.mark.xfail(strict=True, reason="P6: a writer that waits 5 s for the reader is reset")
async def test_a_reader_may_pause() -> None:
    two, size = make(), 4 * 1024 * 1024

    async def pour(stream: Any) -> None:
        with contextlib.suppress(Exception):
            await stream.write(bytes(size))

    two.set_stream_handler("/pour/1", pour)
    keys = ephemeral(random.SystemRandom())
    async with two.run([LOOPBACK]), open_host(keys, Libp2pConfig(), real_environment()) as ours:
        target = Target(two)
        await ours.connect(target.peer_id, target.addresses, deadline=within(10))
        stream = await ours.open_stream(
            target.peer_id, [ProtocolId("/pour/1")], deadline=within(10)
        )
        got = len(await stream.read_some())
        await trio.sleep(7)
        with trio.move_on_after(5), contextlib.suppress(TransportError):
            while got < size and (data := await stream.read_some()):
                got += len(data)
        await ours.disconnect(target.peer_id)
    assert got == size


@pytest.mark.xfail(strict=True, reason="P7: the 257th stream waits for ever")
async def test_too_many_streams_are_an_error() -> None:
    one, two = make(), make()

    async def hold(stream: object) -> None:
        await trio.sleep_forever()

    two.set_stream_handler("/hold/1", hold)
    async with one.run([LOOPBACK]), two.run([LOOPBACK]):
        await one.connect(PeerInfo(two.get_id(), two.get_addrs()))
        for _ in range(256):
            with trio.fail_after(10):
                await one.new_stream(two.get_id(), ["/hold/1"])
        with trio.move_on_after(3) as scope, contextlib.suppress(Exception):
            await one.new_stream(two.get_id(), ["/hold/1"])
        hung = scope.cancelled_caught
    assert not hung


@pytest.mark.xfail(strict=True, reason="P8: 0.0.0.0 is told to others")
async def test_only_addresses_that_can_be_dialled_are_told() -> None:
    every = Multiaddr("/ip4/0.0.0.0/tcp/0")
    host = new_host(key_pair=create_new_key_pair(), listen_addrs=[every])
    async with host.run([every]):
        told = [str(address) for address in host.get_transport_addrs()]
    assert told and not any("/0.0.0.0/" in address for address in told)


@pytest.mark.xfail(strict=True, reason="P9: 260 silent connections keep everybody out")
async def test_silent_connections_keep_nobody_out(tools: Any) -> None:
    one, two = make(), make()
    async with one.run([LOOPBACK]), two.run([LOOPBACK]):
        target = Target(two)
        silent = [await tools.raw_socket(target) for _ in range(260)]
        try:
            await trio.sleep(0.5)
            with trio.fail_after(5):
                await one.connect(PeerInfo(two.get_id(), two.get_addrs()))
                stream = await one.new_stream(two.get_id(), ["/ipfs/ping/1.0.0"])
                await stream.write(bytes(32))
                assert await stream.read(32) == bytes(32)
        finally:
            for socket in silent:
                await trio.aclose_forcefully(socket)


@pytest.mark.xfail(strict=True, reason="P10: nobody looks whether a peer is still there")
def test_liveness_is_watched() -> None:
    host = new_host(key_pair=create_new_key_pair())
    assert host.get_network().connection_config.enable_health_monitoring


@pytest.mark.xfail(strict=True, reason="P17: docs, examples, interop and stubs are installed")
def test_only_libp2p_is_installed() -> None:
    tops = {str(file).split("/")[0] for file in files("libp2p") or []}
    assert {top for top in tops if top != ".." and not top.startswith("libp2p")} == set()


async def _sent_past_the_window(tools: Any, count: int) -> int:
    """How many frames of 64 KiB a stock host takes on a stream that nobody reads."""
    two = make()

    async def hold(stream: object) -> None:
        await trio.sleep_forever()

    two.set_stream_handler(tools.SINK, hold)
    async with two.run([LOOPBACK]):
        raw = await tools.raw_dial(Target(two))
        await raw.open(1, tools.SINK)
        await trio.sleep(0.2)
        frame = tools.frame(tools.DATA, 0, 1, 65_536, bytes(65_536))
        taken = int(await raw.send_until_closed(frame, count))
        raw.socket.socket.close()
    return taken


@pytest.mark.xfail(strict=True, reason="F1: the receive window is not enforced")
async def test_data_past_the_window_ends_the_connection(tools: Any) -> None:
    assert await _sent_past_the_window(tools, 400) < 400  # 25 MiB against 256 KiB


@pytest.mark.xfail(strict=True, reason="F2: inbound streams are not limited")
async def test_streams_of_one_peer_are_limited(tools: Any) -> None:
    two = make()
    async with two.run([LOOPBACK]):
        raw = await tools.raw_dial(Target(two))
        for begin in range(0, 1_000, 50):
            numbers = range(begin, begin + 50)
            await raw.send(*(tools.frame(tools.WINDOW, tools.SYN, 2 * n + 1, 0) for n in numbers))
        await trio.sleep(1)
        (connections,) = two.get_network().connections.values()
        held = len(connections[0].muxed_conn.streams)
        raw.socket.socket.close()
    assert held <= 256


@pytest.mark.xfail(strict=True, reason="F3: backoffs of any length for topics nobody has")
def test_prunes_for_unknown_topics_leave_nothing() -> None:
    router = GossipSub(["/meshsub/1.1.0"], 6, 4, 9)
    peer = make().get_id()
    for n in range(1_000):
        router._add_back_off(peer, f"unknown {n}", False, 2**40)
    assert len(router.back_off) == 0
