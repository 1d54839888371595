"""Group logs: any interleaving, loss and repetition of messages between replicas converges."""

from __future__ import annotations

import importlib
import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fogp2p.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from fogp2p.identity import ephemeral
from fogp2p.protocols.log.config import LEAF, MAX_FRAME_BYTES, MAX_PARTS
from fogp2p.protocols.log.entries import (
    Admit,
    Entry,
    Kind,
    Remove,
    Role,
    decode_entry,
    encode_body,
    is_signed,
    seal_entry,
)
from fogp2p.protocols.log.machine import Placed, Replica, VerdictChanged, found_draft
from fogp2p.protocols.log.membership import Verdict
from fogp2p.protocols.log.messages import (
    Entries,
    LogMessage,
    Query,
    decode_message,
    encode_message,
)
from fogp2p.protocols.log.reconcile import Asker, RangeIndex, answer
from fogp2p.protocols.log.sync import PeerSync, Push, Say


def _reader() -> Any:
    """The specification written again without the library, for verdicts."""
    folder = Path(__file__).parent.parent / "conformance" / "readers"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        return importlib.import_module("log")


NAIVE = _reader()
IDENTITIES = [ephemeral(random.Random(f"log/{n}")) for n in range(7)]
KEYS = [identity.peer_id.ed25519 or b"" for identity in IDENTITIES]


@dataclass
class Peer:
    """A replica, what it wrote to disk, and what it said was delivered."""

    number: int
    group: bytes
    replica: Replica = field(init=False)
    disk: list[bytes] = field(default_factory=list)
    verdicts: dict[bytes, Verdict] = field(default_factory=dict)
    syncs: dict[int, PeerSync] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.replica = Replica(self.group)

    def take(self, entry: Entry) -> None:
        assert is_signed(entry)
        try:
            events = self.replica.ingest(entry)
        except (RemoteProtocolError, LimitExceeded):
            return
        for event in events:
            match event:
                case Placed(entry=placed, number=number, verdict=verdict):
                    assert number == len(self.disk) + 1, "exactly once, in order"
                    assert placed.id not in self.verdicts
                    assert all(name in self.verdicts for name in placed.past), "parents first"
                    self.disk.append(placed.data)
                    self.verdicts[placed.id] = verdict
                case VerdictChanged(id=name, verdict=verdict):
                    assert self.verdicts[name] is not verdict
                    self.verdicts[name] = verdict
                case _:
                    pass

    def restart(self) -> None:
        """Kill and start again: only the disk is left."""
        before = self.replica
        self.replica = Replica(self.group)
        written, self.disk, self.verdicts = self.disk, [], {}
        for data in written:
            self.take(decode_entry(data))
        assert self.disk == written
        assert self.replica.verdicts() == before.verdicts()
        self.syncs.clear()

    def write(self, kind: Kind, body: bytes, also: tuple[bytes, ...] = ()) -> None:
        identity = IDENTITIES[self.number]
        epoch = self.group if kind is Kind.MESSAGE else None
        try:
            draft = self.replica.draft(KEYS[self.number], kind, body, epoch=epoch, also=also)
            self.take(seal_entry(draft, identity.sign))
        except LocalProtocolError:
            return


class Network:
    """Peers, and the messages under way between them."""

    def __init__(self, count: int, seed: int) -> None:
        self.random = random.Random(seed)
        nonce = self.random.randbytes(16)
        found = seal_entry(found_draft(KEYS[0], "group", nonce), IDENTITIES[0].sign)
        self.peers = [Peer(n, found.id) for n in range(count)]
        self.flying: list[tuple[int, int, bytes]] = []
        self.now = 0.0
        self.bytes = 0
        for peer in self.peers:
            peer.take(found)

    def sync(self, mine: int, theirs: int) -> PeerSync:
        peer = self.peers[mine]
        if theirs not in peer.syncs:
            peer.syncs[theirs] = PeerSync(
                peer.replica, is_asker=mine < theirs, draw=self.random.randbytes
            )
        return peer.syncs[theirs]

    def send(self, source: int, target: int, message: LogMessage) -> None:
        data = encode_message(message)
        self.bytes += len(data)
        self.flying.append((source, target, data))

    def flush(self, mine: int, theirs: int) -> None:
        sync, peer = self.sync(mine, theirs), self.peers[mine]
        while (reply := sync.answer_next()) is not None:
            self.send(mine, theirs, reply)
        while sync.actions:
            match sync.actions.popleft():
                case Say(message=message):
                    self.send(mine, theirs, message)
                case Push(ids=ids):
                    by_id = {decode_entry(data).id: data for data in peer.disk}
                    found = tuple(by_id[name] for name in ids if name in by_id)
                    for at in range(0, len(found), 16):
                        self.send(mine, theirs, Entries(peer.group, found[at : at + 16]))
                    sync.pushed(self.now)

    def deliver(self, at: int, *, keep: bool = False) -> None:
        source, target, data = self.flying[at] if keep else self.flying.pop(at)
        peer, sync = self.peers[target], self.sync(target, source)
        message = decode_message(data)
        if isinstance(message, Entries):
            entries = [decode_entry(each) for each in message.entries]
            for entry in entries:
                peer.take(entry)
            sync.took(entries, self.now)
        else:
            try:
                sync.receive(message, self.now)
            except RemoteProtocolError as exc:
                assert exc.code == "log-flood"  # repeated queries; the stream would end
        self.flush(target, source)

    def tell(self, mine: int, theirs: int) -> None:
        self.sync(mine, theirs).repeat()
        self.flush(mine, theirs)

    def settle(self, links: list[tuple[int, int]] | None = None) -> None:
        """No more loss: everything arrives, frontiers are repeated, until nothing changes."""
        pairs = links or [
            (a, b) for a in range(len(self.peers)) for b in range(len(self.peers)) if a != b
        ]
        for _ in range(40):
            self.now += 60
            for a, b in pairs:
                self.sync(a, b).handle_time(self.now)
                self.tell(a, b)
            steps = 0
            while self.flying:
                self.deliver(0)
                steps += 1
                assert steps < 20_000, "the peers never fall silent"
            if len({peer.replica.fingerprint for peer in self.peers}) == 1:
                return
        raise AssertionError("no convergence")


def act(network: Network, peer: Peer, choice: int, other: int) -> None:
    """One random deed of a peer."""
    key = KEYS[other]
    if choice < 4:
        peer.write(Kind.MESSAGE, network.random.randbytes(8))
    elif choice == 4:
        me = peer.replica.members.get(KEYS[peer.number])
        level = (me.level if me else 0) + network.random.randint(1, 2)
        role = Role.ADMIT if network.random.random() < 0.6 else Role.WRITE
        peer.write(Kind.ADMIT, encode_body(Admit(key, role, level)))
    elif choice == 5:
        last = peer.replica.latest(key)
        also = (last,) if last is not None else ()
        peer.write(Kind.REMOVE, encode_body(Remove(key, last)), also)
    elif choice == 6 and network.random.random() < 0.3:
        peer.write(Kind.LEAVE, b"")
    elif choice == 7:
        fork(network, peer)
    elif choice == 8:
        peer.restart()


def fork(network: Network, peer: Peer) -> None:
    """Write two entries at one position; one goes to a peer, the other stays here."""
    try:
        draft = peer.replica.draft(
            KEYS[peer.number], Kind.MESSAGE, network.random.randbytes(8), epoch=peer.group
        )
    except LocalProtocolError:
        return
    other = seal_entry(draft, IDENTITIES[peer.number].sign)
    peer.write(Kind.MESSAGE, b"the other one")
    network.random.choice(network.peers).take(other)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    count=st.integers(2, 6),
    seed=st.integers(0, 2**32),
    steps=st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 10**6), st.integers(0, 10**6)), max_size=120
    ),
)
@pytest.mark.spec("LOG-030", "LOG-040", "LOG-041", "LOG-050", "LOG-051", "LOG-052", "LOG-053")
@pytest.mark.attack(120)
def test_replicas_converge_whatever_happens(
    count: int, seed: int, steps: list[tuple[int, int, int]]
) -> None:
    network = Network(count, seed)
    founder = network.peers[0]
    for n in range(1, count):
        founder.write(Kind.ADMIT, encode_body(Admit(KEYS[n], Role.ADMIT, 1 + n % 2)))
    for choice, x, y in steps:
        peer = network.peers[x % count]
        if choice <= 8:
            act(network, peer, choice, y % count)
        elif choice <= 12 and count > 1:
            network.tell(peer.number, (peer.number + 1 + y % (count - 1)) % count)
        elif network.flying:
            at = x % len(network.flying)
            if choice <= 15:
                network.flying.pop(at)  # lost
            else:
                network.deliver(at, keep=choice <= 18)  # perhaps to come again
        if len(network.flying) > 200:
            network.flying.clear()
    network.settle()
    first = network.peers[0].replica
    naive = NAIVE.Log([NAIVE.Entry(data) for data in network.peers[0].disk])
    assert {name: verdict.value for name, verdict in first.verdicts().items()} == {
        name: naive.verdict(entry) for name, entry in naive.entries.items()
    }
    for peer in network.peers:
        assert peer.replica.verdicts() == first.verdicts()
        assert peer.verdicts == peer.replica.verdicts()
        assert peer.replica.members == first.members
        assert {(f.author, f.position) for f in peer.replica.forks.values()} == {
            (f.author, f.position) for f in first.forks.values()
        }
        peer.restart()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), common=st.integers(0, 400), apart=st.integers(0, 40))
def test_ranges_find_the_difference_exactly(seed: int, common: int, apart: int) -> None:
    source = random.Random(seed)
    keys = [source.randint(0, 60).to_bytes(4) + source.randbytes(32) for _ in range(common)]
    one, other = RangeIndex(), RangeIndex()
    mine, theirs = set(keys), set(keys)
    for _ in range(apart):
        key = source.randint(0, 60).to_bytes(4) + source.randbytes(32)
        (mine if source.random() < 0.5 else theirs).add(key)
    for key in mine:
        one.add(key)
    for key in theirs:
        other.add(key)
    assert one.keys() == sorted(mine) and len(other) == len(theirs)
    asker = Asker(one, bytes(32), source.randbytes(8))
    while (query := asker.next_query()) is not None:
        reply = answer(other, query)
        assert asker.receive(reply)
        assert not asker.receive(reply), "a repeated reply changes nothing"
    assert sorted(asker.need) == sorted(key[4:] for key in theirs - mine)
    assert sorted(asker.have) == sorted(key[4:] for key in mine - theirs)
    assert (one.whole() == other.whole()) == (mine == theirs)
    assert len(mine) <= LEAF or len(one.cuts(b"", b"\xff", MAX_PARTS)) <= MAX_PARTS


VECTORS = Path(__file__).parent.parent.parent / "specs" / "log" / "vectors" / "v1"
SEEDS = [
    bytes.fromhex(case["encoded"])
    for name in ("entries", "messages")
    for case in json.loads((VECTORS / f"{name}.json").read_text("ascii"))["valid"]
]


@settings(max_examples=400, deadline=None)
@given(
    base=st.sampled_from([b"", *SEEDS]),
    at=st.integers(0, 600),
    patch=st.binary(max_size=12),
    cut=st.integers(0, 8),
)
@pytest.mark.attack(122)
def test_whatever_comes_only_remote_errors_leave(
    base: bytes, at: int, patch: bytes, cut: int
) -> None:
    """The twin of tests/fuzz/fuzz_log.py: mutations of good entries and messages."""
    data = base[:at] + patch + base[at + len(patch) : len(base) - cut]
    replica = Replica(bytes(32))
    try:
        entry = decode_entry(data)
        assert entry.data == data
        replica.ingest(entry)
    except RemoteProtocolError:
        assert len(replica) == 0
    try:
        message = decode_message(data)
        assert encode_message(message) == data
        if isinstance(message, Query):
            assert len(encode_message(answer(RangeIndex(), message))) < MAX_FRAME_BYTES
    except RemoteProtocolError:
        return
