"""Versions agreed between whole hosts, and what the gate then lets through."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from fogp2p.environment import within
from fogp2p.errors import ProtocolRefused, TransportError
from fogp2p.framing import encode_frame
from fogp2p.host import Host
from fogp2p.identity import ephemeral
from fogp2p.ids import ProtocolId, Version
from fogp2p.protocols import echo
from fogp2p.protocols.versioning import (
    PROTOCOL_ID,
    Catalogue,
    Offer,
    Release,
    Versioning,
    open_versioning,
)
from fogp2p.testing import Trace, run_simulation, sim_environment
from fogp2p.testing.simulation import EPOCH_S
from fogp2p.transports.memory import LinkSettings, MemoryNetwork

TODAY = int(EPOCH_S) // 86_400
V1_0, V1_1 = Version(1, 0), Version(1, 1)
OLD = Catalogue("old", {echo.NAME: Offer((Release(V1_0),))}, handshake=(V1_0,))
NEW = Catalogue(
    "new",
    {echo.NAME: Offer((Release(V1_0, TODAY + 30), Release(V1_1)))},
    notices=((TODAY, "hello from the operator"),),
)

Side = tuple[Host, Versioning, echo.Counters]
PEERS = (ephemeral(random.Random(1)), ephemeral(random.Random(2)))


@asynccontextmanager
async def _side(network: MemoryNetwork, index: int, catalogue: Catalogue) -> AsyncIterator[Side]:
    keys = PEERS[index]
    environment = sim_environment(1, str(index))
    async with (
        network.open_host(keys) as host,
        open_versioning(host, keys, catalogue, environment) as versioning,
    ):
        releases = catalogue.protocols[echo.NAME].releases
        counters = echo.install(host, tuple(release.version for release in releases))
        yield host, versioning, counters


def _between(
    first: Catalogue, second: Catalogue, action: Callable[[Side, Side], Awaitable[None]]
) -> None:
    async def scenario(trace: Trace) -> None:
        network = MemoryNetwork(seed=1, default=LinkSettings(latency_s=0.02, jitter_s=0.01))
        async with _side(network, 0, first) as one, _side(network, 1, second) as other:
            await one[0].connect(PEERS[1].peer_id, other[0].addresses, deadline=within(10))
            await action(one, other)

    run_simulation(1, scenario)


@pytest.mark.spec("VER-040", "ECH-001", "ECH-010", "ECH-011")
@pytest.mark.parametrize(
    ("first", "second", "version"),
    [(OLD, OLD, V1_0), (OLD, NEW, V1_0), (NEW, OLD, V1_0), (NEW, NEW, V1_1)],
)
def test_echo_runs_in_the_agreed_version_both_ways(
    first: Catalogue, second: Catalogue, version: Version
) -> None:
    async def action(one: Side, other: Side) -> None:
        for near, far in ((one, other), (other, one)):
            peer = far[0].peer_id
            agreement = await near[1].ready(peer, deadline=within(10))
            assert agreement.version(echo.NAME) == version
            protocol = near[1].protocol(peer, echo.NAME)
            messages = [bytes([n]) * 1000 for n in range(5)]
            result = await echo.echo(near[0], peer, protocol, messages, deadline=within(10))
            assert result.version == version
            assert result.confirmed is (version == V1_1)
            assert (far[2].messages, far[2].bytes) == (5, 5000)

    _between(first, second, action)


@pytest.mark.spec("VER-040")
def test_the_gate_admits_exactly_the_agreed_version() -> None:
    async def action(one: Side, other: Side) -> None:
        peer = other[0].peer_id
        await one[1].ready(peer, deadline=within(10))
        for forbidden in ("/fog/echo/1.0.0", "/fog/nothing/1.0.0"):
            with pytest.raises(ProtocolRefused):
                await one[0].open_stream(peer, [ProtocolId(forbidden)], deadline=within(5))
        one[0].set_gate(None)  # a hostile peer has no gate on its own side
        stream = await one[0].open_stream(peer, [ProtocolId("/fog/echo/1.0.0")], deadline=within(5))
        await stream.write_all(encode_frame(b"let me in"))
        with pytest.raises(TransportError):
            await stream.read_some()
        assert other[2].messages == 0

    _between(NEW, NEW, action)


def test_streams_opened_at_once_wait_for_the_agreement() -> None:
    async def action(one: Side, other: Side) -> None:
        peer = other[0].peer_id
        result = await echo.echo(
            one[0], peer, ProtocolId("/fog/echo/1.1.0"), [b"early"], deadline=within(10)
        )
        assert result.confirmed

    _between(NEW, NEW, action)


def test_a_peer_without_versions_keeps_its_connection_and_gets_no_fog_protocol() -> None:
    async def scenario(trace: Trace) -> None:
        network = MemoryNetwork(seed=1, default=LinkSettings(latency_s=0.01))
        async with network.open_host(PEERS[1]) as plain, _side(network, 0, NEW) as mine:
            host, versioning, _ = mine
            await plain.connect(host.peer_id, host.addresses, deadline=within(5))
            with pytest.raises(ProtocolRefused, match="does not speak"):
                await versioning.ready(plain.peer_id, deadline=within(20))
            assert "does not speak" in versioning.why_not(plain.peer_id)
            assert host.peers() == (plain.peer_id,)

    run_simulation(1, scenario)


@pytest.mark.spec("VER-022")
def test_no_common_version_is_explained_on_both_sides() -> None:
    future = Catalogue("future", {echo.NAME: Offer((Release(V1_1),))}, handshake=(Version(2, 0),))

    async def action(one: Side, other: Side) -> None:
        for near, far in ((one, other), (other, one)):
            with pytest.raises(ProtocolRefused, match="no common version"):
                await near[1].ready(far[0].peer_id, deadline=within(20))

    _between(NEW, future, action)


@pytest.mark.spec("VER-042")
def test_deprecated_versions_warn_with_their_end_date() -> None:
    async def action(one: Side, other: Side) -> None:
        await one[1].ready(other[0].peer_id, deadline=within(10))
        await other[1].ready(one[0].peer_id, deadline=within(10))
        assert one[1].warnings(other[0].peer_id) == ("fog/echo 1.0: support ends in 30 days",)
        assert "fog/echo 1.0: support ends in 30 days" in other[1].warnings(one[0].peer_id)

    _between(NEW, OLD, action)


def test_notices_are_shown() -> None:
    async def action(one: Side, other: Side) -> None:
        await one[1].ready(other[0].peer_id, deadline=within(10))
        assert one[1].warnings(other[0].peer_id) == ("hello from the operator",)

    _between(NEW, NEW, action)


def test_a_second_handshake_on_a_connection_is_refused() -> None:
    async def action(one: Side, other: Side) -> None:
        await one[1].ready(other[0].peer_id, deadline=within(10))
        await other[1].ready(one[0].peer_id, deadline=within(10))
        for near, far in ((one, other), (other, one)):
            stream = await near[0].open_stream(far[0].peer_id, [PROTOCOL_ID], deadline=within(5))
            await stream.write_all(b"\x01x")
            with pytest.raises(TransportError):
                await stream.read_some()
            assert near[1].agreement(far[0].peer_id) is not None

    _between(NEW, NEW, action)


def test_an_agreement_ends_with_its_connection() -> None:
    async def action(one: Side, other: Side) -> None:
        peer = other[0].peer_id
        await one[1].ready(peer, deadline=within(10))
        await one[0].disconnect(peer)
        assert one[1].agreement(peer) is None or one[0].peers() == ()
        await one[0].connect(peer, other[0].addresses, deadline=within(5))
        assert (await one[1].ready(peer, deadline=within(10))).version(echo.NAME) == V1_1

    _between(NEW, NEW, action)
