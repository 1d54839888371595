"""Our DHT and the one of libp2p 0.8.1, over TCP, under its protocol id."""

from __future__ import annotations

import hashlib
import logging
import random
from contextlib import AbstractAsyncContextManager

import pytest
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as x25519_pair
from libp2p.kad_dht.common import PROTOCOL_ID
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_ID
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from fogp2p.environment import real_environment, within
from fogp2p.identity import ephemeral
from fogp2p.ids import PeerId, ProtocolId
from fogp2p.protocols.kad import KadConfig, open_kad
from fogp2p.transports.libp2p import Libp2pConfig, open_host
from fogp2p.transports.libp2p.host import LibP2PHost

pytestmark = [pytest.mark.stock, pytest.mark.filterwarnings("ignore")]
LOOPBACK = Multiaddr("/ip4/127.0.0.1/tcp/0")


def open_ours() -> AbstractAsyncContextManager[LibP2PHost]:
    return open_host(ephemeral(random.SystemRandom()), Libp2pConfig(), real_environment())


async def test_peers_and_providers_are_found_through_each_other() -> None:
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)
    keys = create_new_key_pair()
    noise = NoiseTransport(keys, noise_privkey=x25519_pair().private_key)
    stock = new_host(key_pair=keys, sec_opt={NOISE_ID: noise}, listen_addrs=[LOOPBACK])
    config = KadConfig(protocol=ProtocolId(str(PROTOCOL_ID)))
    ours = []
    async with stock.run(listen_addrs=[LOOPBACK]):
        dht = KadDHT(stock, DHTMode.SERVER)
        async with background_trio_service(dht):
            peer = PeerId.parse(str(stock.get_id()))
            address = Multiaddr(str(stock.get_addrs()[0]).split("/p2p/")[0])
            async with (
                open_host(
                    ephemeral(random.SystemRandom()), Libp2pConfig(), real_environment()
                ) as a,
                open_host(
                    ephemeral(random.SystemRandom()), Libp2pConfig(), real_environment()
                ) as b,
                open_kad(a, real_environment(), config) as kad_a,
                open_kad(b, real_environment(), config) as kad_b,
            ):
                ours = [(a, kad_a), (b, kad_b)]
                for host, kad in ours:
                    await host.connect(peer, [address], deadline=within(10))
                    with trio.fail_after(10):
                        while peer not in kad.table:  # noqa: ASYNC110
                            await trio.sleep(0.01)
                    # The stock library learns of us only when it is told.
                    await dht.add_peer(
                        info_from_p2p_addr(Multiaddr(str(host.addresses[0]))).peer_id
                    )
                found = await kad_a.find_peer(b.peer_id, deadline=within(10))
                assert any(str(each) in str(b.addresses[0]) for each in found)
                name = b"\x12\x20" + hashlib.sha256(b"shared").digest()
                assert await kad_a.provide(name, deadline=within(10)) >= 1
                providers = await kad_b.find_providers(name, deadline=within(10))
                assert a.peer_id in [each.peer for each in providers]
                # And it finds a peer through us.
                told = await dht.find_peer(ID.from_base58(str(b.peer_id)))
                assert told is not None and str(told.peer_id) == str(b.peer_id)
                for host, _ in ours:
                    await host.disconnect(peer)
