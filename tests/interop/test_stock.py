"""Our host and libp2p 0.8.1 as shipped, over TCP on loopback, both ways."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair as ed25519_pair
from libp2p.crypto.secp256k1 import create_new_key_pair as secp256k1_pair
from libp2p.crypto.x25519 import create_new_key_pair as x25519_pair
from libp2p.host.ping import PingService
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_ID
from libp2p.security.noise.transport import Transport as NoiseTransport
from multiaddr import Multiaddr

from fogp2p.environment import real_environment, within
from fogp2p.errors import ProtocolRefused
from fogp2p.host import PeerIdentified, Stream
from fogp2p.identity import ephemeral
from fogp2p.ids import PeerId, ProtocolId
from fogp2p.protocols import ping
from fogp2p.transports.libp2p import Libp2pConfig, open_host
from fogp2p.transports.libp2p.host import LibP2PHost

pytestmark = [pytest.mark.stock, pytest.mark.filterwarnings("ignore")]
LOOPBACK = Multiaddr("/ip4/127.0.0.1/tcp/0")
ECHO = ProtocolId("/bench/echo/1.0.0")


async def echo_ours(stream: Stream) -> None:
    while data := await stream.read_some():
        await stream.write_all(data)


async def echo_stock(stream: Any) -> None:
    # What a handler raises ends the whole stock host (hazard P2): even the end of a stream.
    with contextlib.suppress(StreamEOF):
        while data := await stream.read(65_536):
            await stream.write(data)


@asynccontextmanager
async def both(pair: Any = ed25519_pair) -> AsyncIterator[tuple[LibP2PHost, Any, PeerId, Any]]:
    """Our host, theirs, its id in our form, and its address."""
    keys = pair()
    noise = NoiseTransport(keys, noise_privkey=x25519_pair().private_key)
    stock = new_host(key_pair=keys, sec_opt={NOISE_ID: noise}, listen_addrs=[LOOPBACK])
    identity = ephemeral(random.SystemRandom())
    async with stock.run(listen_addrs=[LOOPBACK]):
        stock.set_stream_handler(ECHO, echo_stock)
        async with open_host(identity, Libp2pConfig(), real_environment()) as ours:
            ours.set_handler(ECHO, echo_ours)
            ping.install(ours)
            peer = PeerId.parse(str(stock.get_id()))
            address = Multiaddr(str(stock.get_addrs()[0]).split("/p2p/")[0])
            yield ours, stock, peer, address
            await ours.disconnect(peer)


@pytest.mark.parametrize("pair", [ed25519_pair, secp256k1_pair], ids=["ed25519", "secp256k1"])
async def test_we_dial_the_stock_library(pair: Any) -> None:
    async with both(pair) as (ours, _, peer, address):
        with ours.events() as events:
            await ours.connect(peer, [address], deadline=within(10))
            stream = await ours.open_stream(peer, [ECHO], deadline=within(10))
            async with stream:
                sent = random.Random(1).randbytes(300_000)
                got = bytearray()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(stream.write_all, sent)
                    with trio.fail_after(20):
                        while len(got) < len(sent):
                            got += await stream.read_some()
                assert bytes(got) == sent
            nobody = await ours.open_stream(peer, [ProtocolId("/nobody/1")], deadline=within(10))
            with pytest.raises(ProtocolRefused), trio.fail_after(10):
                await nobody.read_some()
            with trio.fail_after(10):
                async for event in events:
                    if isinstance(event, PeerIdentified):
                        break
            assert event.peer == peer and ECHO in event.protocols
            assert await ping.ping(ours, peer, random.Random(1), deadline=within(10)) > 0


async def test_the_stock_library_dials_us() -> None:
    async with both() as (ours, stock, peer, _):
        info = info_from_p2p_addr(Multiaddr(str(ours.addresses[0])))
        with trio.fail_after(20):
            await stock.connect(info)
            stream = await stock.new_stream(info.peer_id, [ECHO])
            await stream.write(b"from the other side")
            assert await stream.read(100) == b"from the other side"
            await stream.close()
            assert len(await PingService(stock).ping(info.peer_id, 2)) == 2
        assert ours.connection_to(peer) is not None
