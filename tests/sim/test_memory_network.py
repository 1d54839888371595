"""Networks of memory hosts under the virtual clock: scale, repeatability, and what can go wrong."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
import trio

from fogp2p.environment import within
from fogp2p.errors import StreamReset, TransportError, Unreachable
from fogp2p.host import Disconnected, Host, Stream
from fogp2p.ids import PeerId, protocol_id
from fogp2p.testing import Trace, run_simulation
from fogp2p.transports.memory import LinkSettings, MemoryNetwork

ECHO = protocol_id("/sim/echo/1")
LINK = LinkSettings(latency_s=0.03, jitter_s=0.02, loss=0.02)


async def _echo(stream: Stream) -> None:
    while data := await stream.read_some():
        await stream.write_all(data)


def _peers(count: int, seed: int) -> list[PeerId]:
    source = random.Random(seed)
    return [PeerId.from_ed25519(source.randbytes(32)) for _ in range(count)]


async def _echo_everywhere(trace: Trace, hosts: list[Host], edges: set[tuple[int, int]]) -> int:
    done = 0

    async def one(first: int, second: int) -> None:
        nonlocal done
        near, far = hosts[first], hosts[second]
        await near.connect(far.peer_id, far.addresses, deadline=within(60))
        stream = await near.open_stream(far.peer_id, [ECHO], deadline=within(60))
        async with stream:
            await stream.write_all(b"%d" % first)
            assert await stream.read_some() == b"%d" % first
        trace.record(first, second)
        done += 1

    async with trio.open_nursery() as nursery:
        for edge in sorted(edges):
            nursery.start_soon(one, *edge)
    return done


def _scenario(count: int, seed: int) -> Callable[[Trace], Awaitable[tuple[int, list[int]]]]:
    edges = _sparse_regular(count, seed)

    async def scenario(trace: Trace) -> tuple[int, list[int]]:
        network = MemoryNetwork(seed=seed, default=LINK)
        async with AsyncExitStack() as stack:
            hosts: list[Host] = []
            for peer in _peers(count, seed):
                host = await stack.enter_async_context(network.open_host(peer))
                host.set_handler(ECHO, _echo)
                hosts.append(host)
            done = await _echo_everywhere(trace, hosts, edges)
            return done, [len(host.peers()) for host in hosts]

    return scenario


def _sparse_regular(count: int, seed: int) -> set[tuple[int, int]]:
    """8-regular: four random cycles through all nodes that share no edge."""
    source = random.Random(seed)
    edges: set[tuple[int, int]] = set()
    while len(edges) < 4 * count:
        order = list(range(count))
        source.shuffle(order)
        cycle = {(min(pair), max(pair)) for pair in zip(order, order[1:] + order[:1], strict=True)}
        if len(cycle) == count and not cycle & edges:
            edges |= cycle
        else:
            edges |= _repair(cycle, edges, source)
    return edges


def _repair(
    cycle: set[tuple[int, int]], edges: set[tuple[int, int]], source: random.Random
) -> set[tuple[int, int]]:
    """Exchange the ends of colliding edges with random others until none collides."""
    wanted = sorted(cycle)
    while True:
        seen = set(edges)
        bad = None
        for index, edge in enumerate(wanted):
            if edge in seen or edge[0] == edge[1]:
                bad = index
                break
            seen.add(edge)
        if bad is None:
            return set(wanted)
        other = source.randrange(len(wanted))
        (a, b), (c, d) = wanted[bad], wanted[other]
        wanted[bad], wanted[other] = (min(a, d), max(a, d)), (min(c, b), max(c, b))


def test_a_thousand_hosts_connect_in_an_8_regular_graph_and_echo() -> None:
    (done, degrees), _ = run_simulation(1, _scenario(1000, 1))
    assert done == 4000
    assert set(degrees) == {8}


def test_equal_seeds_give_equal_traces_and_others_do_not() -> None:
    digests = [run_simulation(seed, _scenario(40, seed))[1].digest for seed in (1, 1, 2, 3)]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_the_trace_does_not_depend_on_the_hash_seed() -> None:
    code = (
        "import runpy, sys; m = runpy.run_path(sys.argv[1]);"
        "print(m['run_simulation'](5, m['_scenario'](20, 5))[1].digest)"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code, __file__],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "1", "4242")
    }
    assert len(digests) == 1


def _two(action: Callable[[MemoryNetwork, Host, Host], Awaitable[None]]) -> None:
    async def scenario(trace: Trace) -> None:
        network = MemoryNetwork(seed=3, default=LINK)
        first, second = _peers(2, 9)
        async with network.open_host(first) as near, network.open_host(second) as far:
            far.set_handler(ECHO, _echo)
            await near.connect(far.peer_id, far.addresses, deadline=within(10))
            await action(network, near, far)

    run_simulation(3, scenario)


def test_a_partition_delays_and_then_breaks_a_connection() -> None:
    async def action(network: MemoryNetwork, near: Host, far: Host) -> None:
        stream = await near.open_stream(far.peer_id, [ECHO], deadline=within(5))
        network.partition([near.peer_id], [far.peer_id])
        await stream.write_all(b"late")
        start = trio.current_time()
        with trio.move_on_after(10):
            await stream.read_some()
        assert trio.current_time() - start == pytest.approx(10)
        network.heal()
        assert await stream.read_some() == b"late"
        network.partition([near.peer_id], [far.peer_id])
        start = trio.current_time()
        with near.events() as events:
            async for event in events:
                if isinstance(event, Disconnected):
                    break
        assert trio.current_time() - start == pytest.approx(15)
        with pytest.raises(TransportError):
            await near.connect(far.peer_id, far.addresses, deadline=within(5))
        network.heal()
        await near.connect(far.peer_id, far.addresses, deadline=within(5))

    _two(action)


def test_one_way_cuts_stop_one_direction() -> None:
    async def action(network: MemoryNetwork, near: Host, far: Host) -> None:
        stream = await near.open_stream(far.peer_id, [ECHO], deadline=within(5))
        await stream.write_all(b"x")
        assert await stream.read_some() == b"x"
        network.cut(far.peer_id, near.peer_id)
        await stream.write_all(b"y")
        with trio.move_on_after(5) as scope:
            await stream.read_some()
        assert scope.cancelled_caught
        network.cut(far.peer_id, near.peer_id, cut=False)
        assert await stream.read_some() == b"y"

    _two(action)


def test_a_connection_that_one_side_gave_up_ends_when_the_other_talks_on_it() -> None:
    """What TCP does with a reset: found by crowds of which one waited for ever."""

    async def action(network: MemoryNetwork, near: Host, far: Host) -> None:
        network.cut(near.peer_id, far.peer_id)
        await trio.sleep(20)
        network.heal()
        assert far.connection_to(near.peer_id) is None, "it gave up"
        assert near.connection_to(far.peer_id) is not None, "and could not say so"
        stream = await near.open_stream(far.peer_id, [ECHO], deadline=within(5))
        with pytest.raises(StreamReset):
            await stream.read_some()
        await trio.sleep(1)
        assert near.connection_to(far.peer_id) is None
        stream = await near.open_stream(far.peer_id, [ECHO], deadline=within(5))
        await stream.write_all(b"x")
        assert await stream.read_some() == b"x"

    _two(action)


def test_a_killed_host_is_noticed_at_once() -> None:
    async def action(network: MemoryNetwork, near: Host, far: Host) -> None:
        stream = await near.open_stream(far.peer_id, [ECHO], deadline=within(5))
        start = trio.current_time()
        network.kill(far.peer_id)
        with pytest.raises(StreamReset):
            await stream.read_some()
        assert trio.current_time() - start < 0.1
        with pytest.raises(Unreachable):
            await near.connect(far.peer_id, far.addresses, deadline=within(5))

    _two(action)


def test_a_frozen_host_is_noticed_within_fifteen_seconds() -> None:
    async def action(network: MemoryNetwork, near: Host, far: Host) -> None:
        network.freeze(far.peer_id)
        start = trio.current_time()
        with near.events() as events:
            async for event in events:
                assert isinstance(event, Disconnected)
                break
        assert trio.current_time() - start <= 15.0

    _two(action)


def test_bandwidth_is_shared_and_kept() -> None:
    async def action(network: MemoryNetwork, near: Host, far: Host) -> None:
        network.set_link(near.peer_id, far.peer_id, LinkSettings(bandwidth=100_000))
        start = trio.current_time()

        async def one() -> None:
            stream = await near.open_stream(far.peer_id, [ECHO], deadline=within(5))
            await stream.write_all(bytes(250_000))
            got = 0
            while got < 250_000:
                got += len(await stream.read_some())

        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(one)
        # 500 kB each way, the ways at the same time: five seconds and a little.
        assert 5.0 <= trio.current_time() - start < 11.0

    _two(action)
