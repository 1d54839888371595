"""Group logs among many peers: partitions, losses, and what healing costs."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack

import pytest
import trio

from fogp2p.environment import within
from fogp2p.errors import FogError
from fogp2p.identity import Identity, ephemeral
from fogp2p.protocols.log import Group, Kind, Logs, MemoryStorage, Role, Stored, open_logs
from fogp2p.protocols.log.entries import Admit, encode_body, seal_entry
from fogp2p.protocols.log.machine import Replica, found_draft
from fogp2p.testing import Trace, run_simulation, sim_environment
from fogp2p.transports.memory import LinkSettings, MemoryNetwork
from fogp2p.transports.memory.host import MemoryHost

# What crosses the wire beside the entries themselves: frontiers, ids, fingerprints, and the same
# entry from two neighbours at once.
WIRE_FACTOR = 4.0
COST_FACTOR = 2.0


class World:
    """Peers in a random graph that all carry one group and write in it."""

    def __init__(self) -> None:
        self.hosts: list[MemoryHost] = []
        self.logs: list[Logs] = []
        self.groups: list[Group] = []
        self.edges: list[tuple[int, int]] = []

    def is_level(self) -> bool:
        return len({group.replica.fingerprint for group in self.groups}) == 1

    def bytes_sent(self) -> int:
        return sum(logs.status().bytes_sent for logs in self.logs)

    async def connect(self) -> None:
        for one, other in self.edges:
            try:
                host = self.hosts[other]
                await self.hosts[one].connect(host.peer_id, host.addresses, deadline=within(20))
            except FogError:
                continue

    async def until_level(self, seconds: float) -> float:
        start = trio.current_time()
        with trio.fail_after(seconds):
            while not self.is_level():  # noqa: ASYNC110
                await trio.sleep(0.5)
        return trio.current_time() - start


async def gather(stack: AsyncExitStack, network: MemoryNetwork, count: int, degree: int) -> World:
    world, source = World(), random.Random(count)
    for n in range(count):
        keys = ephemeral(random.Random(f"sim/{n}"))
        host = await stack.enter_async_context(network.open_host(keys))
        logs = await stack.enter_async_context(
            open_logs(host, keys, MemoryStorage(), sim_environment(count, str(n)))
        )
        chosen = source.sample(range(n), min(degree // 2, n))
        world.edges += [(n, other) for other in chosen]
        world.hosts.append(host)
        world.logs.append(logs)
    await world.connect()
    first = await world.logs[0].create("everybody")
    world.groups = [first, *[await logs.open(first.id) for logs in world.logs[1:]]]
    return world


@pytest.mark.spec("LOG-065")
def test_thirty_peers_in_two_halves_write_and_heal() -> None:
    async def scenario(trace: Trace) -> None:
        async with AsyncExitStack() as stack:
            settings = LinkSettings(latency_s=0.03, jitter_s=0.02, loss=0.02)
            network = MemoryNetwork(seed=30, default=settings)
            world = await gather(stack, network, 30, 6)
            # Members are admitted by the founder; keys change with every admission.
            for host in world.hosts[1:8]:
                await world.groups[0].admit(host.peer_id, Role.WRITE)
            await world.until_level(120)
            ids = [host.peer_id for host in world.hosts]
            network.partition(ids[0::2], ids[1::2])
            await trio.sleep(30)
            for turn in range(5):
                for n in range(8):
                    await world.groups[n].append(b"%d says %d" % (n, turn))
                await trio.sleep(3)
            await trio.sleep(30)
            halves = [{g.replica.fingerprint for g in world.groups[k::2]} for k in (0, 1)]
            assert len(halves[0]) == len(halves[1]) == 1 and halves[0] != halves[1]
            network.heal()
            before = world.bytes_sent()
            await world.connect()
            took = await world.until_level(60)
            spent = world.bytes_sent() - before
            # Each peer lacked 20 entries of the other half.
            entries = await world.logs[0]._storage.read(world.groups[0].id, 0, 10_000)
            size = sum(len(each.data) for each in entries[-40:]) / 2
            trace.record(took, spent)
            assert took < 35
            assert spent < WIRE_FACTOR * size * 30
            verdicts = world.groups[0].replica.verdicts()
            assert all(group.replica.verdicts() == verdicts for group in world.groups)
            assert not any(group.forks() for group in world.groups)
            for group in world.groups[:8]:
                texts = []
                with trio.fail_after(5):
                    async for each in group.deliveries():
                        texts.append(each.text)
                        if each.number == len(group.replica):
                            break
                for n in range(8):  # causal: each author's messages in the order written
                    mine = [x for x in texts if x and x.startswith(b"%d says" % n)]
                    assert mine == [b"%d says %d" % (n, turn) for turn in range(5)]

    run_simulation(30, scenario)


def test_equal_seeds_run_equally() -> None:
    async def scenario(trace: Trace) -> None:
        async with AsyncExitStack() as stack:
            network = MemoryNetwork(seed=5, default=LinkSettings(latency_s=0.02, jitter_s=0.02))
            world = await gather(stack, network, 6, 4)
            for host in world.hosts[1:]:
                await world.groups[0].admit(host.peer_id)
            await world.until_level(60)
            for group in world.groups:
                await group.append(b"x")
            trace.record(await world.until_level(60), world.bytes_sent())
            trace.record(world.groups[0].replica.fingerprint)

    assert run_simulation(5, scenario)[1].digest == run_simulation(5, scenario)[1].digest


def test_a_newcomer_gets_everything_once() -> None:
    async def scenario(trace: Trace) -> None:
        async with AsyncExitStack() as stack:
            world = await gather(stack, MemoryNetwork(seed=2), 2, 2)
            one = world.groups[0]
            await one.admit(world.hosts[1].peer_id)
            for _ in range(1_500):
                await one.append(bytes(40))
            await world.until_level(600)
            entries = await world.logs[0]._storage.read(one.id, 0, 20_000)
            assert len(entries) == 1_503
            whole = sum(len(each.data) for each in entries)
            assert world.bytes_sent() < 1.5 * whole, "all of it once, ids twice"

    run_simulation(2, scenario)


def common_log(count: int, first: Identity, second: Identity) -> list[Stored]:
    """A group of two with so many entries, as both have stored it."""
    key = first.peer_id.ed25519 or b""
    founding = seal_entry(found_draft(key, "long", bytes(16)), first.sign)
    replica, entries = Replica(founding.id), [founding]
    replica.ingest(founding)
    body = encode_body(Admit(second.peer_id.ed25519 or b"", Role.WRITE, 1))
    for n in range(count - 1):
        if n == 0:
            draft = replica.draft(key, Kind.ADMIT, body)
        else:
            draft = replica.draft(key, Kind.MESSAGE, bytes(80), epoch=bytes(32))
        entries.append(seal_entry(draft, first.sign))
        replica.ingest(entries[-1])
    return [Stored(n, entry.id, entry.data) for n, entry in enumerate(entries, 1)]


def test_the_cost_follows_the_difference_not_the_size() -> None:
    """Ten thousand entries in common and about ten apart, over streams."""
    keys = [ephemeral(random.Random(f"cost/{n}")) for n in range(2)]
    common = common_log(10_000, *keys)

    async def scenario(trace: Trace) -> None:
        async with AsyncExitStack() as stack:
            network, world = MemoryNetwork(seed=2), World()
            for n in range(2):
                storage = MemoryStorage()
                await storage.commit(common[0].id, common)
                host = await stack.enter_async_context(network.open_host(keys[n]))
                logs = await stack.enter_async_context(
                    open_logs(host, keys[n], storage, sim_environment(2, str(n)))
                )
                world.hosts.append(host)
                world.logs.append(logs)
                world.groups += logs.groups
            for _ in range(5):
                for group in world.groups:
                    await group.append(bytes(40))
            world.edges = [(0, 1)]
            await world.connect()
            await world.until_level(30)
            storage_of_both = [
                await logs._storage.read(common[0].id, 10_000, 100) for logs in world.logs
            ]
            apart = {each.id: len(each.data) for each in storage_of_both[0]}
            assert len(apart) == 12 and {each.id for each in storage_of_both[1]} == set(apart)
            spent, size = world.bytes_sent(), sum(apart.values())
            assert spent < COST_FACTOR * size, (spent, size)

    run_simulation(2, scenario)
