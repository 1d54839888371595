"""libp2p 0.8.1 as shipped still has the hazards that our host cures.

Each test asserts the safe behaviour and is expected to fail. When one passes after an upgrade, the
hazard was mended upstream: look whether our cure can go. Our halves are in tests/attack.
"""

from __future__ import annotations

import inspect

import pytest
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.peerinfo import PeerInfo
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_ID
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux import yamux
from multiaddr import Multiaddr

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
    hosts = []
    for _ in range(2):
        keys = create_new_key_pair()
        from libp2p.crypto.x25519 import create_new_key_pair as x25519

        noise = NoiseTransport(keys, noise_privkey=x25519().private_key)
        hosts.append(new_host(key_pair=keys, sec_opt={NOISE_ID: noise}, listen_addrs=[LOOPBACK]))
    one, two = hosts

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
