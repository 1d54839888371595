"""Invites between whole hosts in memory, under a virtual clock."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import trio

from fogp2p.addresses import Multiaddr, parse_address
from fogp2p.environment import Environment, within
from fogp2p.errors import FogError, LimitExceeded, LocalProtocolError
from fogp2p.events import EventHub, Gap
from fogp2p.host import Discovery, Host, Sighting
from fogp2p.identity import ephemeral
from fogp2p.ids import PeerId
from fogp2p.protocols.invite import (
    NAME,
    VERSIONS,
    Candidate,
    CodeError,
    Invite,
    InviteGone,
    InviterNotFound,
    Invites,
    Kind,
    NoSuchInvite,
    Progress,
    Stage,
    Words,
    WrongWords,
    open_invites,
)
from fogp2p.protocols.invite.messages import Contact
from fogp2p.protocols.invite.talk import believed
from fogp2p.protocols.versioning import Catalogue, Offer, Release, open_versioning
from fogp2p.testing import Fault, MemoryDisk, Trace, run_simulation, sim_environment
from fogp2p.transports.memory import LinkSettings, MemoryNetwork

PATH = Path("/data/invites")
KEYS = [ephemeral(random.Random(n)) for n in range(1, 9)]
PEERS = [keys.peer_id for keys in KEYS]


class Lan(Discovery):
    """Everybody sees everybody; announcements are kept in one place."""

    def __init__(self, network: MemoryNetwork, own: PeerId, shared: dict[bytes, set[PeerId]]):
        self._network = network
        self._own = own
        self._shared = shared
        self._hub: EventHub[Sighting] = EventHub()
        self.sees = True
        self.provides = True

    @property
    def source(self) -> str:
        return "lan"

    def problem(self) -> str:
        return ""

    def _all(self) -> list[Sighting]:
        hosts = [host for host in self._network.hosts() if host.peer_id != self._own]
        until = trio.current_time() + 60
        return [Sighting(host.peer_id, host.addresses, "lan", until) for host in hosts]

    def sightings(self) -> AbstractContextManager[AsyncIterator[Sighting | Gap]]:
        return self._hub.listen(self._all() if self.sees else ())

    async def find_peer(self, peer: PeerId, *, deadline: float) -> tuple[Multiaddr, ...]:
        await trio.lowlevel.checkpoint()
        return next((each.addresses for each in self._all() if each.peer == peer), ())

    async def provide(self, key: bytes, *, deadline: float) -> int:
        await trio.lowlevel.checkpoint()
        if not self.provides:
            return 0
        self._shared.setdefault(key, set()).add(self._own)
        return 1

    async def find_providers(self, key: bytes, *, deadline: float) -> tuple[Sighting, ...]:
        await trio.lowlevel.checkpoint()
        return tuple(each for each in self._all() if each.peer in self._shared.get(key, ()))


@dataclass
class World:
    """Peers that come and go; each keeps its disk."""

    network: MemoryNetwork = field(
        default_factory=lambda: MemoryNetwork(seed=1, default=LinkSettings(latency_s=0.02))
    )
    shared: dict[bytes, set[PeerId]] = field(default_factory=dict)
    environments: dict[int, Environment] = field(default_factory=dict)
    lans: dict[int, Lan] = field(default_factory=dict)

    def environment(self, index: int) -> Environment:
        if index not in self.environments:
            self.environments[index] = sim_environment(1, f"peer {index}")
        return self.environments[index]

    def disk(self, index: int) -> MemoryDisk:
        disk = self.environment(index).disk
        assert isinstance(disk, MemoryDisk)
        return disk

    @asynccontextmanager
    async def host(self, index: int) -> AsyncIterator[Host]:
        async with self.network.open_host(KEYS[index]) as host:
            yield host

    @asynccontextmanager
    async def peer(self, index: int) -> AsyncIterator[Invites]:
        async with self.host(index) as host:
            lan = self.lans[index] = Lan(self.network, PEERS[index], self.shared)
            environment = self.environment(index)
            async with open_invites(
                host, [lan], environment, PATH, name=f"peer {index}"
            ) as invites:
                yield invites


def _play(scenario: Callable[[World], Awaitable[None]]) -> None:
    async def run(trace: Trace) -> None:
        await scenario(World())

    run_simulation(1, run)


def _code(invite: Invite) -> str:
    assert invite.code is not None
    return str(invite.code)


def _other(invite: Invite) -> str:
    """The same number with other words."""
    assert isinstance(invite.code, Words)
    words = ("abandon", "zoo") if invite.code.words != ("abandon", "zoo") else ("zoo", "abandon")
    return str(Words(invite.code.nameplate, words))


def _state(invites: Invites, id: str) -> Invite:
    return next(each for each in invites.invites() if each.record.id == id)


async def _steps(
    listening: AsyncIterator[Progress | Gap], last: Stage, steps: list[Progress]
) -> None:
    async for step in listening:
        assert isinstance(step, Progress)
        steps.append(step)
        if step.stage is last:
            return


@pytest.mark.spec("INV-014", "INV-033", "INV-040", "INV-042")
@pytest.mark.parametrize("kind", list(Kind))
def test_two_peers_pair_and_both_see_every_step(kind: Kind) -> None:
    async def scenario(world: World) -> None:
        async with world.peer(0) as ada, world.peer(1) as bob:
            with ada.events() as hers, bob.events() as his:
                invite = await ada.invite(kind, name="Bob at work")
                assert invite.stage is Stage.INVITED and invite.record.peer is None
                seen: tuple[list[Progress], list[Progress]] = ([], [])
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_steps, hers, Stage.VERIFIED, seen[0])
                    nursery.start_soon(_steps, his, Stage.VERIFIED, seen[1])
                    contact = await bob.join(_code(invite), deadline=within(30))
            stages = [[step.stage for step in steps] for steps in seen]
            middle = [Stage.SEEN, Stage.ACCEPTED, Stage.VERIFIED]
            assert stages == [[Stage.INVITED, *middle], [Stage.SEARCHING, *middle]]
            assert {step.what for step in seen[0]} == {"invite"}
            assert {step.peer for step in seen[0][1:]} == {PEERS[1]}
            assert (contact.peer, contact.name, contact.how) == (PEERS[0], "peer 0", kind)
            assert contact.addresses
            (hers_of_bob,) = ada.contacts()
            assert (hers_of_bob.peer, hers_of_bob.name) == (PEERS[1], "Bob at work")
            assert bob.contacts() == (contact,) and bob.pending() == ()
            after = _state(ada, invite.record.id)
            assert (after.stage, after.peer, after.code) == (Stage.VERIFIED, PEERS[1], None)

    _play(scenario)


def test_invites_go_through_the_gate_of_agreed_versions() -> None:
    async def scenario(world: World) -> None:
        catalogue = Catalogue("test", {NAME: Offer(tuple(map(Release, VERSIONS)))})
        async with AsyncExitStack() as stack:
            sides = []
            for index in (0, 1):
                host = await stack.enter_async_context(world.host(index))
                environment = world.environment(index)
                lan = Lan(world.network, PEERS[index], world.shared)
                for opened in (
                    open_versioning(host, KEYS[index], catalogue, environment),
                    open_invites(host, [lan], environment, PATH),
                ):
                    sides.append(await stack.enter_async_context(opened))
            ada, bob = sides[1], sides[3]
            assert isinstance(ada, Invites) and isinstance(bob, Invites)
            invite = await ada.invite()
            await bob.join(_code(invite), deadline=within(30))

    _play(scenario)


@pytest.mark.spec("INV-031")
def test_wrong_words_are_seen_on_both_sides_and_the_third_burns_the_invite() -> None:
    async def scenario(world: World) -> None:
        async with world.peer(0) as ada, world.peer(1) as bob:
            invite = await ada.invite()
            for left in (2, 1, 0):
                with ada.events() as hers, pytest.raises(WrongWords) as caught:
                    await bob.join(_other(invite), deadline=within(30))
                assert str(left) in caught.value.hint or left < 2
                assert bob.pending() == () and bob.contacts() == ()
                steps: list[Progress] = []
                await _steps(hers, Stage.WRONG_GUESS, steps)
                assert steps[-1].peer == PEERS[1] and "of 3" in steps[-1].detail
                after = _state(ada, invite.record.id)
                assert (after.record.wrong, after.record.guesses_left) == (3 - left, left)
            assert (after.stage, after.code) == (Stage.BURNT, None)
            with pytest.raises(InviteGone) as gone:
                await bob.join(_code(invite), deadline=within(30))
            assert gone.value.reason == "burnt"
        async with world.peer(0) as ada, world.peer(1) as bob:
            with pytest.raises(InviteGone):
                await bob.join(_code(invite), deadline=within(30))
            assert ada.contacts() == ()

    _play(scenario)


def test_a_link_does_not_wear_out() -> None:
    async def scenario(world: World) -> None:
        async with world.peer(0) as ada, world.peer(1) as bob:
            invite = await ada.invite(Kind.LINK)
            link: Any = invite.code
            for _ in range(4):
                wrong = str(replace(link, secret=bytes(16)))
                with pytest.raises(WrongWords):
                    await bob.join(wrong, deadline=within(30))
                await trio.sleep(10)
            assert _state(ada, invite.record.id).record.wrong == 4
            await bob.join(_code(invite), deadline=within(30))

    _play(scenario)


@pytest.mark.spec("INV-033", "INV-034")
def test_of_two_joiners_exactly_one_wins() -> None:
    async def scenario(world: World) -> None:
        async with world.peer(0) as ada, world.peer(1) as bob, world.peer(2) as eve:
            invite = await ada.invite()
            outcomes: list[object] = []

            async def join(who: Invites) -> None:
                try:
                    outcomes.append(await who.join(_code(invite), deadline=within(30)))
                except FogError as exc:
                    outcomes.append(exc)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(join, bob)
                nursery.start_soon(join, eve)
            lost = [each for each in outcomes if isinstance(each, InviteGone)]
            assert len(lost) == 1 and lost[0].reason == "used"
            assert len(ada.contacts()) == 1
            assert len(bob.contacts()) + len(eve.contacts()) == 1
            winner = ada.contacts()[0].peer
            assert (winner == PEERS[1]) == bool(bob.contacts())

    _play(scenario)


@pytest.mark.spec("INV-050")
def test_an_invite_expires_and_its_joiner_is_told() -> None:
    async def scenario(world: World) -> None:
        async with world.peer(0) as ada, world.peer(1) as bob:
            invite = await ada.invite(ttl_s=60)
            with ada.events() as hers:
                await trio.sleep(61)
                steps: list[Progress] = []
                await _steps(hers, Stage.EXPIRED, steps)
            with pytest.raises(InviteGone) as gone:
                await bob.join(_code(invite), deadline=within(30))
            assert gone.value.reason == "expired"
            after = _state(ada, invite.record.id)
            assert (after.stage, after.code, after.expires_in_s) == (Stage.EXPIRED, None, 0)

    _play(scenario)


@pytest.mark.spec("INV-050", "INV-051")
@pytest.mark.parametrize("skew", [-400 * 86_400.0, -90.0])
def test_a_clock_that_is_set_back_revives_nothing(skew: float) -> None:
    async def scenario(world: World) -> None:
        clock: Any = world.environment(0).clock
        async with world.peer(0) as ada:
            invite = await ada.invite(ttl_s=60)
            clock.skew_s = skew
            await trio.sleep(40)
            left = _state(ada, invite.record.id).expires_in_s
            assert left == pytest.approx(20, abs=0.1)
            await trio.sleep(21)
            assert _state(ada, invite.record.id).stage is Stage.EXPIRED
        clock.skew_s = 2 * skew
        async with world.peer(0) as ada, world.peer(1) as bob:
            with pytest.raises(InviteGone):
                await bob.join(_code(invite), deadline=within(30))

    _play(scenario)


def test_a_clock_that_is_put_forward_ends_invites() -> None:
    async def scenario(world: World) -> None:
        clock: Any = world.environment(0).clock
        async with world.peer(0) as ada:
            invite = await ada.invite(ttl_s=600)
            clock.skew_s = 3600
            await trio.sleep(31)
            assert _state(ada, invite.record.id).stage is Stage.EXPIRED

    _play(scenario)


def test_invites_and_their_words_survive_a_restart() -> None:
    async def scenario(world: World) -> None:
        async with world.peer(0) as ada:
            invite = await ada.invite(name="Bob")
        mode = world.disk(0).mode(PATH)
        assert mode is not None and mode[0] == 0o600
        async with world.peer(0) as ada, world.peer(1) as bob:
            again = _state(ada, invite.record.id)
            assert (again.code, again.stage) == (invite.code, Stage.INVITED)
            await bob.join(_code(again), deadline=within(30))
        async with world.peer(0) as ada, world.peer(1) as bob:
            assert ada.contacts()[0].peer == PEERS[1] and bob.contacts()[0].peer == PEERS[0]
            await ada.forget(PEERS[1])
            with pytest.raises(NoSuchInvite):
                await ada.forget(PEERS[1])
        async with world.peer(0) as ada:
            assert ada.contacts() == ()

    _play(scenario)


@pytest.mark.spec("INV-034", "INV-040")
@pytest.mark.parametrize("who", [0, 1], ids=["inviter", "joiner"])
@pytest.mark.parametrize("write", range(1, 6))
@pytest.mark.parametrize("fault", [Fault.CRASH_BEFORE, Fault.CRASH_AFTER])
def test_a_crash_at_any_write_leaves_no_two_truths(who: int, write: int, fault: Fault) -> None:
    """The crashed side loses what it did not write, and comes back; the other goes on.

    Each side writes four times: the fifth is the run without a crash.
    """

    async def scenario(world: World) -> None:
        async with world.peer(1 - who) as steady:
            async with world.peer(who) as doomed:
                ada, bob = (doomed, steady) if who == 0 else (steady, doomed)
                invite = await ada.invite()
                disk, count, crashed = world.disk(who), 0, trio.Event()
                original = disk.replace

                def failing(path: Path, data: bytes, *, mode: int = 0o600) -> None:
                    nonlocal count
                    count += 1
                    if crashed.is_set() or count == write:
                        disk.fault = fault if not crashed.is_set() else Fault.CRASH_BEFORE
                        crashed.set()
                    original(path, data, mode=mode)

                disk.replace = failing  # type: ignore[method-assign]
                async with trio.open_nursery() as nursery:

                    async def join() -> None:
                        with suppress(FogError):  # what counts is what both believe in the end
                            await bob.join(_code(invite), deadline=within(300))

                    nursery.start_soon(join)
                    with trio.move_on_after(20):
                        await crashed.wait()
                    nursery.cancel_scope.cancel()
                disk.replace = original  # type: ignore[method-assign]
                disk.fault = None
            async with world.peer(who) as back:
                ada, bob = (back, steady) if who == 0 else (steady, back)
                if not bob.contacts() and not bob.pending():
                    # The code itself was lost with the first write: it is typed again.
                    assert (who, write, fault) == (1, 1, Fault.CRASH_BEFORE)
                    await bob.join(_code(invite), deadline=within(60))
                await trio.sleep(120)
                assert [each.peer for each in bob.contacts()] == [PEERS[0]]
                assert [each.peer for each in ada.contacts()] == [PEERS[1]]
                assert bob.pending() == ()
                stage = _state(ada, invite.record.id).stage
                # Accepted: the joiner's last word was lost; the secret goes after a day.
                assert stage in (Stage.VERIFIED, Stage.ACCEPTED)
                for index in (0, 1):
                    clock: Any = world.environment(index).clock
                    clock.skew_s = 2 * 86_400
                await trio.sleep(31)
                assert _state(ada, invite.record.id).stage is Stage.VERIFIED
                assert _state(ada, invite.record.id).code is None

    _play(scenario)


def test_a_join_waits_for_its_inviter_over_a_restart() -> None:
    async def scenario(world: World) -> None:
        async with world.peer(0) as ada:
            invite = await ada.invite(Kind.LINK, ttl_s=3600)
        async with world.peer(1) as bob:
            with pytest.raises(InviterNotFound) as caught:
                await bob.join(_code(invite), deadline=within(10))
            assert "pending" in caught.value.hint
            assert bob.pending()[0].stage is Stage.SEARCHING
        async with world.peer(1) as bob, world.peer(0):
            with bob.events() as his:
                steps: list[Progress] = []
                await _steps(his, Stage.VERIFIED, steps)
            assert bob.contacts()[0].peer == PEERS[0]

    _play(scenario)


def test_words_find_an_inviter_that_comes_later() -> None:
    async def scenario(world: World) -> None:
        async with world.peer(0) as ada:
            invite = await ada.invite(ttl_s=3600)
        async with world.peer(1) as bob:
            with pytest.raises(InviterNotFound):
                await bob.join(_code(invite), deadline=within(5))
            async with world.peer(0):
                await trio.sleep(70)
                assert bob.contacts()[0].peer == PEERS[0]

    _play(scenario)


def test_a_join_is_given_up_after_a_day() -> None:
    async def scenario(world: World) -> None:
        async with world.peer(1) as bob:
            with pytest.raises(InviterNotFound):
                await bob.join("7-copper-lake", deadline=within(5))
            clock: Any = world.environment(1).clock
            clock.skew_s = 86_400
            await trio.sleep(31)
            assert bob.pending() == ()

    _play(scenario)


@pytest.mark.parametrize("late", [False, True])
def test_words_find_the_inviter_through_the_dht(late: bool) -> None:
    """Also when the DHT knew nobody at first, or the announcement was made before a restart."""

    async def scenario(world: World) -> None:
        async with world.peer(0) as ada:
            world.lans[0].provides = not late
            invite = await ada.invite()
            await trio.sleep(1)
            assert bool(world.shared) is not late
            world.lans[0].provides = True
            await trio.sleep(61)
            assert world.shared
        world.shared.clear()
        async with world.peer(0) as ada, world.peer(1) as bob:
            world.lans[1].sees = False
            await trio.sleep(1)
            await bob.join(_code(invite), deadline=within(30))

    _play(scenario)


def test_a_link_with_an_old_address_finds_its_inviter_anyway() -> None:
    async def scenario(world: World) -> None:
        async with world.peer(0) as ada, world.peer(1) as bob:
            invite = await ada.invite(Kind.LINK)
            link: Any = invite.code
            old = replace(link, addresses=(parse_address("/ip4/192.168.7.7/tcp/7460"),))
            contact = await bob.join(str(old), deadline=within(30))
            assert contact.peer == PEERS[0]

    _play(scenario)


@pytest.mark.spec("INV-017")
def test_a_card_does_not_aim_us_at_ourselves() -> None:
    async def scenario(world: World) -> None:
        async with world.host(0) as near, world.host(1) as far:
            await near.connect(far.peer_id, far.addresses, deadline=within(5))
            told = [f"/ip4/{ip}/tcp/22" for ip in ("127.0.0.1", "192.168.1.1", "8.8.8.8")]
            contact = Contact("eve", far.peer_id, tuple(map(parse_address, told)))
            connection = near.connection_to(far.peer_id)
            assert connection is not None
            for seen, kept in (("/ip4/8.8.4.4/tcp/1", 1), ("/ip4/10.0.0.1/tcp/1", 2)):
                host: Any = _Seen(replace(connection, address=parse_address(seen)))
                believed_in = believed(host, contact).addresses
                assert [str(address) for address in believed_in] == told[-kept:]

    _play(scenario)


class _Seen:
    """A host with one connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def connection_to(self, peer: PeerId) -> Any:
        return self._connection


@pytest.mark.spec("INV-043")
def test_joining_without_a_code_lists_what_the_lan_offers() -> None:
    async def scenario(world: World) -> None:
        async with world.peer(0) as ada, world.peer(1) as bob, world.peer(2) as eve:
            assert await eve.offers(deadline=within(5)) == ()
            first = await ada.invite(ttl_s=100)
            await ada.invite(Kind.LINK)
            second = await bob.invite(ttl_s=200)
            found = await eve.offers(deadline=within(5))
            assert {(each.peer, each.nameplate) for each in found} == {
                (PEERS[0], first.record.nameplate),
                (PEERS[1], second.record.nameplate),
            }
            assert all(isinstance(each, Candidate) and each.seconds_left > 90 for each in found)
            await ada.cancel(first.record.id)
            left = await eve.offers(deadline=within(5))
            assert [each.peer for each in left] == [PEERS[1]]

    _play(scenario)


@pytest.mark.spec("INV-041")
def test_numbers_of_connected_peers_are_not_drawn() -> None:
    async def scenario(world: World) -> None:
        async with world.peer(0) as ada, world.peer(1) as bob:
            first = await ada.invite()
            await bob.offers(deadline=within(5))  # they are connected now

            drawn_from: list[list[int]] = []

            class Watched(random.Random):
                def choice(self, seq: Any) -> Any:
                    if isinstance(seq[0], int):
                        drawn_from.append(seq)
                    return super().choice(seq)

            bob._environment = replace(world.environment(1), random=Watched(3))
            second = await bob.invite()
            await bob.invite()
            assert [len(numbers) for numbers in drawn_from] == [998, 997]
            for number in (first.record.nameplate, second.record.nameplate):
                assert number not in drawn_from[-1]

    _play(scenario)


def test_a_join_typed_twice_is_one_and_can_be_cancelled() -> None:
    async def scenario(world: World) -> None:
        async with world.peer(1) as bob:
            ended: list[FogError] = []

            async def join(timeout_s: float) -> None:
                try:
                    await bob.join("7-copper-lake", deadline=within(timeout_s))
                except FogError as exc:
                    ended.append(exc)

            async with trio.open_nursery() as nursery:
                for timeout_s in (5, 8):
                    nursery.start_soon(join, timeout_s)
                await trio.sleep(2)
                assert len(bob.pending()) == 1
            assert [type(each) for each in ended] == [InviterNotFound] * 2
            await bob.cancel(bob.pending()[0].record.id)
            assert bob.pending() == ()
            async with world.peer(0):
                await trio.sleep(60)
            assert bob.contacts() == ()

    _play(scenario)


def test_own_codes_and_nonsense_are_refused_before_anything_is_kept() -> None:
    async def scenario(world: World) -> None:
        async with world.peer(0) as ada:
            for kind in Kind:
                invite = await ada.invite(kind)
                with pytest.raises(CodeError, match="your own"):
                    await ada.join(_code(invite), deadline=within(5))
            with pytest.raises(CodeError):
                await ada.join("seven copper lake", deadline=within(5))
            assert ada.pending() == ()
            for ttl_s in (9.0, 8 * 86_400.0):
                with pytest.raises(LocalProtocolError):
                    await ada.invite(ttl_s=ttl_s)
            with pytest.raises(NoSuchInvite):
                await ada.cancel("i-000000")

    _play(scenario)


def test_sixteen_are_open_at_most() -> None:
    async def scenario(world: World) -> None:
        async with world.peer(0) as ada:
            for _ in range(16):
                await ada.invite()
            with pytest.raises(LimitExceeded):
                await ada.invite()
            first = ada.invites()[0]
            await ada.cancel(first.record.id)
            await ada.invite()
            assert len({each.record.nameplate for each in ada.invites()}) == 17

    _play(scenario)


def test_a_full_disk_makes_no_invite_and_says_so() -> None:
    async def scenario(world: World) -> None:
        async with world.peer(0) as ada:
            world.disk(0).fault = Fault.FULL
            with pytest.raises(FogError, match="no space"):
                await ada.invite()
            assert ada.invites() == () and "no space" in ada.problem()
            await ada.invite()
            world.disk(0).fault = Fault.FULL
            with pytest.raises(FogError, match="no space"):
                await ada.join("7-copper-lake", deadline=within(5))
            assert ada.pending() == ()

    _play(scenario)


def test_a_damaged_file_is_set_aside() -> None:
    async def scenario(world: World) -> None:
        async with world.peer(0) as ada:
            await ada.invite()
        world.disk(0).flip(PATH, 3)
        async with world.peer(0) as ada:
            assert ada.invites() == () and "damaged" in ada.problem()
            assert world.disk(0).mode(PATH.with_name("invites.damaged")) is not None

    _play(scenario)
