"""Gossip with libp2p 0.8.1, both ways, signatures verified by both (js and go: test_matrix)."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as x25519_pair
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_ID
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from fogp2p.environment import real_environment, within
from fogp2p.host import Message
from fogp2p.identity import ephemeral
from fogp2p.ids import PeerId
from fogp2p.protocols.gossip import Gossip, open_gossip
from fogp2p.transports.libp2p import Libp2pConfig, open_host
from fogp2p.transports.libp2p.host import LibP2PHost

T = "/interop/1"
LOOPBACK = Multiaddr("/ip4/127.0.0.1/tcp/0")


@asynccontextmanager
async def ours() -> AsyncIterator[tuple[LibP2PHost, Gossip]]:
    keys = ephemeral(random.SystemRandom())
    async with (
        open_host(keys, Libp2pConfig(), real_environment()) as host,
        open_gossip(host, keys, real_environment()) as gossip,
    ):
        yield host, gossip


async def subscribed(gossip: Gossip, peer: PeerId) -> None:
    with trio.fail_after(15):
        while peer not in gossip.router.peers_of(T):  # noqa: ASYNC110
            await trio.sleep(0.01)


@pytest.mark.stock
@pytest.mark.filterwarnings("ignore")
async def test_messages_go_both_ways_with_the_stock_library() -> None:
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)
    keys = create_new_key_pair()
    noise = NoiseTransport(keys, noise_privkey=x25519_pair().private_key)
    stock = new_host(key_pair=keys, sec_opt={NOISE_ID: noise}, listen_addrs=[LOOPBACK])
    router = GossipSub(
        protocols=["/meshsub/1.1.0"],
        degree=6,
        degree_low=4,
        degree_high=9,
        heartbeat_initial_delay=0.2,
        heartbeat_interval=1,
        spam_protection_enabled=False,
    )
    pubsub = Pubsub(stock, router, strict_signing=True)
    async with (
        stock.run(listen_addrs=[LOOPBACK]),
        background_trio_service(pubsub),
        background_trio_service(router),
        ours() as (host, gossip),
    ):
        await pubsub.wait_until_ready()
        theirs = await pubsub.subscribe(T)
        peer = PeerId.parse(str(stock.get_id()))
        address = Multiaddr(str(stock.get_addrs()[0]).split("/p2p/")[0])
        with gossip.subscribe(T) as messages:
            await host.connect(peer, [address], deadline=within(10))
            await subscribed(gossip, peer)
            with trio.fail_after(20):
                await gossip.publish(T, b"from us")
                own = await anext(aiter(messages))
                assert isinstance(own, Message) and own.data == b"from us"
                heard = await theirs.get()
                assert heard.data == b"from us" and heard.from_id == host.peer_id.raw
                await trio.sleep(1.5)
                await pubsub.publish(T, b"from stock")
                message = await anext(aiter(messages))
                assert isinstance(message, Message)
                assert (message.data, message.author) == (b"from stock", peer)
        await host.disconnect(peer)
