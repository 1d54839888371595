"""The registry over the real transport: TCP, Noise, yamux, and the version handshake before it."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from pathlib import Path

import trio

from fogp2p.addresses import parse_address
from fogp2p.environment import real_environment, within
from fogp2p.identity import ephemeral
from fogp2p.ids import Version
from fogp2p.protocols.registry import OwnFacts, Registry, open_registry
from fogp2p.protocols.versioning import Catalogue, Offer, Release, open_versioning
from fogp2p.transports.libp2p import Libp2pConfig, open_host
from fogp2p.transports.libp2p.host import LibP2PHost

OFFER = {"fog/registry": Offer((Release(Version(1, 0)),))}


async def test_peers_exchange_find_and_are_told_news_over_tcp(tmp_path: Path) -> None:
    environment = real_environment()
    sides: list[tuple[LibP2PHost, Registry]] = []
    facts = [
        OwnFacts(roles=frozenset({role})) for role in ("mesh", "registry", "registry", "relay")
    ]
    async with AsyncExitStack() as stack:
        for number in range(4):
            keys = ephemeral(random.Random(f"tcp/{number}"))
            config = Libp2pConfig(listen=(parse_address("/ip4/127.0.0.1/tcp/0"),))
            host = await stack.enter_async_context(open_host(keys, config, environment))
            await stack.enter_async_context(
                open_versioning(host, keys, Catalogue("test", OFFER), environment)
            )
            opened = open_registry(
                host, keys, [], environment, tmp_path / str(number), lambda n=number: facts[n]
            )
            sides.append((host, await stack.enter_async_context(opened)))
        (asker, mine), (left, _), (right, _), (relay, theirs) = sides
        with trio.fail_after(20):
            for one, other in ((asker, left), (asker, right), (relay, left), (relay, right)):
                await one.connect(other.peer_id, other.addresses, deadline=within(5))
            while len(mine.mirrors()) < 2 or len(theirs.mirrors()) < 2:  # noqa: ASYNC110
                await trio.sleep(0.01)
            found = await mine.find("relay", 4, deadline=within(10))
            assert [each.peer for each in found.descriptors] == [relay.peer_id]
            assert set(found.sources) == {left.peer_id, right.peer_id}
            assert relay.peer_id not in asker.peers()
            with mine.events() as events:
                await asker.connect(relay.peer_id, relay.addresses, deadline=within(5))
                facts[3] = OwnFacts(roles=frozenset({"relay", "store"}))
                theirs.update()
                while mine.descriptors("store") == ():
                    await anext(events)
            assert mine.store.is_first_hand(relay.peer_id)
            assert mine.alarms() == theirs.alarms() == ()
