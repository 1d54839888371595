"""Known peers and bootstrap peers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from fogp2p.addresses import parse_address
from fogp2p.environment import Environment
from fogp2p.errors import ConfigError
from fogp2p.host import Sighting
from fogp2p.ids import PeerId
from fogp2p.testing import Fault, MemoryDisk, Trace, run_simulation, sim_environment
from fogp2p.transports.peerbook import Bootstrap, open_known_peers

PATH = Path("/state/peers")
PEERS = [PeerId.from_ed25519(bytes([n]) * 32) for n in range(1, 6)]
ADDRESSES = [parse_address(f"/ip4/10.0.0.{n}/tcp/4001") for n in range(1, 12)]


def _run(environment: Environment, *addresses: tuple[int, int]) -> None:
    async def scenario(trace: Trace) -> None:
        async with open_known_peers(PATH, environment) as book:
            for peer, address in addresses:
                book.worked(PEERS[peer], ADDRESSES[address])

    run_simulation(1, scenario)


def _offered(environment: Environment) -> tuple[list[Sighting], str]:
    async def scenario(trace: Trace) -> tuple[list[Sighting], str]:
        async with open_known_peers(PATH, environment) as book:
            with book.sightings() as sightings:
                found = [await anext(aiter(sightings)) for _ in range(len(book))]
            assert all(isinstance(sighting, Sighting) for sighting in found)
            return [s for s in found if isinstance(s, Sighting)], book.problem()

    return run_simulation(1, scenario)[0]


def test_peers_are_remembered_across_restarts_the_latest_first() -> None:
    environment = sim_environment(1)
    _run(environment, (0, 0), (1, 1), (0, 2))
    found, problem = _offered(environment)
    assert problem == ""
    assert [sighting.peer for sighting in found] == [PEERS[0], PEERS[1]]
    assert found[0].addresses == (ADDRESSES[2], ADDRESSES[0])


def test_eight_addresses_are_kept() -> None:
    environment = sim_environment(1)
    _run(environment, *((0, n) for n in range(11)))
    found, _ = _offered(environment)
    assert found[0].addresses == tuple(ADDRESSES[10:2:-1])


@pytest.mark.spec("BOK-001")
def test_a_damaged_file_is_set_aside_and_named() -> None:
    environment = sim_environment(1)
    _run(environment, (0, 0))
    disk = environment.disk
    assert isinstance(disk, MemoryDisk)
    disk.flip(PATH, 3)
    found, problem = _offered(environment)
    assert found == [] and "damaged" in problem
    assert disk.mode(PATH) is None
    assert disk.mode(PATH.with_name("peers.damaged")) is not None
    _run(environment, (1, 1))
    assert _offered(environment)[1] == ""


def test_a_full_disk_is_a_problem_and_no_crash() -> None:
    environment = sim_environment(1)
    disk = environment.disk
    assert isinstance(disk, MemoryDisk)

    async def scenario(trace: Trace) -> None:
        async with open_known_peers(PATH, environment) as book:
            book.worked(PEERS[0], ADDRESSES[0])
            disk.fault = Fault.FULL
            await trio.sleep(31)
            assert "no space" in book.problem()
            await trio.sleep(31)
            assert book.problem() == ""

    run_simulation(1, scenario)
    assert len(_offered(environment)[0]) == 1


@pytest.mark.attack(98)
@pytest.mark.parametrize("skew", [-60 * 365 * 86_400, 3600, 365 * 86_400])
def test_a_clock_jump_loses_nobody(skew: float) -> None:
    environment = sim_environment(1, wall_skew_s=skew)
    _run(environment, (0, 0))
    assert len(_offered(environment)[0]) == 1


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_file_opens(data: bytes) -> None:
    environment = sim_environment(1)
    environment.disk.replace(PATH, data)
    _, problem = _offered(environment)
    assert problem != "" or len(data) < 64


def test_bootstrap_offers_what_is_configured_to_every_listener() -> None:
    address = parse_address(f"/ip4/10.0.0.1/tcp/4001/p2p/{PEERS[0]}")

    async def scenario(trace: Trace) -> None:
        bootstrap = Bootstrap([address])
        for _ in range(2):
            with bootstrap.sightings() as sightings:
                seen = await anext(aiter(sightings))
                assert isinstance(seen, Sighting)
                assert (seen.peer, seen.addresses) == (PEERS[0], (ADDRESSES[0],))
                assert seen.expires_at == math.inf

    run_simulation(1, scenario)


def test_bootstrap_addresses_need_a_peer_id() -> None:
    with pytest.raises(ConfigError, match="without a peer id"):
        Bootstrap([ADDRESSES[0]])
    assert Bootstrap([]).problem() != ""
