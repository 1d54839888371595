"""Registries of many hosts under a virtual clock."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
import trio

from fogp2p.environment import within
from fogp2p.errors import FogError
from fogp2p.identity import ephemeral
from fogp2p.ids import PeerId
from fogp2p.protocols.kad import open_kad
from fogp2p.protocols.registry import OwnFacts, Registry, open_registry
from fogp2p.testing import Trace, run_simulation, sim_environment
from fogp2p.transports.memory import LinkSettings, MemoryNetwork
from fogp2p.transports.memory.host import MemoryHost

PEERS = 50
HOLDERS = 5


@dataclass
class Member:
    """One peer of the crowd; cancelling `life` is its sudden end."""

    host: MemoryHost
    registry: Registry
    life: trio.CancelScope


class Crowd:
    """Fifty peers; each knows three that came before it, the first five are relays."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.network = MemoryNetwork(seed=seed, default=LinkSettings(latency_s=0.04, jitter_s=0.02))
        self.source = random.Random(seed)
        self.members: list[Member] = []
        self.interval_s = 20.0

    async def live(
        self, number: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        keys, environment = ephemeral(self.source), sim_environment(self.seed, str(number))
        with trio.CancelScope() as life:
            async with self.network.open_host(keys) as host:
                roles = frozenset({"mesh", "relay"} if number < HOLDERS else {"mesh"})
                facts = OwnFacts(host.addresses, roles)
                async with open_registry(
                    host, keys, [], environment, None, lambda: facts
                ) as registry:
                    for other in self.source.sample(self.members, min(3, len(self.members))):
                        await host.connect(
                            other.host.peer_id, other.host.addresses, deadline=within(10)
                        )
                    self.members.append(Member(host, registry, life))
                    task_status.started()
                    await self.look(host, registry)

    async def look(self, host: MemoryHost, registry: Registry) -> None:
        """As a program that needs relays: look now and then, and connect to whoever is new."""
        while True:
            found = await registry.find("relay", HOLDERS, deadline=within(15))
            for each in found.descriptors:
                try:
                    await host.connect(each.peer, deadline=within(5))
                except FogError:
                    continue  # it has gone, and is named until its hour is over
            await trio.sleep(self.interval_s)


def known(member: Member) -> set[PeerId]:
    return {each.peer for each in member.registry.descriptors("relay")}


async def measure(crowd: Crowd, trace: Trace) -> dict[str, float]:
    async with trio.open_nursery() as nursery:
        for number in range(PEERS):
            await nursery.start(crowd.live, number)
        everybody, began = crowd.members, trio.current_time()
        relays = {member.host.peer_id for member in everybody[:HOLDERS]}
        while any(known(each) < relays - {each.host.peer_id} for each in everybody):
            await trio.sleep(1)
            assert trio.current_time() - began < 300
        took = trio.current_time() - began
        trace.record("everybody knows every relay", took)
        crowd.interval_s = 600.0
        dying = [*everybody[:2], *everybody[20:30]]
        gone = {member.host.peer_id for member in dying}
        for member in dying:
            member.life.cancel()
        left = [member for member in everybody if member not in dying]
        died = trio.current_time()
        while any(known(member) & gone for member in left):
            await trio.sleep(10)
            assert trio.current_time() - died <= 3_610
        forgot = trio.current_time() - died
        trace.record("nobody names who went", forgot)
        there = relays - gone
        missing = sum(len(there - {each.host.peer_id} - known(each)) for each in left)
        alarms = sum(len(each.registry.alarms()) for each in left)
        nursery.cancel_scope.cancel()
    return {"took": took, "forgot": forgot, "missing": missing, "alarms": alarms}


@pytest.mark.spec("REG-044", "REG-050")
def test_fifty_peers_know_every_relay_and_forget_those_that_went() -> None:
    async def scenario(trace: Trace) -> dict[str, float]:
        return await measure(Crowd(11), trace)

    found, _ = run_simulation(11, scenario)
    assert found["took"] <= 60
    assert 1_800 <= found["forgot"] <= 3_610
    assert (found["missing"], found["alarms"]) == (0, 0)


@pytest.mark.spec("REG-060")
def test_a_peer_of_a_role_is_found_through_the_dht() -> None:
    """Ten hosts between the two serve the DHT alone and have no registry to ask."""

    async def scenario(trace: Trace) -> None:
        network, source = MemoryNetwork(seed=3), random.Random(3)
        async with AsyncExitStack() as stack:
            hosts: list[MemoryHost] = []

            async def join(number: int, role: str = "") -> tuple[MemoryHost, Registry | None]:
                keys, environment = ephemeral(source), sim_environment(3, str(number))
                host = await stack.enter_async_context(network.open_host(keys))
                kad = await stack.enter_async_context(open_kad(host, environment))
                for other in hosts[:1]:
                    await host.connect(other.peer_id, other.addresses, deadline=within(5))
                hosts.append(host)
                if not role:
                    return host, None
                facts = OwnFacts(host.addresses, frozenset({role}))
                opened = open_registry(host, keys, [kad], environment, None, lambda: facts)
                return host, await stack.enter_async_context(opened)

            for number in range(10):
                await join(number)
            holder, _ = await join(10, "store")
            await trio.sleep(200)
            asker, registry = await join(11, "mesh")
            assert registry is not None
            await trio.sleep(0.5)
            assert registry.descriptors() == registry.mirrors() == ()
            found = await registry.find("store", 1, deadline=within(60))
            assert [each.peer for each in found.descriptors] == [holder.peer_id]
            assert holder.peer_id in asker.peers()
            assert registry.store.is_first_hand(holder.peer_id)

    run_simulation(3, scenario)
