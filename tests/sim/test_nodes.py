"""Whole nodes on memory hosts, under a virtual clock."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack

import pytest
import trio

from fogp2p.config import Config, NetworkConfig, ProtocolsConfig
from fogp2p.environment import within
from fogp2p.host import Direction
from fogp2p.identity import ephemeral
from fogp2p.node import Node, open_node
from fogp2p.node.settings import OWN_CHOICES
from fogp2p.testing import Trace, run_simulation, sim_environment
from fogp2p.transports.memory import MemoryNetwork
from fogp2p.transports.peerbook import Bootstrap

YEAR_S = 365 * 86_400.0


async def _open(
    stack: AsyncExitStack,
    network: MemoryNetwork,
    seed: int,
    *,
    old: bool = False,
    skew_s: float = 0,
) -> Node:
    environment = sim_environment(seed, "node", wall_skew_s=skew_s)
    identity = ephemeral(random.Random(seed))
    host = await stack.enter_async_context(network.open_host(identity))
    known = [node.addresses[0] for node in network.hosts() if node is not host]
    config = Config(
        network=NetworkConfig(target_peers=20),
        protocols=ProtocolsConfig(echo="1.0" if old else "1.0-1.1"),
    )
    return await stack.enter_async_context(
        open_node(host, identity, config, environment, discoveries=[Bootstrap(known)])
    )


async def _all_agreed(nodes: list[Node]) -> None:
    while any(node.status().peers_agreed < len(nodes) - 1 for node in nodes):  # noqa: ASYNC110
        await trio.sleep(0.1)


def test_mixed_versions_meet_and_talk() -> None:
    async def scenario(trace: Trace) -> None:
        async with AsyncExitStack() as stack:
            network = MemoryNetwork(seed=1)
            nodes = [await _open(stack, network, i + 1, old=i % 2 == 1) for i in range(5)]
            with trio.fail_after(60):
                await _all_agreed(nodes)
            for i, node in enumerate(nodes):
                for j, other in enumerate(nodes):
                    if i != j:
                        result = await node.echo(other.peer_id, [b"hello"], deadline=within(5))
                        assert str(result.version) == ("1.0" if i % 2 or j % 2 else "1.1")
                        assert await node.ping(other.peer_id, deadline=within(5)) >= 0
            assert [node.status().echo_messages for node in nodes] == [4] * 5
            assert all(not node.status().why for node in nodes)

    run_simulation(1, scenario)


@pytest.mark.attack(98)
@pytest.mark.parametrize("skew_s", [3_600.0, -3_600.0, YEAR_S, -YEAR_S])
def test_a_wrong_date_on_one_side_stops_nothing(skew_s: float) -> None:
    """Waits follow the monotonic clock; the date only shows."""

    async def scenario(trace: Trace) -> None:
        async with AsyncExitStack() as stack:
            network = MemoryNetwork(seed=1)
            one = await _open(stack, network, 1)
            two = await _open(stack, network, 2, skew_s=skew_s)
            with trio.fail_after(30):
                await _all_agreed([one, two])
            result = await two.echo(one.peer_id, [b"x"], deadline=within(5))
            assert result.confirmed

    run_simulation(1, scenario)


def test_a_lonely_node_says_why() -> None:
    async def scenario(trace: Trace) -> tuple[str, str]:
        async with AsyncExitStack() as stack:
            network = MemoryNetwork(seed=1)
            alone = await _open(stack, network, 1)
            first = alone.status().why
            gone = await stack.enter_async_context(network.open_host(ephemeral(random.Random(9))))
            seeker = await _open(stack, network, 2)
            gone_id = gone.peer_id
            with trio.fail_after(30):
                while seeker.host.connection_to(gone_id) is None:  # noqa: ASYNC110
                    await trio.sleep(0.1)
            return first, next(p.not_agreed for p in seeker.peers() if p.peer_id == str(gone_id))

    (first, not_agreed), _ = run_simulation(1, scenario)
    assert "bootstrap: no peers are configured" in first
    assert not_agreed  # a host without our handshake is connected, and nothing is agreed


@pytest.mark.attack(27)
def test_who_dials_us_first_does_not_keep_us_from_peers_of_our_own_choice() -> None:
    """Twenty Sybils for one honest peer, all there before the victim has looked for anybody."""

    async def scenario(trace: Trace) -> None:
        async with AsyncExitStack() as stack:
            network, keys = MemoryNetwork(seed=1), ephemeral(random.Random(1))
            honest = [await _open(stack, network, seed) for seed in range(2, 8)]
            known = [node.addresses[0] for node in network.hosts()]
            victim = await stack.enter_async_context(network.open_host(keys))
            for seed in range(100, 120):
                sybil = ephemeral(random.Random(seed))
                host = await stack.enter_async_context(network.open_host(sybil))
                await host.connect(victim.peer_id, victim.addresses, deadline=within(5))
            await stack.enter_async_context(
                open_node(
                    victim,
                    keys,
                    Config(network=NetworkConfig(target_peers=8)),
                    sim_environment(1, "victim"),
                    discoveries=[Bootstrap(known)],
                )
            )
            await trio.sleep(30)
            chosen = {
                each.peer for each in victim.connections() if each.direction is Direction.OUTBOUND
            }
            assert chosen <= {node.peer_id for node in honest}
            assert len(chosen) == OWN_CHOICES

    run_simulation(1, scenario)
