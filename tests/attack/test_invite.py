"""Whoever does not have the code, has it from somebody else, or only wants to disturb."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trio

from fogp2p.addresses import parse_address
from fogp2p.environment import Environment, within
from fogp2p.errors import FogError, StreamReset, TransportError
from fogp2p.framing import FrameDecoder, encode_frame, read_frame
from fogp2p.host import Host, Stream
from fogp2p.identity import ephemeral
from fogp2p.ids import PeerId
from fogp2p.protocols.invite import (
    PROTOCOL_ID,
    Invite,
    InviterNotFound,
    Invites,
    Kind,
    Stage,
    Words,
    WrongWords,
    open_invites,
)
from fogp2p.protocols.invite.budget import Budget
from fogp2p.protocols.invite.codes import password
from fogp2p.protocols.invite.config import ASKERS, MAX_PAIRINGS
from fogp2p.protocols.invite.machine import (
    Asked,
    Event,
    Inviter,
    Joiner,
    Offered,
    Proved,
    Refused,
    Shown,
)
from fogp2p.protocols.invite.messages import (
    Contact,
    Hello,
    Intent,
    Message,
    Offer,
    Reason,
    Refusal,
    decode_message,
    encode_message,
)
from fogp2p.protocols.invite.talk import flush, next_event
from fogp2p.testing import Trace, run_simulation, sim_environment
from fogp2p.transports.memory import LinkSettings, MemoryNetwork

PATH = Path("/data/invites")
KEYS = [ephemeral(random.Random(n)) for n in range(1, 9)]
PEERS = [keys.peer_id for keys in KEYS]
ENVIRONMENT = sim_environment(7, "attacker")


@dataclass
class Target:
    """A peer with invites, and its host."""

    host: Host
    invites: Invites


class World:
    """A network, and what each honest peer has on its disk."""

    def __init__(self) -> None:
        self.network = MemoryNetwork(seed=1, default=LinkSettings(latency_s=0.01))
        self.environments: dict[int, Environment] = {}

    @asynccontextmanager
    async def peer(self, index: int) -> AsyncIterator[Target]:
        environment = self.environments.setdefault(index, sim_environment(1, f"peer {index}"))
        async with (
            self.network.open_host(KEYS[index]) as host,
            open_invites(host, [], environment, PATH, name=f"peer {index}") as invites,
        ):
            yield Target(host, invites)

    @asynccontextmanager
    async def attacker(self, index: int, *targets: Target) -> AsyncIterator[Host]:
        """A host without invites of its own, connected to its targets."""
        async with self.network.open_host(KEYS[index]) as host:
            for target in targets:
                await _meet(host, target)
            yield host


def _play(scenario: Callable[[World], Awaitable[None]]) -> None:
    async def run(trace: Trace) -> None:
        await scenario(World())

    run_simulation(1, run)


async def _meet(host: Host, target: Target) -> None:
    await host.connect(target.host.peer_id, target.host.addresses, deadline=within(10))


async def _open(host: Host, target: Target) -> Stream:
    return await host.open_stream(target.host.peer_id, [PROTOCOL_ID], deadline=within(10))


def _joiner(host: Host, remote: PeerId, code: Words, *, entropy: int = 1) -> Joiner:
    return Joiner(
        local=host.peer_id,
        remote=remote,
        entropy=bytes([entropy]) * 64,
        nameplate=code.nameplate,
        password=password(code),
    )


def _wrong(invite: Invite) -> Words:
    code = invite.code
    assert isinstance(code, Words)
    return Words(code.nameplate, (code.words[1], "zoo"))


async def _guess(host: Host, target: Target, code: Words) -> Event | None:
    """A whole attempt; what the inviter says to it in the end."""
    stream = await _open(host, target)
    async with stream:
        machine = _joiner(host, target.host.peer_id, code)
        event = await next_event(stream, machine, ENVIRONMENT)
        if isinstance(event, Offered):
            machine.begin()
            event = await next_event(stream, machine, ENVIRONMENT)
        return event


def _now(target: Target, invite: Invite) -> Invite:
    return next(i for i in target.invites.invites() if i.record.id == invite.record.id)


@pytest.mark.spec("INV-031")
def test_three_guesses_are_all_there_are_whoever_makes_them() -> None:
    async def scenario(world: World) -> None:
        async with world.peer(0) as ada:
            invite = await ada.invites.invite()
            for index, left in ((1, 2), (2, 1), (3, 0)):
                async with world.attacker(index, ada) as eve:
                    event = await _guess(eve, ada, _wrong(invite))
                    assert event == Refused(Refusal(Reason.WRONG_GUESS, left))
            assert isinstance(invite.code, Words)
            async with world.attacker(4, ada) as eve:
                event = await _guess(eve, ada, invite.code)
                assert event == Refused(Refusal(Reason.BURNT))
            assert ada.invites.contacts() == ()

    _play(scenario)


@pytest.mark.spec("INV-030")
def test_leaving_before_the_proof_tells_nothing_and_costs_no_guess() -> None:
    async def scenario(world: World) -> None:
        async with world.peer(0) as ada, world.attacker(1, ada) as eve:
            invite = await ada.invites.invite()
            for _ in range(5):
                stream = await _open(eve, ada)
                machine = _joiner(eve, PEERS[0], _wrong(invite))
                assert isinstance(await next_event(stream, machine, ENVIRONMENT), Offered)
                machine.begin()
                await flush(stream, machine)
                assert await stream.read_some() != b""  # the inviter's message of SPAKE2
                stream.reset()
                await trio.sleep(2)
            after = _now(ada, invite)
            assert (after.stage, after.record.wrong) == (Stage.INVITED, 0)

    _play(scenario)


@pytest.mark.spec("INV-032")
def test_guesses_cannot_be_made_side_by_side() -> None:
    async def scenario(world: World) -> None:
        async with world.peer(0) as ada:
            invite = await ada.invites.invite()

            async def begin(host: Host) -> Event | None:
                stream = await _open(host, ada)
                machine = _joiner(host, PEERS[0], _wrong(invite))
                return await next_event(stream, machine, ENVIRONMENT)

            async with (
                world.attacker(1, ada) as eve,
                world.attacker(2, ada) as mallory,
                world.attacker(3, ada) as trudy,
                world.attacker(4, ada) as late,
            ):
                assert isinstance(await begin(eve), Offered)
                assert await begin(eve) == Refused(Refusal(Reason.BUSY))
                assert isinstance(await begin(mallory), Offered)
                assert isinstance(await begin(trudy), Offered)
                assert await begin(late) == Refused(Refusal(Reason.BUSY))
                assert _now(ada, invite).stage is Stage.SEEN
                await trio.sleep(21)  # who holds a place loses it
                assert _now(ada, invite).stage is Stage.INVITED
                assert isinstance(await begin(late), Offered)

    _play(scenario)


@pytest.mark.spec("INV-012", "INV-013")
def test_a_recorded_pairing_is_worth_nothing() -> None:
    async def scenario(world: World) -> None:
        async with world.peer(0) as ada:
            invite = await ada.invites.invite()
            code = invite.code
            assert isinstance(code, Words)
            said: list[bytes] = []
            async with world.attacker(1, ada) as bob, await _open(bob, ada) as stream:
                machine = _joiner(bob, PEERS[0], code)
                said.append(machine.data_to_send())
                await stream.write_all(said[-1])
                assert isinstance(await next_event(stream, machine, ENVIRONMENT), Offered)
                machine.begin()
                said.append(machine.data_to_send())
                await stream.write_all(said[-1])
                machine.receive_data(await stream.read_some())
                machine.next_event()
                said.append(machine.data_to_send())  # the proof, which is never sent
                stream.reset()
            # The very same peer says the very same bytes again.
            async with world.attacker(1, ada) as bob:
                stream = await _open(bob, ada)
                decoder = FrameDecoder(max_bytes=2048)
                answers: list[Message] = []
                for data in said:
                    await stream.write_all(data)
                    answers.append(decode_message(await read_frame(stream, decoder) or b""))
                assert answers[-1] == Refusal(Reason.WRONG_GUESS, 2)
            assert ada.invites.contacts() == () and _now(ada, invite).record.wrong == 1

    _play(scenario)


@pytest.mark.spec("INV-010", "INV-011")
@pytest.mark.parametrize("late", [False, True])
def test_a_joiners_own_messages_sent_back_prove_nothing(late: bool) -> None:
    """A false inviter reflects: everything, or what follows its offer."""

    async def scenario(world: World) -> None:
        async with world.peer(1) as bob, world.network.open_host(KEYS[0]) as mirror:
            tried = 0

            async def reflect(stream: Stream) -> None:
                nonlocal tried
                decoder = FrameDecoder(max_bytes=2048)
                while (frame := await read_frame(stream, decoder)) is not None:
                    message = decode_message(frame)
                    if isinstance(message, Hello) and message.intent is Intent.ASK:
                        frame = encode_message(Offer(((7, 60),)))
                    elif isinstance(message, Hello) and late:
                        tried += 1
                        frame = encode_message(Offer(((7, 60),)))
                    await stream.write_all(encode_frame(frame))

            mirror.set_handler(PROTOCOL_ID, reflect)
            await _meet(mirror, bob)
            with pytest.raises(InviterNotFound):
                await bob.invites.join("7-copper-lake", deadline=within(5))
            assert tried == int(late) and bob.invites.contacts() == ()

    _play(scenario)


@pytest.mark.spec("INV-011")
def test_somebody_in_the_middle_with_an_id_of_its_own_is_a_wrong_guess() -> None:
    async def scenario(world: World) -> None:
        async with world.peer(0) as ada, world.peer(1) as bob, world.attacker(2, ada, bob) as eve:
            invite = await ada.invites.invite()

            async def relay(stream: Stream) -> None:
                onward = await _open(eve, ada)
                async with onward, trio.open_nursery() as nursery:
                    nursery.start_soon(_pump, stream, onward)
                    await _pump(onward, stream)
                    nursery.cancel_scope.cancel()

            eve.set_handler(PROTOCOL_ID, relay)
            # Bob reaches only Eve, who passes every byte on.
            with pytest.raises(WrongWords):
                await bob.invites.join(str(invite.code), deadline=within(30))
            assert ada.invites.contacts() == bob.invites.contacts() == ()
            after = _now(ada, invite)
            assert (after.stage, after.record.wrong) == (Stage.INVITED, 1)

    _play(scenario)


async def _pump(source: Stream, target: Stream) -> None:
    try:
        while data := await source.read_some():
            await target.write_all(data)
        await target.close_write()
    except TransportError:
        target.reset()


@pytest.mark.spec("INV-014")
@pytest.mark.parametrize("lie", ["peer", "tag"])
def test_whoever_has_the_code_speaks_for_itself_only(lie: str) -> None:
    async def scenario(world: World) -> None:
        async with world.peer(0) as ada, world.attacker(1, ada) as eve:
            invite = await ada.invites.invite()
            assert isinstance(invite.code, Words)
            stream = await _open(eve, ada)
            machine = _joiner(eve, PEERS[0], invite.code)
            assert isinstance(await next_event(stream, machine, ENVIRONMENT), Offered)
            machine.begin()
            assert isinstance(await next_event(stream, machine, ENVIRONMENT), Shown)
            machine.present(Contact("bob", PEERS[5] if lie == "peer" else PEERS[1]))
            data = bytearray(machine.data_to_send())
            if lie == "tag":
                data[-1] ^= 1
            await stream.write_all(bytes(data))
            with pytest.raises(StreamReset):
                await stream.read_some()
            assert ada.invites.contacts() == ()
            # The invite is Eve's all the same: she proved to have the code.
            assert _now(ada, invite).stage is Stage.ACCEPTED

    _play(scenario)


@pytest.mark.spec("INV-044")
def test_a_thousand_questions_cost_little_and_stop_nobody_else() -> None:
    async def scenario(world: World) -> None:
        async with world.peer(0) as ada, world.peer(1) as bob, world.attacker(2, ada) as eve:
            invite = await ada.invites.invite()
            answered = 0

            async def probe(number: int) -> None:
                nonlocal answered
                hello = Hello(1 + number % 999, Intent.ASK)
                try:
                    async with await _open(eve, ada) as stream:
                        await stream.write_all(encode_frame(encode_message(hello)))
                        answered += bool(await stream.read_some())
                except FogError:
                    pass

            for number in range(1000):
                await probe(number)
                if number == 500:
                    await _meet(bob.host, ada)
                    await bob.invites.join(str(invite.code), deadline=within(20))
            elapsed = trio.current_time()
            assert 10 <= answered <= 10 + elapsed * 0.5 + 1
            assert len(ada.invites._server._serving) == 0
            assert [each.peer for each in bob.invites.contacts()] == [PEERS[0]]

    _play(scenario)


def test_streams_that_say_nothing_are_few_and_end() -> None:
    async def scenario(world: World) -> None:
        async with world.peer(0) as ada, world.attacker(1, ada) as eve:
            silent = [await _open(eve, ada) for _ in range(10)]
            await trio.sleep(1)
            assert ada.invites._server._serving[PEERS[1]] <= 2
            await trio.sleep(5)
            assert ada.invites._server._serving.total() == 0
            for stream in silent:
                with pytest.raises(StreamReset):
                    await stream.read_some()

    _play(scenario)


def test_askers_are_remembered_within_a_bound() -> None:
    budget = Budget()
    for number in range(2 * ASKERS):
        assert budget.take(PeerId.from_ed25519(number.to_bytes(32)), 0.0)
    assert len(budget) == ASKERS
    peer = PeerId.from_ed25519(bytes(32))
    taken = [budget.take(peer, 100.0) for _ in range(12)]
    assert taken == [True] * 10 + [False] * 2
    assert [budget.take(peer, 102.0), budget.take(peer, 102.0)] == [True, False]


@pytest.mark.spec("INV-042")
def test_a_false_inviter_gets_eight_guesses_at_a_joiners_words_and_no_more() -> None:
    """It takes each proof and hangs up, so that the join stays pending and is tried again."""

    async def scenario(world: World) -> None:
        proofs = 0

        async def false(stream: Stream) -> None:
            nonlocal proofs
            machine = Inviter(local=PEERS[0], remote=PEERS[1], entropy=bytes([5]) * 64)
            event = await next_event(stream, machine, ENVIRONMENT)
            assert isinstance(event, Asked)
            if event.hello.intent is Intent.ASK:
                machine.offer(((7, 60),))
                await flush(stream, machine)
                return
            machine.pair(7, 60, password(Words(7, ("zoo", "zoo"))))
            event = await next_event(stream, machine, ENVIRONMENT)
            assert not isinstance(event, Proved)
            proofs += 1
            stream.reset()

        for restart in range(3):
            async with world.peer(1) as bob, world.network.open_host(KEYS[0]) as eve:
                eve.set_handler(PROTOCOL_ID, false)
                await _meet(eve, bob)
                if not restart:
                    with pytest.raises(InviterNotFound):
                        await bob.invites.join("7-copper-lake", deadline=within(5))
                await trio.sleep(200)
                assert 1 <= proofs <= MAX_PAIRINGS
        assert proofs == MAX_PAIRINGS
        async with world.peer(1) as bob:
            assert bob.invites.pending() == () and bob.invites.contacts() == ()

    _play(scenario)


@pytest.mark.parametrize("how", ["busy", "silent"])
def test_a_false_inviter_that_only_wastes_time_does_not_keep_the_true_one_away(how: str) -> None:
    async def scenario(world: World) -> None:
        async def false(stream: Stream) -> None:
            machine = Inviter(local=PEERS[2], remote=PEERS[1], entropy=bytes([5]) * 64)
            event = await next_event(stream, machine, ENVIRONMENT)
            assert isinstance(event, Asked)
            wasted.append(event.hello.intent)
            if event.hello.intent is Intent.ASK:
                machine.offer(((event.hello.nameplate, 60),))
            elif how == "busy":
                machine.refuse(Reason.BUSY)
            else:
                machine.pair(event.hello.nameplate, 60, b"")
                await flush(stream, machine)
                await trio.sleep_forever()
            await flush(stream, machine)

        wasted: list[Intent] = []
        async with world.peer(0) as ada, world.peer(1) as bob, world.attacker(2, bob) as eve:
            eve.set_handler(PROTOCOL_ID, false)
            invite = await ada.invites.invite()
            async with trio.open_nursery() as nursery:

                async def come_later() -> None:
                    await trio.sleep(1)
                    await _meet(ada.host, bob)

                nursery.start_soon(come_later)
                contact = await bob.invites.join(str(invite.code), deadline=within(10))
            assert contact.peer == PEERS[0] and Intent.PAIR in wasted

    _play(scenario)


@pytest.mark.spec("INV-043")
def test_peers_from_far_away_get_no_list() -> None:
    async def scenario(world: World) -> None:
        async with world.peer(0) as ada, world.attacker(1, ada) as eve:
            await ada.invites.invite()
            await ada.invites.invite(Kind.LINK)
            near = ada.host.connection_to(PEERS[1])
            assert near is not None
            for address, listed in (("/ip4/192.168.1.9/tcp/1", 1), ("/ip4/8.8.8.8/tcp/1", 0)):
                seen = replace(near, address=parse_address(address))
                server: Any = ada.invites._server
                server._host = _Seen(ada.host, seen)
                async with await _open(eve, ada) as stream:
                    await stream.write_all(encode_frame(encode_message(Hello(0, Intent.ASK))))
                    frame = await read_frame(stream, FrameDecoder(max_bytes=2048))
                    answer = decode_message(frame or b"")
                assert isinstance(answer, Offer) and len(answer.invites) == listed

    _play(scenario)


class _Seen:
    """A host whose connections come from elsewhere."""

    def __init__(self, host: Host, connection: Any) -> None:
        self.peer_id = host.peer_id
        self._connection = connection

    def connection_to(self, peer: PeerId) -> Any:
        return self._connection


def test_no_log_and_no_repr_shows_a_code(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []

    async def scenario(world: World) -> None:
        secrets: Sequence[str] = ()
        async with world.peer(0) as ada, world.peer(1) as bob:
            await _meet(bob.host, ada)
            for kind in Kind:
                invite = await ada.invites.invite(kind)
                record = invite.record
                with bob.invites.events() as his, ada.invites.events() as hers:
                    contact = await bob.invites.join(str(invite.code), deadline=within(20))
                    steps = [repr(await anext(events)) for events in (his, hers)]
                shown.extend([repr(invite), repr(record), repr(contact), *steps])
                secret = record.secret
                if isinstance(secret, bytes):
                    secrets = (*secrets, str(invite.code), secret.hex(), repr(secret)[2:-1])
                else:
                    secrets = (*secrets, *(f"-{word}" for word in secret or ()), repr(secret))
        text = "\n".join([*shown, caplog.text])
        assert "invite_verified" in text
        for each in secrets:
            assert each not in text

    _play(scenario)
