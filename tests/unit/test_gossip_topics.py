"""Gossipsub 1.2, rates, unusable messages, silent meshes, and what waits for peers and readers."""

from __future__ import annotations

import random

import pytest
import trio
from trio.testing import MockClock

from fogp2p.events import Gap
from fogp2p.host import Message
from fogp2p.identity import ephemeral
from fogp2p.ids import PeerId
from fogp2p.protocols.gossip import DROP_LABELS
from fogp2p.protocols.gossip.config import (
    COLLECT_S,
    IDONTWANT_FROM_BYTES,
    IDONTWANT_HEARTBEATS,
    MAX_HAS,
    MAX_IDONTWANT_PER_HEARTBEAT,
    OUTBOX,
    OUTBOX_AGE_S,
    OUTBOX_BYTES,
    SUBSCRIBER_BYTES,
    SUBSCRIBER_QUEUE,
    GossipConfig,
)
from fogp2p.protocols.gossip.machine import Router
from fogp2p.protocols.gossip.messages import (
    _TYPES,
    Envelope,
    Prune,
    Rpc,
    Subscription,
    is_verifiable,
)
from fogp2p.protocols.gossip.outbox import Outbox
from fogp2p.protocols.gossip.stats import Tally
from fogp2p.protocols.gossip.subscriber import Subscriber

OWN = PeerId.from_ed25519(bytes(32))
PEERS = [PeerId.from_ed25519(n.to_bytes(32)) for n in range(1, 100)]
AUTHOR = PEERS[50]
T = "/topic"
LARGE = bytes(IDONTWANT_FROM_BYTES)


def envelope(n: int, author: PeerId = AUTHOR, data: bytes = b"x") -> Envelope:
    return Envelope(author, n, T, data, b"signature")


def router(peers: int, *, v12: bool = True, **config: object) -> Router:
    made = Router(OWN, GossipConfig(**config), random.Random(1))  # type: ignore[arg-type]
    for peer in PEERS[:peers]:
        made.came(peer, is_outbound=False, address="", now=0.0, speaks_idontwant=v12)
        made.receive(peer, Rpc(subscriptions=(Subscription(T, True),)), 0.0)
    made.subscribe(T, 0.0)
    made.outgoing.clear()
    return made


def sent(made: Router, kind: str) -> list[PeerId]:
    return [peer for peer, rpc in made.outgoing if getattr(rpc, kind)]


# --- IDONTWANT -----------------------------------------------------------------------------------


def test_idontwant_has_the_bytes_of_the_specification() -> None:
    raw = Rpc(idontwant=(b"ab", b"c")).to_bytes()
    assert raw == bytes.fromhex("1a09 2a07 0a026162 0a0163")
    assert Rpc.from_bytes(raw) == Rpc(idontwant=(b"ab", b"c"))


@pytest.mark.spec("GOS-040")
@pytest.mark.parametrize(
    ("data", "v12", "told"), [(LARGE, True, 5), (LARGE[:-1], True, 0), (LARGE, False, 0)]
)
def test_large_messages_are_told_of_before_they_are_passed_on(
    data: bytes, v12: bool, told: int
) -> None:
    made = router(6, v12=v12)
    new = envelope(1, data=data)
    assert made.receive(PEERS[0], Rpc(publish=(new,)), 1.0) == [new]
    assert sent(made, "idontwant") == []  # nothing is said of a message that is not verified
    assert made.accept(new, PEERS[0], 1.0)
    assert len(sent(made, "idontwant")) == told and len(sent(made, "publish")) == 5
    kinds = [bool(rpc.idontwant) for _, rpc in made.outgoing]
    assert kinds == sorted(kinds, reverse=True)


@pytest.mark.spec("GOS-041")
def test_what_a_peer_does_not_want_or_sent_itself_is_not_sent_to_it() -> None:
    made = router(6)
    new = envelope(1)
    made.receive(PEERS[1], Rpc(idontwant=(new.id,)), 1.0)
    made.accept(new, PEERS[0], 1.0)
    assert set(sent(made, "publish")) == set(PEERS[2:6])
    made.receive(PEERS[2], Rpc(publish=(new,)), 1.1)
    assert made.has(PEERS[2], new.id) and not made.has(PEERS[3], new.id)
    for beat in range(IDONTWANT_HEARTBEATS):
        made.heartbeat(2.0 + beat)
    assert not made.has(PEERS[1], new.id)


@pytest.mark.spec("GOS-042")
@pytest.mark.attack(24)
def test_idontwant_spam_is_bounded_and_costs_the_score() -> None:
    made = router(2)
    for beat in range(8):
        for n in range(100):
            names = tuple(b"%d/%d/%d" % (beat, n, m) for m in range(50))
            made.receive(PEERS[0], Rpc(idontwant=names), beat + n / 200)
        assert len(made._peers[PEERS[0]].has) <= MAX_HAS
        made.heartbeat(beat + 0.9)
    assert made.is_muted(PEERS[0], 8.0) and not made.is_muted(PEERS[1], 8.0)
    assert PEERS[0] not in made.mesh[T]
    dropped = made.tally.drops["idontwant-rate"]
    assert dropped >= 7 * (5_000 - MAX_IDONTWANT_PER_HEARTBEAT)


# --- what is not read, and what is not verified --------------------------------------------------


def raw_message(**fields: bytes) -> bytes:
    message = _TYPES["Message"](**{"data": b"x", "signature": b"s", "topic": T.encode(), **fields})
    if not message.HasField("seqno"):
        message.seqno = bytes(8)
    setattr(message, "from", AUTHOR.raw)
    return bytes(message.SerializeToString())


@pytest.mark.spec("GOS-004")
@pytest.mark.parametrize(
    "raw",
    [
        raw_message(seqno=bytes(7)),
        raw_message(data=bytes(65_537)),
        raw_message(topic=b"\xff"),
        raw_message(topic=b"x" * 257),
        raw_message() + b"\x3a\x01x",
        raw_message(key=b""),
    ],
    ids=["number", "data", "utf-8", "topic", "unknown field", "empty key"],
)
def test_what_an_honest_relay_may_pass_on_costs_the_message_alone(raw: bytes) -> None:
    """go-libp2p passes such messages on: its streams must not be cut for what an author did."""
    good = envelope(2)
    rpc = _TYPES["Rpc"].FromString(Rpc(publish=(good,)).to_bytes())
    rpc.publish.add().MergeFromString(raw)
    found = Rpc.from_bytes(rpc.SerializeToString())
    assert found.publish == (good,) and found.unusable == 1
    made = router(1)
    assert made.receive(PEERS[0], found, 1.0) == [good]
    assert made.scores.score(PEERS[0], 1.0) >= 0 and made.tally.drops["unusable"] == 1


@pytest.mark.spec("GOS-005")
def test_known_messages_are_not_looked_at_further() -> None:
    new = envelope(1)
    raw = Rpc(publish=(new, envelope(2))).to_bytes()
    asked: list[bytes] = []

    def is_known(name: bytes) -> bool:
        asked.append(name)
        return name == new.id

    found = Rpc.from_bytes(raw, is_known)
    assert asked == [new.id, envelope(2).id]
    assert (found.publish, found.known) == ((envelope(2),), (new.id,))
    made = router(2)
    made.receive(PEERS[0], found, 1.0)
    assert made.tally.counts["duplicates"] == 1 and made.has(PEERS[0], new.id)


@pytest.mark.spec("GOS-006")
def test_keys_that_cannot_be_verified_are_known() -> None:
    assert is_verifiable(ephemeral(random.Random(1)).peer_id)
    assert not is_verifiable(PeerId.from_key_protobuf(bytes(300)))


@pytest.mark.spec("GOS-014")
def test_peers_in_a_prune_are_neither_read_nor_sent() -> None:
    rpc = _TYPES["Rpc"]()
    prune = rpc.control.prune.add(topicID=T.encode(), backoff=60)
    for n in range(1_000):
        prune.peers.add(peerID=PEERS[n % 99].raw, signedPeerRecord=bytes(100))
    assert Rpc.from_bytes(rpc.SerializeToString()).prune == (Prune(T, 60),)
    assert Rpc(prune=(Prune(T, 60),)).to_bytes() == bytes.fromhex("1a0c220a0a062f746f706963183c")


@pytest.mark.spec("GOS-022")
@pytest.mark.attack(26)
def test_one_peer_makes_us_verify_so_many_and_no_more() -> None:
    made = router(2, peer_rate=10.0, peer_burst=20.0)
    new = [
        len(made.receive(PEERS[0], Rpc(publish=(envelope(n),)), 1.0 + n / 1_000))
        for n in range(1_000)
    ]
    assert 20 <= sum(new) <= 31
    assert made.tally.drops["peer-rate"] == 1_000 - sum(new)
    assert made.receive(PEERS[1], Rpc(publish=(envelope(5_000),)), 2.0) != []
    made.went(PEERS[0], 3.0)
    assert PEERS[0] not in made.rates._peers


@pytest.mark.spec("GOS-022")
def test_topics_have_their_rate() -> None:
    rates = router(0, topic_rate=5.0, topic_burst=5.0, topic_rates={"slow": 1.0}).rates
    assert sum(rates.of_topic(T, 0.0) for _ in range(10)) == 5
    assert sum(rates.of_topic("slow", 0.0) for _ in range(10)) == 1
    assert rates.of_topic("slow", 1.0)
    rates.forget_topic("slow")
    assert set(rates._topics) == {T}


# --- silent meshes -------------------------------------------------------------------------------


@pytest.mark.spec("GOS-031")
@pytest.mark.attack(28)
@pytest.mark.parametrize("is_on", [True, False])
def test_a_mesh_that_brings_nothing_is_replaced_and_nobody_is_punished(is_on: bool) -> None:
    made = router(12, replace_silent=is_on)
    before = set(made.mesh[T])
    outside = next(peer for peer in PEERS[:12] if peer not in before)
    for n in range(30):
        made.accept(envelope(n), outside, n / 10)
    made.heartbeat(4.0)
    assert len(before - made.mesh[T]) == (2 if is_on else 0)
    assert (outside in made.mesh[T]) is is_on
    assert made.tally.counts["replaced"] == (2 if is_on else 0)
    assert all(made.scores.score(peer, 4.0) >= 0 for peer in before)


@pytest.mark.spec("GOS-031")
def test_a_mesh_that_brings_what_there_is_stays() -> None:
    """A member behind us brings nothing, and authors who send to us directly are no sign."""
    made = router(12)
    before = set(made.mesh[T])
    bringer = min(before)
    outside = next(peer for peer in PEERS[:12] if peer not in before)
    for n in range(60):
        relay = bringer if n % 2 else outside
        made.accept(envelope(n, author=outside), relay, n / 10)
    made.heartbeat(7.0)
    assert made.mesh[T] == before


@pytest.mark.spec("GOS-031")
@pytest.mark.attack(27)
def test_those_we_dialled_are_replaced_only_by_such() -> None:
    made = Router(OWN, GossipConfig(), random.Random(1))
    for n, peer in enumerate(PEERS[:12]):
        made.came(peer, is_outbound=n < 6, address="", now=0.0)
    for peer in PEERS[:6]:
        made.receive(peer, Rpc(subscriptions=(Subscription(T, True),)), 0.0)
    made.subscribe(T, 0.0)
    for peer in PEERS[6:12]:
        made.receive(peer, Rpc(subscriptions=(Subscription(T, True),)), 0.0)
    assert made.mesh[T] == set(PEERS[:6])
    for n in range(40):
        made.accept(envelope(n), PEERS[7], n / 10)
    made.heartbeat(5.0)
    assert made.mesh[T] == set(PEERS[:6])


# --- queues --------------------------------------------------------------------------------------


async def test_what_waits_for_a_peer_leaves_as_one_rpc(autojump_clock: MockClock) -> None:
    outbox = Outbox(Tally(), lambda name: name == envelope(2).id)
    for n in range(4):
        body = Rpc(publish=(envelope(n),)).to_bytes()
        outbox.put(body, is_control=False, name=envelope(n).id, now=trio.current_time())
    outbox.put(Rpc(graft=(T,)).to_bytes(), is_control=True, name=None, now=trio.current_time())
    first = await outbox.get()
    assert first[0] | first[1] << 7 and len(first) > 128
    assert Rpc.from_bytes(first[2:]) == Rpc(
        publish=tuple(envelope(n) for n in (0, 1, 3)), graft=(T,)
    )
    start = trio.current_time()
    outbox.put(b"", is_control=True, name=None, now=start)
    outbox.put(Rpc(iwant=(b"1",)).to_bytes(), is_control=False, name=None, now=start)
    await outbox.get()
    assert trio.current_time() - start == pytest.approx(COLLECT_S)


@pytest.mark.spec("GOS-020")
@pytest.mark.attack(29)
async def test_a_full_queue_loses_the_oldest_and_what_is_stale(autojump_clock: MockClock) -> None:
    tally = Tally()
    outbox = Outbox(tally, lambda name: False)
    for n in range(OUTBOX + 10):
        assert outbox.put(b"\x12\x00", is_control=False, name=b"%d" % n, now=0.0)
    assert len(outbox) == OUTBOX and outbox.is_full and tally.drops["backlog"] == 10
    large = bytes(OUTBOX_BYTES // 4)
    for _ in range(10):
        outbox.put(large, is_control=False, name=b"large", now=0.0)
    assert outbox._bytes <= OUTBOX_BYTES + len(large)
    await trio.sleep(OUTBOX_AGE_S + 1)
    outbox.put(b"\x12\x00", is_control=True, name=None, now=trio.current_time())
    assert await outbox.get() == b"\x02\x12\x00"
    assert tally.drops["stale"] == 3
    for _ in range(OUTBOX):
        assert outbox.put(b"c", is_control=True, name=None, now=trio.current_time())
    assert outbox.put(b"m", is_control=False, name=b"m", now=trio.current_time())
    assert not outbox.put(b"c", is_control=True, name=None, now=trio.current_time())


async def test_a_slow_subscriber_is_told_of_the_gap(autojump_clock: MockClock) -> None:
    subscriber = Subscriber()
    for n in range(SUBSCRIBER_QUEUE + 5):
        subscriber.put(Message(T, b"%d" % n, AUTHOR, AUTHOR, n))
    assert await anext(subscriber) == Gap(5)
    message = await anext(subscriber)
    assert isinstance(message, Message) and message.number == 5
    large = bytes(SUBSCRIBER_BYTES // 4)
    lost = sum(subscriber.put(Message(T, large, AUTHOR, AUTHOR, n)) for n in range(6))
    assert lost == SUBSCRIBER_QUEUE - 1 + 2 and len(subscriber) == 4


def test_labels_are_known() -> None:
    tally = Tally()
    with pytest.raises(KeyError):
        tally.drop("no such label")
    tally.drop("forged", 2)
    assert tally.labelled() == {**dict.fromkeys(DROP_LABELS, 0), "forged": 2}
