"""All ways of finding peers as one, while single ones fail and come back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager

import trio
import trio.testing

from fogp2p.addresses import Multiaddr, parse_address
from fogp2p.environment import within
from fogp2p.events import EventHub, Gap
from fogp2p.host import Discovery, Sighting
from fogp2p.ids import PeerId
from fogp2p.node.nickname import nickname
from fogp2p.node.settings import MAX_CANDIDATES
from fogp2p.node.ways import Ways
from fogp2p.supervisor import Group, Service, fixed, open_services
from fogp2p.testing import sim_environment

ADA, BOB = (PeerId.from_ed25519(bytes([n]) * 32) for n in (1, 2))
HERE, THERE = (parse_address(f"/ip4/192.168.1.{n}/tcp/1") for n in (1, 2))


class Way(Discovery):
    """Knows one address of everybody, and holds what is announced."""

    def __init__(self, source: str, address: Multiaddr) -> None:
        self._source = source
        self._address = address
        self._hub: EventHub[Sighting] = EventHub()
        self.keys: list[bytes] = []

    @property
    def source(self) -> str:
        return self._source

    def problem(self) -> str:
        return f"{self._source} is tired"

    def sightings(self) -> AbstractContextManager[AsyncIterator[Sighting | Gap]]:
        return self._hub.listen()

    async def find_peer(self, peer: PeerId, *, deadline: float) -> tuple[Multiaddr, ...]:
        await trio.lowlevel.checkpoint()
        return (self._address,)

    async def provide(self, key: bytes, *, deadline: float) -> int:
        # This way ends after the other one, whose count has to stay.
        for _ in range(5 if self._source == "mdns" else 1):
            await trio.lowlevel.checkpoint()
        self.keys.append(key)
        return 3 if self._source == "dht" else 0

    def withdraw(self, key: bytes) -> None:
        self.keys.remove(key)

    async def find_providers(self, key: bytes, *, deadline: float) -> tuple[Sighting, ...]:
        await trio.lowlevel.checkpoint()
        return (Sighting(ADA, (self._address,), self._source, within(9)),)


async def test_what_is_down_is_left_out_and_back_when_it_is_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mdns, dht = Way("mdns", HERE), Way("dht", THERE)
    async with open_services((), sim_environment(1), groups=(Group("finding"),)) as supervisor:
        await supervisor.add(
            Service("mdns", fixed(mdns), "finding"), Service("dht", fixed(dht), "finding")
        )
        ways = Ways(supervisor, "finding")
        assert set(await ways.find_peer(BOB, deadline=within(1))) == {HERE, THERE}
        assert await ways.provide(b"key", deadline=within(1)) == 3
        assert mdns.keys == dht.keys == [b"key"] and ways.provided == (b"key",)
        assert [each.peer for each in await ways.find_providers(b"key", deadline=within(1))] == [
            ADA
        ]
        assert ways.problem() == "mdns: mdns is tired; dht: dht is tired"
        supervisor.crash("dht")
        while supervisor.is_ready("dht"):
            await trio.lowlevel.checkpoint()
        assert await ways.find_peer(BOB, deadline=within(1)) == (HERE,)
        assert await ways.provide(b"other", deadline=within(1)) == 0
        found = await ways.find_providers(b"key", deadline=within(1))
        assert [each.source for each in found] == ["mdns"]
        ways.withdraw(b"key")
        assert mdns.keys == [b"other"] and ways.provided == (b"other",)
        await trio.sleep(5)
        assert set(await ways.find_peer(BOB, deadline=within(1))) == {HERE, THERE}


async def test_who_was_seen_is_told_to_those_who_come_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_services((), sim_environment(1)) as supervisor:
        ways = Ways(supervisor, "finding")
        ways.saw(Sighting(ADA, (HERE,), "mdns", within(10)))
        ways.saw(Sighting(BOB, (THERE,), "mdns", within(1)))
        await trio.sleep(5)
        with ways.sightings() as sightings:
            first = await anext(sightings)
            assert isinstance(first, Sighting) and first.peer == ADA  # the other has expired
            ways.saw(Sighting(ADA, (HERE,), "mdns", trio.current_time()))  # a farewell
            farewell = await anext(sightings)
            assert isinstance(farewell, Sighting) and farewell.expires_at <= trio.current_time()
        for number in range(MAX_CANDIDATES + 10):
            peer = PeerId.from_ed25519(number.to_bytes(32))
            ways.saw(Sighting(peer, (HERE,), "mdns", within(10)))
        assert len(ways._recent) == MAX_CANDIDATES


def test_a_nickname_is_two_words_and_always_the_same() -> None:
    assert nickname(ADA) == nickname(ADA) != nickname(BOB)
    names = {nickname(PeerId.from_ed25519(n.to_bytes(32))) for n in range(500)}
    assert len(names) == 500 and all(name.count("-") == 1 for name in names)
