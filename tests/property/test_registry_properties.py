"""Descriptors against any bytes, and the store against a model of it."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fogp2p.errors import RemoteProtocolError
from fogp2p.identity import ephemeral, verify
from fogp2p.ids import PeerId
from fogp2p.protocols.registry.descriptor import Claim, Descriptor, OwnFacts
from fogp2p.protocols.registry.envelope import Envelope
from fogp2p.protocols.registry.machine import Limits, Origin, Store
from fogp2p.protocols.registry.messages import Answer, Receipt, Verdict, read_request

NOW = 1_800_000_000
KEYS = [ephemeral(random.Random(n)) for n in range(6)]
NAMES = st.from_regex(r"[a-z0-9][a-z0-9.-]{0,31}", fullmatch=True)
FACTS = st.builds(
    OwnFacts,
    roles=st.frozensets(NAMES, max_size=16),
    keys=st.dictionaries(
        NAMES.map("k".__add__).map(lambda name: name[:32]),
        st.binary(min_size=1, max_size=40),
        max_size=8,
    ),
    epoch=st.integers(0, 2**53 - 1),
    capacity=st.dictionaries(NAMES, st.integers(0, 2**53 - 1), max_size=16),
    software=st.text(max_size=16),
    stake=st.none() | st.binary(min_size=1, max_size=64),
    extensions=st.dictionaries(
        NAMES, st.integers(-5, 5) | st.lists(st.booleans(), max_size=3), max_size=4
    ),
)


@functools.cache
def signed(key: int, sequence: int, life: int, word: str = "") -> Descriptor:
    keys = KEYS[key]
    facts = OwnFacts(roles=frozenset({"relay", f"r{key}"}), software=word)
    return Descriptor.make(
        keys.peer_id, facts, sequence=sequence, issued=NOW, expires=NOW + life, sign=keys.sign
    )


GOOD = signed(0, 1, 3_600)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_value_or_our_error(data: bytes) -> None:
    for read in (
        functools.partial(Claim.from_bytes, now=NOW),
        Envelope.from_bytes,
        read_request,
        Receipt.from_bytes,
        functools.partial(Answer.from_bytes, limit=64),
    ):
        try:
            read(data)
        except RemoteProtocolError as exc:
            assert exc.code


@given(st.integers(0, 8 * len(GOOD.raw) - 1))
def test_no_flipped_bit_is_proven(bit: int) -> None:
    data = bytearray(GOOD.raw)
    data[bit // 8] ^= 1 << bit % 8
    try:
        Claim.from_bytes(bytes(data), now=NOW).prove(verify)
    except RemoteProtocolError:
        return
    raise AssertionError(f"bit {bit} does not count")


@given(FACTS, st.integers(0, 2**53 - 1), st.integers(1, 3_600))
@settings(max_examples=50)
def test_what_was_said_is_what_is_read(facts: OwnFacts, sequence: int, life: int) -> None:
    keys = KEYS[0]
    made = Descriptor.make(
        keys.peer_id, facts, sequence=sequence, issued=NOW, expires=NOW + life, sign=keys.sign
    )
    read = Claim.from_bytes(made.raw, now=NOW).prove(verify)
    assert read == made
    assert read.says_the_same(facts)
    assert (read.sequence, read.expires) == (sequence, NOW + life)


def merged(descriptors: list[Descriptor]) -> tuple[frozenset[bytes], frozenset[PeerId]]:
    store = Store()
    for each in descriptors:
        store.add(each, Origin(teller="x"), NOW)
    held = frozenset(each.content for each in store.all(NOW))
    return held, frozenset(proof.peer for proof in store.proofs)


HONEST = st.lists(st.builds(signed, st.integers(0, 3), st.integers(0, 3), st.just(600)), max_size=5)


@given(HONEST)
@settings(max_examples=60)
def test_the_order_and_number_of_tellings_do_not_matter(told: list[Descriptor]) -> None:
    results = {merged(list(order)) for order in itertools.permutations(told)}
    assert results == {merged(told)} == {merged(told + told)}


@given(st.integers(0, 3), st.permutations(["a", "b"]), HONEST)
@settings(max_examples=60)
def test_nor_for_two_tales(key: int, words: list[str], others: list[Descriptor]) -> None:
    tales = [signed(4, key, 600, word) for word in words]
    held, liars = merged([tales[0], *others, tales[1]])
    assert (held, liars) == merged([*others, tales[1], tales[0], tales[1]])
    assert liars == {KEYS[4].peer_id}
    assert not held & {tale.content for tale in tales}


@dataclasses.dataclass
class Modelled:
    descriptor: Descriptor
    first_hand: bool
    network: str
    teller: str

    @property
    def worth(self) -> tuple[bool, int, int, bytes]:
        found = self.descriptor
        return (self.first_hand, found.expires, found.sequence, found.peer.raw)


class StoreAgainstModel(RuleBasedStateMachine):
    """Bounds of 4, of 2 a network and 3 a teller; floors and bans never overflow here."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = Limits(held=4, per_network=2, per_teller=3)
        self.store = Store(self.limits)
        self.now = NOW
        self.held: dict[PeerId, Modelled] = {}
        self.floors: dict[PeerId, tuple[int, bytes, int]] = {}
        self.bans: dict[PeerId, int] = {}

    def drop(self, peer: PeerId) -> None:
        gone = self.held.pop(peer).descriptor
        self.floors[peer] = (gone.sequence, gone.content, self.now + 3_720)

    def tick(self) -> None:
        for peer, each in sorted(self.held.items(), key=lambda pair: pair[1].worth):
            if each.descriptor.expires <= self.now:
                self.drop(peer)
        self.floors = {p: floor for p, floor in self.floors.items() if floor[2] > self.now}

    @rule(seconds=st.integers(0, 1_500))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        self.tick()
        self.store.expire(self.now)

    @rule(
        key=st.integers(0, 5),
        sequence=st.integers(0, 3),
        life=st.sampled_from([600, 1_200, 3_600]),
        network=st.sampled_from(["", "n1"]),
        teller=st.sampled_from(["", "t1", "t2"]),
    )
    def add(self, key: int, sequence: int, life: int, network: str, teller: str) -> None:
        said = signed(key, sequence, life)
        verdict = self.expected(said, network, teller)
        assert self.store.add(said, Origin(network, teller), self.now).verdict is verdict

    def expected(self, said: Descriptor, network: str, teller: str) -> Verdict:
        peer, known = said.peer, self.held.get(said.peer)
        if known is not None and known.descriptor.content == said.content:
            if not teller and not known.first_hand:
                del self.held[peer]
                self.place(Modelled(said, True, network, teller))
            return Verdict.KNOWN
        if known is not None and said.sequence < known.descriptor.sequence:
            return Verdict.SUPERSEDED
        if known is None:
            if self.now < self.bans.get(peer, 0):
                return Verdict.REFUSED
            floor = self.floors.get(peer)
            if floor is not None and said.sequence <= floor[0] and said.content != floor[1]:
                return Verdict.SUPERSEDED
        if said.expires <= self.now:
            return Verdict.REFUSED
        if known is not None and said.sequence == known.descriptor.sequence:
            self.drop(peer)
            self.bans[peer] = max(said.expires, known.descriptor.expires)
            return Verdict.SUPERSEDED
        new = Modelled(said, not teller, network, teller)
        if known is not None:
            del self.held[peer]
            if known.first_hand and teller:
                new = dataclasses.replace(known, descriptor=said)
        self.place(new)
        return Verdict.KEPT if peer in self.held else Verdict.REFUSED

    def place(self, new: Modelled) -> None:
        self.held[new.descriptor.peer] = new
        near = [each for each in self.held.values() if new.network and each.network == new.network]
        if len(near) > self.limits.per_network:
            least = min(near, key=lambda e: (e.first_hand, e.descriptor.expires, e.descriptor.peer))
            self.drop(least.descriptor.peer)
        told = [each for each in self.held.values() if new.teller and each.teller == new.teller]
        if len(told) > self.limits.per_teller:
            self.drop(told[0].descriptor.peer)
        if len(self.held) > self.limits.held:
            self.drop(min(self.held.values(), key=lambda each: each.worth).descriptor.peer)

    @invariant()
    def the_same_is_held(self) -> None:
        found = {each.peer: each for each in self.store.all(self.now)}
        assert found == {peer: each.descriptor for peer, each in self.held.items()}
        assert all(self.store.is_first_hand(p) == each.first_hand for p, each in self.held.items())
        assert self.store.held_bytes == sum(len(each.raw) for each in found.values())
        counts: dict[str, int] = {}
        for each in found.values():
            for role in each.roles:
                counts[role] = counts.get(role, 0) + 1
        assert self.store.roles == counts
        assert len(self.store) <= self.limits.held


TestStore = StoreAgainstModel.TestCase
TestStore.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
