"""Registries of many hosts under a virtual clock."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from functools import partial

import pytest
import trio

from fogp2p.environment import within
from fogp2p.errors import FogError
from fogp2p.identity import ephemeral
from fogp2p.ids import PeerId
from fogp2p.protocols.kad import KadConfig, open_kad
from fogp2p.protocols.registry import OwnFacts, Registry, open_registry
from fogp2p.testing import Trace, run_simulation, sim_environment
from fogp2p.transports.memory import LinkSettings, MemoryNetwork
from fogp2p.transports.memory.host import MemoryHost

PEERS = 50
HOLDERS = 5
Pair = tuple[MemoryHost, Registry]


async def grow(stack: AsyncExitStack, seed: int) -> tuple[MemoryNetwork, list[Pair]]:
    """Each host knows three that came before it; the first five are relays."""
    network = MemoryNetwork(seed=seed, default=LinkSettings(latency_s=0.04, jitter_s=0.02))
    source = random.Random(seed)
    pairs: list[Pair] = []
    for n in range(PEERS):
        keys, environment = ephemeral(source), sim_environment(seed, str(n))
        host = await stack.enter_async_context(network.open_host(keys))
        roles = frozenset({"mesh", "relay"} if n < HOLDERS else {"mesh"})
        facts = OwnFacts(host.addresses, roles)
        registry = await stack.enter_async_context(
            open_registry(host, keys, [], environment, None, lambda facts=facts: facts)
        )
        for other, _ in source.sample(pairs, min(3, len(pairs))):
            await host.connect(other.peer_id, other.addresses, deadline=within(10))
        pairs.append((host, registry))
    return network, pairs


async def look(pair: Pair) -> None:
    """As a program that needs relays: look every 20 s, and connect to whoever is new."""
    host, registry = pair
    while True:
        found = await registry.find("relay", HOLDERS, deadline=within(15))
        for each in found.descriptors:
            try:
                await host.connect(each.peer, deadline=within(5))
            except FogError:
                continue  # it has gone, and is named until its hour is over
        await trio.sleep(20)


def known(registry: Registry) -> set[PeerId]:
    return {each.peer for each in registry.descriptors("relay")}


def run(seed: int) -> tuple[dict[str, float], Trace]:
    async def scenario(trace: Trace) -> dict[str, float]:
        async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
            network, pairs = await grow(stack, seed)
            relays = {host.peer_id for host, _ in pairs[:HOLDERS]}
            began = trio.current_time()
            for pair in pairs:
                nursery.start_soon(partial(look, pair))
            while any(known(registry) < relays - {h.peer_id} for h, registry in pairs):
                await trio.sleep(1)
                assert trio.current_time() - began < 300
            took = trio.current_time() - began
            trace.record("everybody knows every relay", took)
            gone = {host.peer_id for host, _ in (*pairs[:2], *pairs[20:30])}
            for peer in gone:
                network.kill(peer)
            left = [pair for pair in pairs if pair[0].peer_id not in gone]
            died = trio.current_time()
            while any(known(registry) & gone for _, registry in left):
                await trio.sleep(10)
                assert trio.current_time() - died <= 3_610
            forgot = trio.current_time() - died
            trace.record("nobody names who went", forgot)
            there = relays - gone
            missing = sum(len(there - {h.peer_id} - known(registry)) for h, registry in left)
            alarms = sum(len(registry.alarms()) for _, registry in left)
            nursery.cancel_scope.cancel()
        return {"took": took, "forgot": forgot, "missing": missing, "alarms": alarms}

    return run_simulation(seed, scenario)


@pytest.mark.spec("REG-044", "REG-050")
def test_fifty_peers_know_every_relay_and_forget_those_that_went() -> None:
    found, _ = run(11)
    assert found["took"] <= 60
    assert 1_800 <= found["forgot"] <= 3_610
    assert (found["missing"], found["alarms"]) == (0, 0)


@pytest.mark.spec("REG-060")
def test_a_peer_of_a_role_is_found_through_the_dht() -> None:
    async def scenario(trace: Trace) -> tuple[set[PeerId], PeerId, bool]:
        async with AsyncExitStack() as stack:
            network, source = MemoryNetwork(seed=3), random.Random(3)
            pairs: list[Pair] = []
            for n in range(12):
                keys, environment = ephemeral(source), sim_environment(3, str(n))
                host = await stack.enter_async_context(network.open_host(keys))
                config = KadConfig(k=4, alpha=3)
                kad = await stack.enter_async_context(open_kad(host, environment, config))
                facts = OwnFacts(host.addresses, frozenset({"store"} if n == 11 else ()))
                registry = await stack.enter_async_context(
                    open_registry(host, keys, [kad], environment, None, lambda facts=facts: facts)
                )
                if pairs:  # a chain: everybody is far from most
                    last = pairs[-1][0]
                    await host.connect(last.peer_id, last.addresses, deadline=within(10))
                pairs.append((host, registry))
            await trio.sleep(200)
            (host, registry), holder = pairs[0], pairs[-1][0].peer_id
            # The mirrors of the asker were never told; whoever met the holder in a lookup was.
            registry.store.__init__()
            was_connected = holder in host.peers()
            if was_connected:
                await host.disconnect(holder)
            found = await registry.find("store", 1, deadline=within(60))
            return {each.peer for each in found.descriptors}, holder, holder in host.peers()

    (found, holder, _), _ = run_simulation(3, scenario)
    assert found == {holder}
