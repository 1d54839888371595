"""LAN discovery over real sockets on the loopback interface, on a port and group of its own."""

from __future__ import annotations

import os

import trio

from fogp2p.addresses import Multiaddr, parse_address
from fogp2p.environment import real_environment
from fogp2p.host import Discovery, Sighting
from fogp2p.ids import PeerId
from fogp2p.transports.mdns import MdnsConfig, open_mdns

# Another port for each test process, so that runs at the same time do not meet.
CONFIG = MdnsConfig(port=20_000 + os.getpid() % 20_000, interfaces=("lo",))
PEERS = [PeerId.from_ed25519(bytes([n]) * 32) for n in (1, 2)]


def _own(index: int) -> tuple[Multiaddr, ...]:
    peer = PEERS[index]
    return (
        parse_address(f"/ip4/127.0.0.1/tcp/{4001 + index}/p2p/{peer}"),
        parse_address(f"/ip4/192.168.77.7/tcp/{4001 + index}/p2p/{peer}"),
    )


async def test_two_peers_find_each_other_and_notice_the_farewell() -> None:
    environment = real_environment()
    with trio.fail_after(20):
        async with open_mdns(PEERS[0], lambda: _own(0), CONFIG, environment) as first:
            assert first.problem() == ""
            with first.sightings() as here:
                async with open_mdns(PEERS[1], lambda: _own(1), CONFIG, environment) as second:
                    with second.sightings() as there:
                        for sightings, other in ((here, 1), (there, 0)):
                            seen = await anext(aiter(sightings))
                            assert isinstance(seen, Sighting)
                            assert seen.peer == PEERS[other]
                            # Of two addresses, the one that is of use on this interface.
                            assert [str(a) for a in seen.addresses] == [
                                f"/ip4/127.0.0.1/tcp/{4001 + other}"
                            ]
                        found = await second.find_peer(PEERS[0], deadline=trio.current_time() + 1)
                        assert len(found) == 1
                bye = await anext(aiter(here))
                assert isinstance(bye, Sighting)
                assert bye.peer == PEERS[1] and bye.expires_at <= trio.current_time()


async def _finds(discovery: Discovery, seconds: float, count: int) -> None:
    found = await discovery.find_providers(b"file", deadline=trio.current_time() + seconds)
    assert len(found) == count


async def test_who_has_a_content_answers_while_it_has_it() -> None:
    environment = real_environment()
    with trio.fail_after(20):
        async with (
            open_mdns(PEERS[0], lambda: _own(0), CONFIG, environment) as first,
            open_mdns(PEERS[1], lambda: _own(1), CONFIG, environment) as second,
        ):
            soon = trio.current_time() + 10
            assert await second.find_providers(b"file", deadline=soon) == ()
            assert await first.provide(b"file", deadline=soon) == 0, "nobody else holds it"
            (found,) = await second.find_providers(b"file", deadline=soon)
            assert (found.peer, found.source) == (PEERS[0], "mdns")
            assert [str(each) for each in found.addresses] == ["/ip4/127.0.0.1/tcp/4001"]
            assert await first.find_providers(b"file", deadline=soon) == (), "not oneself"
            # Two who look for the same at once, the second still there when the first is done.
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_finds, second, 0.0, 0)
                nursery.start_soon(_finds, second, 10.0, 1)
            first.withdraw(b"file")
            assert await second.find_providers(b"file", deadline=soon) == ()


async def test_garbage_on_the_port_harms_nobody() -> None:
    environment = real_environment()
    with trio.fail_after(20):
        async with open_mdns(PEERS[0], lambda: _own(0), CONFIG, environment) as first:
            sock = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
            with sock, first.sightings() as here:
                for size in (0, 1, 12, 300, 8_000):
                    await sock.sendto(os.urandom(size), (CONFIG.group4, CONFIG.port))
                async with open_mdns(PEERS[1], lambda: _own(1), CONFIG, environment):
                    seen = await anext(aiter(here))
                    assert isinstance(seen, Sighting) and seen.peer == PEERS[1]


async def test_no_interface_is_a_problem_that_is_named() -> None:
    config = MdnsConfig(interfaces=("no-such-interface",))
    async with open_mdns(PEERS[0], lambda: (), config, real_environment()) as discovery:
        assert "multicast" in discovery.problem()
