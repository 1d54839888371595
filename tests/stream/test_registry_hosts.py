"""Registries of whole hosts: telling, asking, mirrors that lie, floods, and restarts."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import jsonschema
import pytest
import trio

from fogp2p.environment import Environment, within
from fogp2p.errors import LocalProtocolError, StreamReset, TransportError
from fogp2p.framing import FrameDecoder, encode_frame, read_frame
from fogp2p.host import Stream
from fogp2p.identity import Identity, ephemeral
from fogp2p.ids import PeerId, Version
from fogp2p.protocols.registry import (
    PROTOCOL,
    AlarmKind,
    Descriptor,
    OwnFacts,
    Registry,
    Renewed,
    Updated,
    config,
    open_registry,
)
from fogp2p.protocols.registry.answers import RegistryAnswer, registry_answer
from fogp2p.protocols.registry.exchange import answer_frames, ask, push
from fogp2p.protocols.registry.messages import (
    Answer,
    Lookup,
    Push,
    Query,
    Receipt,
    Verdict,
    read_request,
)
from fogp2p.protocols.versioning import Catalogue, Offer, Release, open_versioning
from fogp2p.schema import answer, json_schema
from fogp2p.testing import Fault, MemoryDisk, Trace, run_simulation, sim_environment
from fogp2p.testing.simulation import EPOCH_S
from fogp2p.transports.memory import MemoryNetwork
from fogp2p.transports.memory.host import MemoryHost

FILE = Path("/state/registry")
NOW = int(EPOCH_S)


def keys(number: int) -> Identity:
    return ephemeral(random.Random(f"registry/{number}"))


@dataclass
class Peer:
    """One host with its registry; `facts` is what it says of itself."""

    identity: Identity
    host: MemoryHost
    registry: Registry
    facts: list[OwnFacts]
    environment: Environment

    @property
    def id(self) -> PeerId:
        return self.identity.peer_id

    def say(self, *roles: str, software: str = "") -> None:
        self.facts[0] = OwnFacts(self.host.addresses, frozenset(roles), software=software)
        self.registry.update()


@asynccontextmanager
async def peer(
    network: MemoryNetwork,
    number: int,
    *roles: str,
    environment: Environment | None = None,
) -> AsyncIterator[Peer]:
    identity = keys(number)
    world = environment if environment is not None else sim_environment(1, str(number))
    async with network.open_host(identity) as host:
        facts = [OwnFacts(host.addresses, frozenset(roles))]
        async with open_registry(host, identity, [], world, FILE, lambda: facts[0]) as registry:
            yield Peer(identity, host, registry, facts, world)


async def connect(one: Peer, *others: Peer) -> None:
    for other in others:
        await one.host.connect(other.id, other.host.addresses, deadline=within(5))
    await trio.sleep(2)


Scenario = Callable[[AsyncExitStack, MemoryNetwork], Awaitable[None]]


def play(scenario: Scenario, seed: int = 1) -> None:
    async def run(trace: Trace) -> None:
        async with AsyncExitStack() as stack:
            await scenario(stack, MemoryNetwork(seed=seed))

    run_simulation(seed, run)


def signed(
    number: int,
    sequence: int,
    *,
    roles: tuple[str, ...] = ("relay",),
    software: str = "",
    issued: int = NOW,
    life: int = 3_600,
) -> Descriptor:
    identity = keys(number)
    facts = OwnFacts(roles=frozenset(roles), software=software)
    return Descriptor.make(
        identity.peer_id,
        facts,
        sequence=sequence,
        issued=issued,
        expires=issued + life,
        sign=identity.sign,
    )


@dataclass
class Mirror:
    """A peer that answers as a test wants."""

    answers: Callable[[object], bytes]
    asked: list[object] = field(default_factory=list)

    async def serve(self, stream: Stream) -> None:
        decoder = FrameDecoder(max_bytes=config.MAX_MESSAGE_BYTES)
        while (frame := await read_frame(stream, decoder)) is not None:
            request = read_request(frame)
            self.asked.append(request)
            await stream.write_all(self.answers(request))


def receipt(verdict: Verdict, held: bytes | None = None) -> bytes:
    return encode_frame(Receipt(verdict, held).to_bytes())


async def open_mirror(
    stack: AsyncExitStack,
    network: MemoryNetwork,
    number: int,
    answers: Callable[[object], bytes],
    asker: Peer,
    first: Descriptor | None = None,
) -> tuple[MemoryHost, Mirror]:
    """A hostile host, connected to `asker`, to which it has said who it is."""
    host = await stack.enter_async_context(network.open_host(keys(number)))
    mirror = Mirror(answers)
    host.set_handler(PROTOCOL, mirror.serve)
    await asker.host.connect(host.peer_id, host.addresses, deadline=within(5))
    own = first if first is not None else signed(number, 1, roles=("registry",))
    await push(host, asker.id, own.raw, deadline=within(5))
    await trio.sleep(2)
    return host, mirror


# --- telling ------------------------------------------------------------------------------------


@pytest.mark.spec("REG-030", "REG-031")
def test_peers_that_connect_know_each_other() -> None:
    async def scenario(stack: AsyncExitStack, network: MemoryNetwork) -> None:
        one = await stack.enter_async_context(peer(network, 1, "relay"))
        two = await stack.enter_async_context(peer(network, 2, "mesh", "store"))
        await connect(one, two)
        (seen,) = one.registry.descriptors()
        assert seen.raw == two.registry.own().raw
        assert (
            seen.multiaddrs()[0] == two.host.known_addresses(two.id)[0]
            if two.host.known_addresses(two.id)
            else True
        )
        assert [each.peer for each in two.registry.descriptors("relay")] == [one.id]
        assert one.registry.store.is_first_hand(two.id)
        assert one.registry.descriptors("relay") == ()
        assert one.registry.mirrors() == (two.id,)
        assert one.registry.problem() == two.registry.problem() == ""

    play(scenario)


@pytest.mark.spec("REG-020", "REG-030")
def test_news_reach_whoever_is_connected() -> None:
    async def scenario(stack: AsyncExitStack, network: MemoryNetwork) -> None:
        one = await stack.enter_async_context(peer(network, 1, "relay"))
        two = await stack.enter_async_context(peer(network, 2))
        await connect(one, two)
        before = one.registry.own()
        with two.registry.events() as events:
            await trio.sleep(6)
            one.say("provide")
            await trio.sleep(1)
            event = await anext(events)
        assert isinstance(event, Updated)
        assert event.descriptor.roles == ("provide",)
        assert event.descriptor.sequence > before.sequence
        assert two.registry.descriptors("relay") == ()
        assert two.registry.descriptor(one.id) == one.registry.own() == event.descriptor

    play(scenario)


@pytest.mark.spec("REG-030")
def test_a_descriptor_is_renewed_before_it_expires_and_gone_with_its_peer() -> None:
    async def scenario(stack: AsyncExitStack, network: MemoryNetwork) -> None:
        one = await stack.enter_async_context(peer(network, 1, "relay"))
        async with AsyncExitStack() as inner:
            two = await inner.enter_async_context(peer(network, 2, "relay"))
            await connect(one, two)
            numbers = set()
            for _ in range(12):
                await trio.sleep(600)
                (seen,) = one.registry.descriptors("relay")
                numbers.add(seen.sequence)
            assert len(numbers) == 4  # two hours, renewed each half hour
        assert len(one.registry.descriptors("relay")) == 1
        await trio.sleep(3_600)
        assert one.registry.descriptors() == ()

    play(scenario)


def test_a_peer_that_begins_to_speak_later_is_told_then() -> None:
    async def scenario(stack: AsyncExitStack, network: MemoryNetwork) -> None:
        one = await stack.enter_async_context(peer(network, 1, "relay"))
        identity = keys(2)
        host = await stack.enter_async_context(network.open_host(identity))
        await one.host.connect(host.peer_id, host.addresses, deadline=within(5))
        await trio.sleep(60)
        assert one.registry.mirrors() == ()
        environment = sim_environment(1, "2")
        late = await stack.enter_async_context(
            open_registry(host, identity, [], environment, None, OwnFacts)
        )
        await trio.sleep(5)
        assert [each.peer for each in late.descriptors()] == [one.id]
        assert [each.peer for each in one.registry.descriptors()] == [host.peer_id]

    play(scenario)


def test_it_is_a_fog_protocol_behind_the_version_handshake() -> None:
    async def scenario(stack: AsyncExitStack, network: MemoryNetwork) -> None:
        registry = {"fog/registry": Offer((Release(Version(1, 0)),))}
        sides = []
        for number, offered in ((1, registry), (2, registry), (3, {})):
            identity, environment = keys(number), sim_environment(1, str(number))
            host = await stack.enter_async_context(network.open_host(identity))
            catalogue = Catalogue("test", offered)
            await stack.enter_async_context(open_versioning(host, identity, catalogue, environment))
            opened = open_registry(host, identity, [], environment, None, OwnFacts)
            sides.append((host, await stack.enter_async_context(opened)))
        (first, one), (second, two), (third, three) = sides
        await first.connect(second.peer_id, second.addresses, deadline=within(5))
        await first.connect(third.peer_id, third.addresses, deadline=within(5))
        await trio.sleep(60)
        assert [each.peer for each in one.descriptors()] == [second.peer_id]
        assert [each.peer for each in two.descriptors()] == [first.peer_id]
        assert three.descriptors() == ()

    play(scenario)


# --- asking -------------------------------------------------------------------------------------


@pytest.mark.spec("REG-033", "REG-050")
def test_a_newcomer_finds_peers_through_two_mirrors() -> None:
    async def scenario(stack: AsyncExitStack, network: MemoryNetwork) -> None:
        enter = stack.enter_async_context
        left, right = await enter(peer(network, 1)), await enter(peer(network, 2))
        holders = [await enter(peer(network, n, "relay")) for n in range(3, 9)]
        await connect(left, *holders[:4])
        await connect(right, *holders[2:])
        new = await enter(peer(network, 9))
        await connect(new, left, right)
        found = await new.registry.find("relay", 64, deadline=within(30))
        assert {each.peer for each in found.descriptors} == {each.id for each in holders}
        assert set(found.sources) == {left.id, right.id}
        # What each of them lacked is no fault, and mended now.
        assert len(found.lacking) == 4
        assert new.registry.alarms() == ()
        for mirror in (left, right):
            assert len(mirror.registry.descriptors("relay")) == 6
        again = await new.registry.find("relay", 3, deadline=within(30))
        assert (len(again.descriptors), again.lacking) == (3, ())
        assert new.host.known_addresses(holders[0].id)

    play(scenario)


def test_a_find_has_a_deadline_and_is_told_the_truth_about_its_arguments() -> None:
    async def scenario(stack: AsyncExitStack, network: MemoryNetwork) -> None:
        one = await stack.enter_async_context(peer(network, 1))

        async def silent(stream: Stream) -> None:
            await trio.sleep_forever()

        host = await stack.enter_async_context(network.open_host(keys(2)))
        host.set_handler(PROTOCOL, silent)
        await one.host.connect(host.peer_id, host.addresses, deadline=within(5))
        await push(host, one.id, signed(2, 1).raw, deadline=within(5))
        began = trio.current_time()
        found = await one.registry.find("relay", 4, deadline=within(3))
        assert trio.current_time() - began <= 3
        assert (len(found.descriptors), found.sources) == (1, ())
        for role, count in (("relay", 0), ("relay", 65), ("Relay", 1), ("", 1)):
            with pytest.raises(LocalProtocolError) as caught:
                await one.registry.find(role, count, deadline=within(1))
            assert caught.value.code == "registry-find"

    play(scenario)


# --- hostile mirrors ----------------------------------------------------------------------------


@pytest.mark.attack(33)
@pytest.mark.spec("REG-050", "REG-051")
def test_a_mirror_that_withholds_hides_nothing_and_is_named() -> None:
    async def scenario(stack: AsyncExitStack, network: MemoryNetwork) -> None:
        honest = await stack.enter_async_context(peer(network, 1))
        holder = await stack.enter_async_context(peer(network, 2, "relay"))
        asker = await stack.enter_async_context(peer(network, 3))
        await connect(honest, holder)

        def withholds(request: object) -> bytes:
            return receipt(Verdict.KNOWN) if isinstance(request, Push) else answer_frames((), 0)

        host, mirror = await open_mirror(stack, network, 4, withholds, asker)
        await connect(asker, honest)
        with asker.registry.events() as events:
            found = await asker.registry.find("relay", 4, deadline=within(30))
            assert [each.peer for each in found.descriptors] == [holder.id]
            seen = [await anext(events) for _ in range(2)]
        (alarm,) = asker.registry.alarms()
        assert alarm in seen
        assert (alarm.kind, alarm.peer, alarm.source) == (
            AlarmKind.WITHHELD,
            holder.id,
            host.peer_id,
        )
        assert Lookup(holder.id) in mirror.asked
        await asker.registry.find("relay", 4, deadline=within(30))
        assert len(asker.registry.alarms()) == 1

    play(scenario)


@pytest.mark.attack(33)
@pytest.mark.spec("REG-041")
def test_an_equivocating_peer_is_proven_to_be_one() -> None:
    async def scenario(stack: AsyncExitStack, network: MemoryNetwork) -> None:
        asker = await stack.enter_async_context(peer(network, 1))
        tales = [signed(9, 7, software=word) for word in ("one", "another")]
        for number, tale in zip((2, 3), tales, strict=True):

            def answers(request: object, tale: Descriptor = tale) -> bytes:
                if isinstance(request, Push):
                    return receipt(Verdict.KEPT)
                return answer_frames((tale.raw,), 1)

            await open_mirror(stack, network, number, answers, asker)
        found = await asker.registry.find("relay", 4, deadline=within(30))
        assert found.descriptors == ()
        (alarm,) = asker.registry.alarms()
        assert (alarm.kind, alarm.peer) == (AlarmKind.EQUIVOCATED, tales[0].peer)
        (proof,) = asker.registry.store.proofs
        assert {proof.first, proof.second} == {each.raw for each in tales}

    play(scenario)


@pytest.mark.attack(31)
@pytest.mark.attack(33)
@pytest.mark.spec("REG-033", "REG-052")
def test_a_mirror_that_lies_brings_nothing_in() -> None:
    genuine = signed(9, 1)
    forged = genuine.raw[:-1] + bytes([genuine.raw[-1] ^ 1])
    lies = {
        "forged": answer_frames((forged,), 1),
        "another role": answer_frames((signed(10, 1, roles=("mesh",)).raw,), 1),
        "expired": answer_frames((signed(11, 1, issued=NOW - 100, life=50).raw,), 1),
        "more than asked": encode_frame(Answer(65, 65).to_bytes()),
        "more than fit": encode_frame(Answer(3, 2).to_bytes()),
        "garbage": encode_frame(b"\xff" * 64),
        "a long frame": b"\xff\xff\xff\xff\x07",
        "cut": answer_frames((genuine.raw,), 1)[:-5],
    }

    async def scenario(stack: AsyncExitStack, network: MemoryNetwork) -> None:
        asker = await stack.enter_async_context(peer(network, 1))
        lie = [b""]

        def answers(request: object) -> bytes:
            return receipt(Verdict.KNOWN) if isinstance(request, Push) else lie[0]

        await open_mirror(stack, network, 2, answers, asker)
        for name, data in lies.items():
            lie[0] = data
            found = await asker.registry.find("relay", 4, deadline=within(30))
            assert found.descriptors == (), name
            assert asker.registry.descriptor(genuine.peer) is None, name
        (alarm,) = asker.registry.alarms()
        assert (alarm.kind, alarm.source) == (AlarmKind.FORGED, keys(2).peer_id)

    play(scenario)


@pytest.mark.attack(31)
@pytest.mark.spec("REG-031", "REG-034")
def test_what_may_not_be_pushed() -> None:
    async def scenario(stack: AsyncExitStack, network: MemoryNetwork) -> None:
        target = await stack.enter_async_context(peer(network, 1))
        host = await stack.enter_async_context(network.open_host(keys(2)))
        await host.connect(target.id, target.host.addresses, deadline=within(5))

        async def tell(descriptor: bytes) -> Receipt:
            return await push(host, target.id, descriptor, deadline=within(5))

        newest = signed(2, 5)
        assert (await tell(newest.raw)).verdict is Verdict.KEPT
        assert (await tell(newest.raw)).verdict is Verdict.KNOWN
        old = await tell(signed(2, 4).raw)
        assert (old.verdict, old.held) == (Verdict.SUPERSEDED, newest.raw)
        future = signed(2, 6, issued=NOW + 600)
        assert (await tell(future.raw)).verdict is Verdict.REFUSED
        # Another's key: the victim's name in a descriptor that the thief signed.
        victim = signed(3, 1).raw
        with pytest.raises(StreamReset):
            await tell(victim[:-64] + newest.raw[-64:])
        assert target.registry.alarms()[0].source == host.peer_id
        assert target.registry.descriptor(keys(3).peer_id) is None
        assert target.registry.descriptor(keys(2).peer_id) == newest
        # Told for somebody else it is believed, but not as first hand.
        assert (await tell(victim)).verdict is Verdict.KEPT
        assert not target.registry.store.is_first_hand(keys(3).peer_id)

    play(scenario)


@pytest.mark.attack(32)
@pytest.mark.spec("REG-034", "REG-042")
def test_a_flood_over_streams_meets_the_rates() -> None:
    """One connection may tell 64 at once and one a second: the store's own bounds stand behind."""
    records = [signed(100 + n, 1) for n in range(400)]

    async def scenario(stack: AsyncExitStack, network: MemoryNetwork) -> None:
        target = await stack.enter_async_context(peer(network, 1))
        honest = await stack.enter_async_context(peer(network, 2, "relay"))
        await connect(target, honest)
        host = await stack.enter_async_context(network.open_host(keys(3)))
        await host.connect(target.id, target.host.addresses, deadline=within(5))
        began = trio.current_time()
        verdicts = []
        async with await host.open_stream(target.id, [PROTOCOL], deadline=within(5)) as stream:
            decoder = FrameDecoder()
            for record in records:
                await stream.write_all(encode_frame(Push(record.raw).to_bytes()))
                frame = await read_frame(stream, decoder)
                assert frame is not None
                verdicts.append(Receipt.from_bytes(frame).verdict)
        allowed = config.TOLD_BURST + (trio.current_time() - began) * config.TOLD_PER_S
        assert 64 <= verdicts.count(Verdict.KEPT) <= allowed + 1
        assert len(target.registry.store) <= allowed + 3
        # Queries: sixteen at once, then the stream ends.
        answered = 0
        with pytest.raises(TransportError):
            for _ in range(60):
                await ask(host, target.id, Query("relay", 64), deadline=within(5))
                answered += 1
        assert config.QUERY_BURST <= answered < 40
        # Others are served as before.
        seen = await ask(honest.host, target.id, Lookup(honest.id), deadline=within(5))
        assert seen.envelopes == (honest.registry.own().raw,)

    play(scenario)


# --- our own sequence ---------------------------------------------------------------------------


@pytest.mark.attack(95)
@pytest.mark.spec("REG-020")
def test_numbers_rise_over_restarts_and_crashes() -> None:
    async def scenario(stack: AsyncExitStack, network: MemoryNetwork) -> None:
        environment = sim_environment(1, "kept")
        witness = await stack.enter_async_context(peer(network, 2))
        highest = 0
        for _ in range(4):
            async with peer(network, 1, "relay", environment=environment) as one:
                await connect(one, witness)
                for round_ in range(3):
                    await trio.sleep(10)
                    one.say("relay", software=str(round_))
                    await trio.sleep(10)
                own = one.registry.own()
                assert own.sequence > highest
                assert witness.registry.descriptor(one.id) == own
                assert (one.registry.alarms(), one.registry.problem()) == ((), "")
                highest = own.sequence
                network.kill(one.id)

    play(scenario)


@pytest.mark.attack(95)
@pytest.mark.spec("REG-021")
def test_a_peer_set_back_to_an_old_copy_is_warned_and_heard_again() -> None:
    async def scenario(stack: AsyncExitStack, network: MemoryNetwork) -> None:
        environment = sim_environment(1, "kept")
        witness = await stack.enter_async_context(peer(network, 2))
        async with peer(network, 1, "relay", environment=environment) as one:
            copy = environment.disk.read(FILE, max_bytes=999)
            await connect(one, witness)
            for n in range(40):
                one.say("relay", software=str(n))
                await trio.sleep(10)
        held = witness.registry.descriptor(one.id)
        assert copy is not None
        assert environment.disk.read(FILE, max_bytes=999) != copy
        environment.disk.replace(FILE, copy)
        async with peer(network, 1, "relay", "mesh", environment=environment) as one:
            before = one.registry.own()
            assert before.sequence < held.sequence
            with one.registry.events() as events:
                await connect(one, witness)
                seen = [await anext(events) for _ in range(3)]
            (alarm,) = one.registry.alarms()
            assert (alarm.kind, alarm.source) == (AlarmKind.ROLLED_BACK, witness.id)
            assert alarm in seen
            assert any(isinstance(event, Renewed) for event in seen)
            await trio.sleep(10)
            assert "old copy" in one.registry.problem()
            own = one.registry.own()
            assert own.sequence > held.sequence
            assert witness.registry.descriptor(one.id) == own
            # Peers did not believe what came with a number from the past.
            assert witness.registry.store.proofs == ()

    play(scenario)


@pytest.mark.attack(95)
@pytest.mark.spec("REG-021")
def test_another_descriptor_with_our_present_number_is_a_warning_too() -> None:
    async def scenario(stack: AsyncExitStack, network: MemoryNetwork) -> None:
        one = await stack.enter_async_context(peer(network, 1, "relay"))
        before = one.registry.own()
        twin = signed(1, before.sequence, software="the other copy")

        def answers(request: object) -> bytes:
            return receipt(Verdict.SUPERSEDED, twin.raw)

        await open_mirror(stack, network, 2, answers, one)
        (alarm,) = one.registry.alarms()
        assert alarm.kind is AlarmKind.ROLLED_BACK
        assert one.registry.own().sequence == before.sequence + 1

    play(scenario)


@pytest.mark.attack(98)
@pytest.mark.spec("REG-010", "REG-020")
def test_after_a_jump_of_the_clock_we_are_described_anew() -> None:
    async def scenario(stack: AsyncExitStack, network: MemoryNetwork) -> None:
        one = await stack.enter_async_context(peer(network, 1, "relay"))
        for skew in (86_400.0, -86_400.0, 0.0):
            before = one.registry.own()
            one.environment.clock.skew_s = skew
            await trio.sleep(40)
            own, now = one.registry.own(), one.environment.clock.wall()
            assert own.sequence == before.sequence + 1
            assert now - 45 <= own.issued <= now < own.expires

    play(scenario)


@pytest.mark.attack(95)
@pytest.mark.spec("REG-021")
def test_nobody_else_can_make_us_jump() -> None:
    async def scenario(stack: AsyncExitStack, network: MemoryNetwork) -> None:
        one = await stack.enter_async_context(peer(network, 1, "relay"))
        before = one.registry.own()
        genuine = signed(1, 2**40)
        lies = [
            genuine.raw[:-1] + bytes([genuine.raw[-1] ^ 1]),
            signed(2, 2**40).raw,
            b"garbage",
        ]
        for number, lie in enumerate(lies):

            def answers(request: object, lie: bytes = lie) -> bytes:
                return receipt(Verdict.SUPERSEDED, lie)

            await open_mirror(stack, network, 10 + number, answers, one)
        await trio.sleep(60)
        assert one.registry.own() == before
        assert all(alarm.kind is AlarmKind.FORGED for alarm in one.registry.alarms())
        assert len(one.registry.alarms()) == 2

    play(scenario)


@pytest.mark.attack(95)
def test_a_disk_that_refuses_costs_no_number_and_is_said() -> None:
    async def scenario(stack: AsyncExitStack, network: MemoryNetwork) -> None:
        environment = sim_environment(1, "kept")
        disk = environment.disk
        assert isinstance(disk, MemoryDisk)
        disk.fault = Fault.FULL
        one = await stack.enter_async_context(peer(network, 1, environment=environment))
        assert one.registry.own() is None
        assert "no space" in one.registry.problem()
        await trio.sleep(60)
        assert one.registry.own() is not None
        assert one.registry.problem() == ""

    play(scenario)


@pytest.mark.attack(95)
def test_a_damaged_file_is_set_aside() -> None:
    async def scenario(stack: AsyncExitStack, network: MemoryNetwork) -> None:
        environment = sim_environment(1, "kept")
        environment.disk.replace(FILE, b"\xff")
        one = await stack.enter_async_context(peer(network, 1, environment=environment))
        assert one.registry.own().sequence == 1
        assert "set aside" in one.registry.problem()
        aside = FILE.with_name("registry.damaged")
        assert environment.disk.read(aside, max_bytes=9) == b"\xff"
        environment.disk.replace(FILE, bytes(1_000))
        two = await stack.enter_async_context(peer(network, 2, environment=environment))
        assert two.registry.own() is None  # larger than any such file: numbers unknown
        assert "larger than" in two.registry.problem()

    play(scenario)


def test_facts_that_cannot_be_said() -> None:
    async def scenario(stack: AsyncExitStack, network: MemoryNetwork) -> None:
        one = await stack.enter_async_context(peer(network, 1, "relay"))
        before = one.registry.own()
        one.say("No role")
        await trio.sleep(60)
        assert one.registry.own() == before
        assert "cannot be said" in one.registry.problem()
        one.say("mesh")
        await trio.sleep(10)
        assert one.registry.own().roles == ("mesh",)
        assert one.registry.problem() == ""
        with pytest.raises(LocalProtocolError) as caught:
            async with peer(network, 2, "No role"):
                raise AssertionError("never opened")
        assert caught.value.code == "registry-own"

    play(scenario)


@pytest.mark.attack(98)
@pytest.mark.spec("REG-011")
def test_a_wrong_date_is_noticed_by_whom_it_belongs_to() -> None:
    async def scenario(stack: AsyncExitStack, network: MemoryNetwork) -> None:
        for number, skew in ((2, 3_000.0), (4, -7_200.0)):
            right = await stack.enter_async_context(peer(network, number, "relay"))
            world = sim_environment(1, "wrong", wall_skew_s=skew)
            wrong = await stack.enter_async_context(peer(network, number + 1, environment=world))
            await connect(wrong, right)
            assert "date of this machine" in wrong.registry.problem()
            assert right.registry.descriptors() == ()
            assert right.registry.alarms() == wrong.registry.alarms() == ()
        world = sim_environment(1, "near", wall_skew_s=110.0)
        near = await stack.enter_async_context(peer(network, 6, environment=world))
        await connect(near, right)
        assert near.registry.problem() == ""
        assert [each.peer for each in right.registry.descriptors()] == [near.id]

    play(scenario)


def test_the_answer_for_programs_fits_its_schema() -> None:
    async def scenario(stack: AsyncExitStack, network: MemoryNetwork) -> None:
        one = await stack.enter_async_context(peer(network, 1, "relay"))
        others = [await stack.enter_async_context(peer(network, n, "mesh")) for n in (2, 3)]
        await connect(one, *others)
        host = await stack.enter_async_context(network.open_host(keys(4)))
        await host.connect(one.id, one.host.addresses, deadline=within(5))
        with pytest.raises(StreamReset):
            await push(host, one.id, b"garbage", deadline=within(5))
        made = registry_answer(one.registry, role="mesh", limit=1)
        document = json.loads(json.dumps(answer(made)))
        jsonschema.validate(document, json_schema(RegistryAnswer, closed=True))
        assert (document["schema"], document["held"]) == ("registry/1", 2)
        assert document["roles"] == {"mesh": 2}
        assert [len(document[name]) for name in ("mirrors", "descriptors", "alarms")] == [2, 1, 1]
        assert document["own"]["addresses"] == ["/memory/1"]
        assert registry_answer(one.registry).descriptors[0].first_hand

    play(scenario)
