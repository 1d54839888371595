"""Hostile members, carriers and strangers against group logs."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import pairwise

import pytest
import trio

from fogp2p.codec import encode
from fogp2p.environment import within
from fogp2p.errors import LimitExceeded, RemoteProtocolError, TransportError
from fogp2p.framing import FrameDecoder, encode_frame, encode_varint, read_frame
from fogp2p.host import Stream
from fogp2p.identity import ephemeral
from fogp2p.protocols.log import PROTOCOL_ID, Group, Logs, MemoryStorage, Role, open_logs
from fogp2p.protocols.log.conduct import Bucket, Conduct
from fogp2p.protocols.log.config import (
    BARRED_ABOVE,
    MAX_CONDUCT,
    MAX_FOUND,
    MAX_HIDDEN_PER_AUTHOR,
    MAX_OWED,
    MAX_PENDING,
    MAX_PENDING_BYTES,
    MAX_PENDING_PER_AUTHOR,
    MAX_PENDING_STRANGERS,
    MAX_QUERIES,
)
from fogp2p.protocols.log.entries import (
    Admit,
    Draft,
    Entry,
    ForkProof,
    Kind,
    Remove,
    decode_entry,
    encode_body,
    seal_entry,
)
from fogp2p.protocols.log.machine import Replica, found_draft
from fogp2p.protocols.log.membership import Verdict
from fogp2p.protocols.log.messages import (
    Entries,
    Frontier,
    Interest,
    Listed,
    LogMessage,
    Part,
    Query,
    Range,
    Reply,
    Split,
    Want,
    decode_message,
    encode_message,
    interest_tag,
)
from fogp2p.protocols.log.pending import Pending
from fogp2p.protocols.log.reconcile import END, Asker, RangeIndex, answer
from fogp2p.protocols.log.sync import PeerSync
from fogp2p.testing import sim_environment
from fogp2p.transports.memory import MemoryNetwork
from fogp2p.transports.memory.host import MemoryHost

# The attacker's id is the smallest: it opens the stream.
KEYS = sorted(
    (ephemeral(random.Random(f"attack/{n}")) for n in range(6)), key=lambda keys: keys.peer_id
)
RAW = [keys.peer_id.ed25519 or b"" for keys in KEYS]
EVE, ADA, BEN, DAN = range(4)


class Scene:
    """A victim with a group of one, and an attacker with a host and nothing else."""

    def __init__(self, host: MemoryHost, logs: Logs, group: Group, attacker: MemoryHost) -> None:
        self.host, self.logs, self.group, self.attacker = host, logs, group, attacker

    async def stream(self, *messages: LogMessage) -> Stream:
        """A stream of the attacker that knows the group, with these messages on it."""
        stream = await self.attacker.open_stream(
            self.host.peer_id, [PROTOCOL_ID], deadline=within(10)
        )
        tag = interest_tag(self.group.id, self.attacker.peer_id.raw)
        with suppress(TransportError):  # it may have ended already, by right
            for message in (Interest((tag,)), *messages):
                await stream.write_all(encode_frame(encode_message(message)))
        return stream

    async def ends(self, stream: Stream) -> bool:
        """Whether the victim ends the stream soon."""
        with trio.move_on_after(120):
            try:
                while await stream.read_some():
                    pass
            except TransportError:
                pass
            return True
        return False

    def blame(self) -> float:
        return self.logs.points(self.attacker.peer_id)


@asynccontextmanager
async def scene(seed: int) -> AsyncIterator[Scene]:
    network = MemoryNetwork(seed=seed)
    async with (
        network.open_host(KEYS[ADA]) as host,
        open_logs(host, KEYS[ADA], MemoryStorage(), sim_environment(seed, "ada")) as logs,
        network.open_host(KEYS[EVE]) as attacker,
    ):
        group = await logs.create("g")
        await attacker.connect(host.peer_id, host.addresses, deadline=within(10))
        yield Scene(host, logs, group, attacker)
        await group.append(b"still writing")
        # Whatever came, an honest peer is served.
        async with (
            network.open_host(KEYS[BEN]) as friend,
            open_logs(friend, KEYS[BEN], MemoryStorage(), sim_environment(seed, "ben")) as bens,
        ):
            await friend.connect(host.peer_id, host.addresses, deadline=within(10))
            copy = await bens.open(group.id)
            with trio.fail_after(60):
                while copy.replica.fingerprint != group.replica.fingerprint:  # noqa: ASYNC110
                    await trio.sleep(0.1)


def message_by(author: int, group: bytes, *parents: Entry, position: int = 0) -> Entry:
    """A message that claims to follow these."""
    height = 1 + max(parent.height for parent in parents)
    names = tuple(sorted(parent.id for parent in parents))
    draft = Draft(
        group, RAW[author], position, None, names, height, 0, Kind.MESSAGE, bytes(32), b"x"
    )
    return seal_entry(draft, KEYS[author].sign)


def chain(author: int, group: bytes, length: int, *, size: int = 100) -> list[Entry]:
    """Entries of one author behind a parent that nobody has."""
    made: list[Entry] = []
    for position in range(length):
        draft = Draft(
            group,
            RAW[author],
            position,
            made[-1].id if made else None,
            () if made else (b"\x77" * 32,),
            9 + position,
            0,
            Kind.MESSAGE,
            bytes(32),
            bytes(size),
        )
        made.append(seal_entry(draft, KEYS[author].sign))
    return made


def big_frontier(group: bytes, count: int) -> bytes:
    return encode([2, group, count, bytes(32), [bytes([n]) * 32 for n in range(64)], False])


@pytest.mark.attack(121)
@pytest.mark.spec("LOG-001", "LOG-003", "LOG-066")
async def test_forged_entries_cost_the_sender_its_stream_and_then_its_standing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with scene(1) as s:
        founding = decode_entry((await s.logs._storage.read(s.group.id, 0, 1))[0].data)
        forged = message_by(EVE, s.group.id, founding)
        forged_data = forged.data[:-1] + bytes([forged.data[-1] ^ 1])
        before = len(s.group.replica)
        for _ in range(5):
            stream = await s.stream(Entries(s.group.id, (forged_data,)))
            assert await s.ends(stream)
        assert s.blame() > BARRED_ABOVE
        # Barred: not even an honest frontier is listened to.
        stream = await s.stream()
        assert await s.ends(stream)
        assert len(s.group.replica) == before


@pytest.mark.attack(121)
@pytest.mark.spec("LOG-021")
async def test_a_stranger_writes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with scene(2) as s:
        founding = decode_entry((await s.logs._storage.read(s.group.id, 0, 1))[0].data)
        stream = await s.stream(Entries(s.group.id, (message_by(EVE, s.group.id, founding).data,)))
        assert await s.ends(stream)
        assert s.blame() >= 25 and len(s.group.replica) == 1


@pytest.mark.attack(122)
@pytest.mark.spec("LOG-003", "LOG-061")
@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(lambda g: big_frontier(g, 10_000_000), id="ten million entries"),
        pytest.param(lambda g: big_frontier(g, 63), id="more heads than entries"),
        pytest.param(
            lambda g: encode([2, g, 100, bytes(32), [bytes([n]) * 32 for n in range(65)], False]),
            id="65 heads",
        ),
        pytest.param(
            lambda g: encode([2, g, 100, bytes(32), [b"\2" * 32, b"\1" * 32], False]),
            id="heads not sorted",
        ),
        pytest.param(lambda g: encode([6, g, [bytes(17_501)]]), id="an entry too large"),
        pytest.param(
            lambda g: encode([3, g, bytes(8), 1, [[b"\5", b"\7", 0], [b"\6", b"\x08", 0]]]),
            id="overlapping ranges",
        ),
        pytest.param(lambda g: encode([3, g, bytes(8), 1, [[b"\5", b"\5", 0]]]), id="empty range"),
        pytest.param(
            lambda g: encode([3, g, bytes(8), 1, [[b"\5", b"\4", 1]]]), id="range backwards"
        ),
        pytest.param(
            lambda g: encode(
                [3, g, bytes(8), 1, [[bytes([n]), bytes([n + 1]), 0] for n in range(17)]]
            ),
            id="17 ranges",
        ),
        pytest.param(lambda g: encode([5, g, [bytes(32), bytes(32)]]), id="wanted twice"),
        pytest.param(lambda g: encode([7, g]), id="no such message"),
        pytest.param(lambda g: b"\xff" * 20, id="garbage"),
    ],
)
async def test_hostile_messages_end_the_stream_and_are_held_against_the_sender(
    frame: object, autojump_clock: trio.testing.MockClock
) -> None:
    async with scene(3) as s:
        stream = await s.stream()
        await stream.write_all(encode_frame(frame(s.group.id)))  # type: ignore[operator]
        assert await s.ends(stream)
        assert s.blame() == pytest.approx(25, abs=6)


@pytest.mark.attack(122)
async def test_a_frame_of_a_gigabyte_is_refused_by_its_length(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with scene(4) as s:
        stream = await s.stream()
        tracemalloc.start()
        await stream.write_all(encode_varint(1 << 30) + bytes(1000))
        assert await s.ends(stream)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 * 1024 * 1024 and s.blame() >= 20


@pytest.mark.attack(122)
async def test_invented_ids_are_broken_promises(autojump_clock: trio.testing.MockClock) -> None:
    async with scene(5) as s:
        frontier = Frontier(s.group.id, 40, b"\1" * 32, (b"\x01" * 32,))
        await s.stream(frontier)
        await trio.sleep(20)
        assert 4 < s.blame() < 6


@pytest.mark.attack(123)
@pytest.mark.spec("LOG-064")
async def test_floods_of_wants_and_queries_are_cut(autojump_clock: trio.testing.MockClock) -> None:
    async with scene(6) as s:
        for _ in range(256):
            await s.group.append(bytes(200))
        ids = tuple(s.group.replica.in_order(list(s.group.replica.verdicts())))[-256:]
        stream = await s.stream(*[Want(s.group.id, ids) for _ in range(MAX_OWED // 256 + 8)])
        assert await s.ends(stream)
        whole = (Range(b"", END, False),)
        stream = await s.stream(*[Query(s.group.id, bytes(8), n, whole) for n in range(40)])
        assert await s.ends(stream)
        assert s.blame() > 45


@pytest.mark.attack(123)
async def test_a_peer_that_does_not_read_costs_a_bounded_queue(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with scene(7) as s:
        for _ in range(40):
            await s.group.append(bytes(16_000))
        ids = s.group.replica.in_order(list(s.group.replica.verdicts()))
        # It wants everything, again and again, and never reads.
        await s.stream(*[Want(s.group.id, tuple(ids)) for _ in range(20)])
        await trio.sleep(5)
        assert 0 < s.logs.queued(s.attacker.peer_id) <= MAX_OWED
        await trio.sleep(40)
        assert s.logs.queued(s.attacker.peer_id) == 0, "given up"


def test_endless_rounds_end() -> None:
    """A peer that answers every question with another difference."""
    index = RangeIndex()
    for n in range(2_000):
        index.add(n.to_bytes(4) + random.Random(n).randbytes(32))
    asker, source = Asker(index, bytes(32), bytes(8)), random.Random(1)
    rounds = 0
    while (query := asker.next_query()) is not None:
        answers: list[Split | Listed] = []
        for asked in query.ranges:
            if asked.listed:
                answers.append(Listed((), asked.lower))  # "it did not fit, ask again"
            else:
                cut = index.cuts(asked.lower, asked.upper, 2)
                answers.append(Split(tuple(Part(x, 1_000_000, source.randbytes(16)) for x in cut)))
        asker.receive(Reply(bytes(32), bytes(8), query.number, tuple(answers)))
        rounds += 1
    assert rounds <= MAX_QUERIES and len(asker.need) + len(asker.have) <= 4 * MAX_FOUND


@pytest.mark.attack(122)
@pytest.mark.spec("LOG-063")
@pytest.mark.parametrize(
    "found",
    [
        Split((Part(b"\x05", 1, bytes(16)), Part(b"\x04", 1, bytes(16)))),
        Split((Part(b"\x05", 1, bytes(16)), Part(b"\x06", 1, bytes(16)))),
        Split((Part(b"\x05", 1, bytes(16)), Part(b"\xff\x01", 1, bytes(16)))),
        Listed((b"\1" * 32, b"\1" * 32), None),
        Listed((b"\1" * 32,), END),
        Listed((b"\1" * 32,), b"\xff\x05"),
    ],
)
def test_answers_that_do_not_fit_are_refused(found: Split | Listed) -> None:
    index = RangeIndex()
    index.add(bytes(36))
    asker = Asker(index, bytes(32), bytes(8))
    query = asker.next_query()
    assert query is not None
    with pytest.raises(RemoteProtocolError) as caught:
        asker.receive(Reply(bytes(32), bytes(8), query.number, (found,)))
    assert caught.value.code == "log-ranges"


def test_a_list_where_sixteen_ranges_are_full_is_cut() -> None:
    index = RangeIndex()
    for n in range(3_000):
        index.add(n.to_bytes(4) + bytes(32))
    bounds = [(n * 150).to_bytes(4) for n in range(17)]
    ranges = tuple(Range(a, b, True) for a, b in pairwise(bounds))
    reply = answer(index, Query(bytes(32), bytes(8), 1, ranges))
    listed = [each for each in reply.answers if isinstance(each, Listed)]
    assert sum(len(each.ids) for each in listed) == 512
    assert listed[-1].cut == ranges[-1].lower and listed[0].cut is None
    assert len(encode_message(reply)) < 20_000


# --- pure machines -------------------------------------------------------------------------------


@pytest.mark.attack(124)
@pytest.mark.spec("LOG-012")
def test_entries_without_parents_are_bounded() -> None:
    pending = Pending()
    for entry in reversed(chain(EVE, bytes(32), 400)):
        pending.add(entry, is_stranger=True)
    assert len(pending) == MAX_PENDING_STRANGERS
    # What is left is what comes first.
    assert chain(EVE, bytes(32), 1)[0].id in pending
    pending = Pending()
    for author in range(6):
        for entry in chain(author, bytes(32), 300):
            pending.add(entry, is_stranger=False)
    assert len(pending) == MAX_PENDING and pending.evicted == 1_800 - MAX_PENDING
    assert MAX_PENDING_PER_AUTHOR * 6 > MAX_PENDING
    pending = Pending()
    for author in range(3):
        for entry in chain(author, bytes(32), 200, size=16_000):
            pending.add(entry, is_stranger=False)
    assert pending.bytes <= MAX_PENDING_BYTES
    for author in range(3):
        for entry in chain(author, bytes(32), 200, size=16_000):
            pending.remove(entry.id)
    assert (len(pending), pending.bytes) == (0, 0)
    assert not pending._waiters and not pending._by_author and not pending._strangers


class Book:
    """A replica, and its owner's hand."""

    def __init__(self) -> None:
        founding = seal_entry(found_draft(RAW[ADA], "g", bytes(16)), KEYS[ADA].sign)
        self.replica = Replica(founding.id)
        self.entries: list[Entry] = []
        self.take(founding)

    def copy(self) -> Book:
        other = Book.__new__(Book)
        other.replica, other.entries = Replica(self.replica.group), []
        for entry in self.entries:
            other.take(entry)
        return other

    def take(self, entry: Entry) -> None:
        self.replica.ingest(entry)
        self.entries.append(entry)

    def write(
        self, author: int, kind: Kind, body: bytes = b"", also: Sequence[bytes] = ()
    ) -> Entry:
        epoch = bytes(32) if kind is Kind.MESSAGE else None
        draft = self.replica.draft(RAW[author], kind, body, epoch=epoch, also=also)
        entry = seal_entry(draft, KEYS[author].sign)
        self.take(entry)
        return entry

    def admit(self, by: int, who: int, role: Role, level: int) -> Entry:
        return self.write(by, Kind.ADMIT, encode_body(Admit(RAW[who], role, level)))

    def remove(self, by: int, who: int) -> Entry:
        last = self.replica.latest(RAW[who])
        also = () if last is None else (last,)
        return self.write(by, Kind.REMOVE, encode_body(Remove(RAW[who], last)), also)

    def verdict(self, entry: Entry) -> Verdict:
        node = self.replica.node(entry.id)
        assert node is not None
        return node.verdict


def join(*books: Book) -> None:
    """Give everybody everything, in different orders."""
    every = {entry.id: entry for book in books for entry in book.entries}
    for n, book in enumerate(books):
        ordered = sorted(every.values(), key=lambda e: (e.height, e.id), reverse=bool(n % 2))
        for entry in ordered:
            if entry.id not in book.replica:
                book.replica.ingest(entry)
        book.entries = sorted(every.values(), key=lambda e: (e.height, e.id))
    assert all(b.replica.verdicts() == books[0].replica.verdicts() for b in books)
    assert all(b.replica.members == books[0].replica.members for b in books)


@pytest.mark.attack(125)
@pytest.mark.spec("LOG-031", "LOG-032")
def test_a_removed_member_cannot_back_date() -> None:
    one = Book()
    one.admit(ADA, EVE, Role.WRITE, 1)
    early = one.write(EVE, Kind.MESSAGE, b"early")
    two = one.copy()
    one.remove(ADA, EVE)
    # Eve writes on, on her old branch, as if she had not heard.
    late = [two.write(EVE, Kind.MESSAGE, b"late %d" % n) for n in range(5)]
    join(one, two)
    assert one.verdict(early) is Verdict.STANDS
    assert {one.verdict(each) for each in late} == {Verdict.REMOVED}
    with pytest.raises(RemoteProtocolError) as caught:
        heads = one.replica.heads()
        parents = tuple(sorted(set(heads) - {late[-1].id}))
        height = 1 + max(one.replica.node(name).height for name in heads)  # type: ignore[union-attr]
        knowing = Draft(
            one.replica.group, RAW[EVE], 6, late[-1].id, parents, height, 0, 5, bytes(32), b""
        )
        one.replica.ingest(seal_entry(knowing, KEYS[EVE].sign))
    assert caught.value.code == "log-member"


@pytest.mark.attack(125)
@pytest.mark.spec("LOG-020", "LOG-030", "LOG-033")
def test_two_who_remove_each_other() -> None:
    one = Book()
    one.admit(ADA, BEN, Role.ADMIT, 1)
    one.admit(ADA, EVE, Role.ADMIT, 2)
    one.admit(ADA, DAN, Role.ADMIT, 2)
    two, three = one.copy(), one.copy()
    bens = one.remove(BEN, EVE)
    eves = two.remove(EVE, BEN)  # permitted to be written, without effect: ben is above her
    brought = two.admit(EVE, 4, Role.WRITE, 3)
    equal = three.remove(DAN, EVE)  # an equal: without effect
    join(one, two, three)
    members = one.replica.members
    assert {RAW[ADA], RAW[BEN], RAW[DAN]} == set(members)
    assert one.verdict(bens) is Verdict.STANDS
    assert one.verdict(eves) is Verdict.REMOVED and one.verdict(brought) is Verdict.REMOVED
    assert one.verdict(equal) is Verdict.STANDS
    again = one.admit(ADA, EVE, Role.WRITE, 5)
    assert one.verdict(again) is Verdict.STANDS and RAW[EVE] in one.replica.members
    assert one.verdict(one.write(EVE, Kind.MESSAGE, b"back")) is Verdict.STANDS


@pytest.mark.attack(125)
def test_a_removal_that_was_not_permitted_falls_and_its_target_stands_again() -> None:
    one = Book()
    one.admit(ADA, BEN, Role.ADMIT, 1)
    one.admit(ADA, EVE, Role.WRITE, 2)
    two = one.copy()
    one.remove(BEN, EVE)
    said = two.write(EVE, Kind.MESSAGE, b"what?")
    two.remove(ADA, BEN)
    for entry in two.entries:
        if entry.id == said.id:
            one.replica.ingest(entry)
    assert one.verdict(said) is Verdict.REMOVED
    join(one, two)
    assert one.verdict(said) is Verdict.STANDS and set(one.replica.members) == {RAW[ADA], RAW[EVE]}


@pytest.mark.attack(126)
@pytest.mark.spec("LOG-034", "LOG-040")
def test_a_fork_mutes_its_author_and_undoes_no_removal() -> None:
    one = Book()
    one.admit(ADA, BEN, Role.ADMIT, 1)
    one.admit(ADA, EVE, Role.WRITE, 2)
    before = one.write(BEN, Kind.MESSAGE, b"before")
    two = one.copy()
    removal = one.remove(BEN, EVE)
    brought = one.admit(BEN, DAN, Role.WRITE, 3)
    leave = two.write(BEN, Kind.LEAVE)  # the other branch claims that he had left
    join(one, two)
    assert one.verdict(before) is Verdict.STANDS
    assert one.verdict(removal) is Verdict.STANDS, "a fork brings nobody back"
    assert one.verdict(brought) is Verdict.MUTED and one.verdict(leave) is Verdict.MUTED
    assert RAW[EVE] not in one.replica.members and RAW[DAN] not in one.replica.members
    proof = ForkProof(removal.data, leave.data)
    assert proof.culprit() == (one.replica.group, RAW[BEN], 1)
    for first, second in (
        (removal.data, removal.data),
        (removal.data, before.data),
        (removal.data, leave.data[:-1] + bytes([leave.data[-1] ^ 1])),
    ):
        with pytest.raises(RemoteProtocolError) as caught:
            ForkProof(first, second).culprit()
        assert caught.value.code == "log-proof"


@pytest.mark.attack(126)
@pytest.mark.spec("LOG-034")
def test_what_a_removed_member_can_make_us_keep_is_bounded() -> None:
    one = Book()
    one.admit(ADA, EVE, Role.WRITE, 1)
    two = one.copy()
    one.remove(ADA, EVE)
    refused = 0
    for n in range(MAX_HIDDEN_PER_AUTHOR + 20):
        entry = two.write(EVE, Kind.MESSAGE, b"%d" % n)
        try:
            one.replica.ingest(entry)
        except LimitExceeded:
            refused += 1
            assert one.replica.is_known(entry.id), "not asked for again"
            break
    assert refused == 1 and len(one.replica) == 3 + MAX_HIDDEN_PER_AUTHOR


@pytest.mark.spec("LOG-066")
def test_conduct_is_bounded_and_forgotten() -> None:
    conduct = Conduct()
    for n in range(MAX_CONDUCT + 50):
        conduct.blame(ephemeral(random.Random(n)).peer_id, 1.0, 0.0)
    assert len(conduct) == MAX_CONDUCT
    peer = KEYS[EVE].peer_id
    conduct.blame(peer, BARRED_ABOVE * 1.5, 0.0)
    assert conduct.is_barred(peer, 0.0) and not conduct.is_barred(peer, 600.0)
    bucket = Bucket(10.0, 3.0, 0.0)
    assert [bucket.wait_s(0.0) for _ in range(4)] == pytest.approx([0, 0, 0, 0.1])


def test_refused_entries_do_not_make_two_peers_compare_for_ever() -> None:
    one = Book()
    one.admit(ADA, EVE, Role.WRITE, 1)
    two = one.copy()
    one.remove(ADA, EVE)
    for n in range(MAX_HIDDEN_PER_AUTHOR + 20):
        two.write(EVE, Kind.MESSAGE, b"%d" % n)
    source = random.Random(1)
    sides = [
        PeerSync(book.replica, is_asker=not n, draw=source.randbytes)
        for n, book in enumerate((one, two))
    ]
    data = {entry.id: entry for book in (one, two) for entry in book.entries}
    for side in sides:
        side.repeat()
    turns = 0
    for _ in range(400):
        turns += 1
        moved = False
        for n, side in enumerate(sides):
            other, book = sides[1 - n], (one, two)[1 - n]
            while (reply := side.answer_next()) is not None:
                other.receive(reply, 0.0)
                moved = True
            while side.actions:
                moved = True
                action = side.actions.popleft()
                if hasattr(action, "message"):
                    other.receive(decode_message(encode_message(action.message)), 0.0)
                    continue
                sent = [data[name] for name in action.ids]
                for entry in sent:
                    with suppress(LimitExceeded):
                        book.replica.ingest(entry)
                other.took(sent, 0.0)
                side.pushed(0.0)
        if not moved:
            break
    assert turns < 100, "they fall silent although they differ"
    assert len(one.replica) < len(two.replica)


async def test_only_the_smaller_id_opens_the_stream(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = MemoryNetwork(seed=9)
    async with (
        network.open_host(KEYS[ADA]) as host,
        open_logs(host, KEYS[ADA], MemoryStorage(), sim_environment(9, "ada")),
        network.open_host(KEYS[BEN]) as attacker,
    ):
        await attacker.connect(host.peer_id, host.addresses, deadline=within(10))
        stream = await attacker.open_stream(host.peer_id, [PROTOCOL_ID], deadline=within(10))
        with pytest.raises(TransportError):
            while await read_frame(stream, FrameDecoder()):
                pass
