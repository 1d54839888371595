"""Gossipsub's pure parts: messages, scores, caches, and the router by hand."""

from __future__ import annotations

import random

import pytest

from fogp2p.errors import LimitExceeded, RemoteProtocolError
from fogp2p.identity import ephemeral
from fogp2p.ids import PeerId
from fogp2p.protocols.gossip.cache import MessageCache, Seen
from fogp2p.protocols.gossip.config import (
    GRAYLIST_THRESHOLD,
    MAX_BACKOFF_S,
    MAX_IHAVE_PER_HEARTBEAT,
    MAX_OWN_TOPICS,
    MAX_RETRANSMISSIONS,
    MAX_SEEN,
    GossipConfig,
)
from fogp2p.protocols.gossip.machine import Router
from fogp2p.protocols.gossip.messages import (
    Envelope,
    Have,
    Prune,
    Rpc,
    Subscription,
    is_forged,
)
from fogp2p.protocols.gossip.scores import Scores

OWN = PeerId.from_ed25519(bytes(32))
PEERS = [PeerId.from_ed25519(n.to_bytes(32)) for n in range(1, 200)]
T = "/topic"


def envelope(n: int, author: PeerId = PEERS[50], topic: str = T, data: bytes = b"x") -> Envelope:
    return Envelope(author, n, topic, data, b"signature")


def router(peers: int = 0, *, subscribed: bool = True, **config: object) -> Router:
    made = Router(OWN, GossipConfig(**config), random.Random(1))  # type: ignore[arg-type]
    for peer in PEERS[:peers]:
        made.came(peer, is_outbound=False, address="", now=0.0)
        made.receive(peer, Rpc(subscriptions=(Subscription(T, True),)), 0.0)
    if subscribed:
        made.subscribe(T, 0.0)
    return made


def sent(made: Router, kind: str) -> list[tuple[PeerId, object]]:
    found = [(peer, getattr(rpc, kind)) for peer, rpc in made.outgoing if getattr(rpc, kind)]
    made.outgoing.clear()
    return found


# --- messages ------------------------------------------------------------------------------------


def test_rpcs_round_trip() -> None:
    rpc = Rpc(
        (Subscription(T, True), Subscription("b", False)),
        (envelope(7),),
        (Have(T, (b"id1", b"id2")),),
        (b"id3",),
        (T,),
        (Prune(T, 60),),
    )
    assert Rpc.from_bytes(rpc.to_bytes()) == rpc


def test_the_bytes_and_the_signed_bytes_are_those_of_libp2p() -> None:
    from libp2p.pubsub.pb import rpc_pb2

    keys = ephemeral(random.Random(1))
    theirs = (
        rpc_pb2.Message(from_id=keys.peer_id.raw, data=b"data", seqno=(7).to_bytes(8), topicIDs=[T])
        if hasattr(rpc_pb2.Message(), "topicIDs")
        else None
    )
    ours = Envelope(keys.peer_id, 7, T, b"data")
    assert theirs is not None
    assert ours.preimage() == b"libp2p-pubsub:" + theirs.SerializeToString()
    read = rpc_pb2.RPC.FromString(
        Rpc(publish=(envelope(1),), graft=(T,), prune=(Prune(T, 60),)).to_bytes()
    )
    assert read.publish[0].seqno == (1).to_bytes(8) and read.control.graft[0].topicID == T
    assert read.control.prune[0].backoff == 60


@pytest.mark.spec("GOS-001", "GOS-002")
@pytest.mark.attack(21)
@pytest.mark.parametrize(
    "data",
    [
        b"abcde",
        b"\xff" * 100,
        b"\x1a" * 3_000,
        b"\x0a\x04" * 200,
        Rpc(publish=(Envelope(OWN, 1, T, b"x"),)).to_bytes(),
        Rpc(publish=(Envelope(OWN, 1, T, b"x"), envelope(2))).to_bytes(),
        Rpc(subscriptions=(Subscription("", True),)).to_bytes(),
        Rpc(subscriptions=(Subscription("x" * 257, True),)).to_bytes(),
        Rpc(subscriptions=(Subscription(T, True),) * 5_001).to_bytes(),
        b"\x0a\x05\x08\x01\x12\x01\xff",
    ],
)
def test_unusable_rpcs_are_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Rpc.from_bytes(data)


def test_a_key_that_is_not_the_authors_is_forged() -> None:
    keys = ephemeral(random.Random(2))
    key = keys.peer_id.key_protobuf or b""
    assert not is_forged(Envelope(keys.peer_id, 1, T, b"", b"s", key))
    assert is_forged(Envelope(OWN, 1, T, b"", b"s", key))


# --- mesh ----------------------------------------------------------------------------------------


def test_joining_grafts_six_and_the_heartbeat_keeps_between_five_and_twelve() -> None:
    made = router(30)
    assert len(made.mesh[T]) == 6 and len(sent(made, "graft")) == 6
    for peer in sorted(made.mesh[T])[:3]:
        made.receive(peer, Rpc(prune=(Prune(T, 60),)), 1.0)
    assert len(made.mesh[T]) == 3
    made.heartbeat(2.0)
    assert len(made.mesh[T]) == 6
    for peer in PEERS[:30]:
        made.mesh[T].add(peer)
    made.heartbeat(3.0)
    assert len(made.mesh[T]) == 6 and len(sent(made, "prune")) == 24


def test_leaving_prunes_and_says_so() -> None:
    made = router(8)
    made.outgoing.clear()
    made.unsubscribe(T, 5.0)
    assert T not in made.mesh
    rpcs = [rpc for _, rpc in made.outgoing]
    assert sum(bool(rpc.prune) for rpc in rpcs) == 6
    assert sum(rpc.subscriptions == (Subscription(T, False),) for rpc in rpcs) == 8


def test_a_new_message_goes_to_the_mesh_but_not_back() -> None:
    made = router(10)
    made.outgoing.clear()
    relay = sorted(made.mesh[T])[0]
    (new,) = made.receive(relay, Rpc(publish=(envelope(1),)), 1.0)
    assert made.accept(new, relay, 1.0)
    assert {peer for peer, _ in sent(made, "publish")} == made.mesh[T] - {relay}
    assert made.receive(relay, Rpc(publish=(envelope(1),)), 1.0) == []
    assert not made.accept(new, relay, 1.0)
    assert made.receive(relay, Rpc(publish=(envelope(2, topic="other"),)), 1.0) == []
    assert made.receive(relay, Rpc(publish=(envelope(3, author=OWN),)), 1.0) == []


@pytest.mark.parametrize(("flood", "count"), [(True, 10), (False, 6)])
def test_what_we_publish_goes_to_all_or_to_the_mesh(flood: bool, count: int) -> None:
    made = router(10, flood_publish=flood)
    made.outgoing.clear()
    assert made.publish(envelope(1, OWN), 1.0) == count


def test_publishing_without_subscribing_uses_a_fanout_that_ends() -> None:
    made = router(10, subscribed=False, flood_publish=False)
    assert made.publish(envelope(1, OWN), 1.0) == 6
    first = {peer for peer, _ in sent(made, "publish")}
    assert made.publish(envelope(2, OWN), 2.0) == 6
    assert {peer for peer, _ in sent(made, "publish")} == first
    made.heartbeat(3.0)
    assert {have[0].topic for _, have in sent(made, "ihave")} == {T}  # type: ignore[index]
    made.heartbeat(70.0)
    assert not made._fanout


def test_what_the_mesh_did_not_bring_comes_by_asking() -> None:
    giver, taker = router(20), router(3)
    giver.publish(envelope(1, OWN), 0.5)
    giver.outgoing.clear()
    giver.heartbeat(1.0)
    told = sent(giver, "ihave")
    assert 6 <= len(told) <= 14 and all(peer not in giver.mesh[T] for peer, _ in told)
    taker.outgoing.clear()
    taker.receive(PEERS[0], Rpc(ihave=told[0][1]), 1.0)  # type: ignore[arg-type]
    ((peer, wanted),) = sent(taker, "iwant")
    assert peer == PEERS[0]
    giver.receive(PEERS[19], Rpc(iwant=wanted), 1.1)  # type: ignore[arg-type]
    ((_, (brought,)),) = sent(giver, "publish")  # type: ignore[misc]
    assert brought == envelope(1, OWN)


# --- attacks on the router -----------------------------------------------------------------------


@pytest.mark.spec("GOS-002", "GOS-021")
@pytest.mark.attack(22)
def test_a_peer_has_100_topics_and_takes_them_along() -> None:
    made = router(0)
    made.came(PEERS[0], is_outbound=False, address="", now=0.0)
    topics = [Subscription(str(n), True) for n in range(101)]
    made.receive(PEERS[0], Rpc(subscriptions=tuple(topics[:100])), 0.0)
    with pytest.raises(RemoteProtocolError) as caught:
        made.receive(PEERS[0], Rpc(subscriptions=(topics[100],)), 0.0)
    assert caught.value.code == "gossip-topics"
    made.went(PEERS[0], 1.0)
    assert not made.peers_of("5") and not made._peers
    for n in range(MAX_OWN_TOPICS - 1):
        made.subscribe(str(n), 0.0)
    with pytest.raises(LimitExceeded):
        made.subscribe("one more", 0.0)


@pytest.mark.spec("GOS-010")
@pytest.mark.attack(23)
def test_prune_poisoning_is_capped_and_leaves_nothing() -> None:
    """F3: stock keeps 100,000 backoffs of any length for topics nobody has."""
    made = router(3)
    for n in range(1_000):
        prunes = tuple(Prune(f"unknown {n} {m}", 2**63) for m in range(100))
        made.receive(PEERS[0], Rpc(prune=prunes), 1.0)
    assert set(made._backoff) <= {T}
    made.receive(PEERS[0], Rpc(prune=(Prune(T, 2**63),)), 1.0)
    assert made._backoff[T][PEERS[0]] <= 1.0 + MAX_BACKOFF_S
    made.heartbeat(1.0 + MAX_BACKOFF_S)
    assert not made._backoff and PEERS[0] not in made._candidates("none", 0.0)


@pytest.mark.spec("GOS-012", "GOS-013")
@pytest.mark.attack(24)
def test_control_spam_is_capped() -> None:
    made = router(3)
    made.outgoing.clear()
    for n in range(100):
        made.receive(PEERS[0], Rpc(ihave=(Have(T, (b"%d" % n,)),)), 1.0)
    assert len(sent(made, "iwant")) == MAX_IHAVE_PER_HEARTBEAT
    many = tuple(b"%d" % n for n in range(20_000, 25_001))
    made.heartbeat(1.5)
    made.receive(PEERS[1], Rpc(ihave=(Have(T, many[:3_000]), Have(T, many[3_000:]))), 1.6)
    asked = [len(names) for _, names in sent(made, "iwant")]  # type: ignore[arg-type]
    assert sum(asked) == 5_000
    made.publish(envelope(1, OWN), 2.0)
    made.outgoing.clear()
    for _ in range(1_000):
        made.receive(PEERS[2], Rpc(iwant=(envelope(1, OWN).id,) * 50), 2.0)
    assert len(sent(made, "publish")) == MAX_RETRANSMISSIONS


@pytest.mark.spec("GOS-012")
@pytest.mark.attack(24)
def test_whoever_promises_and_does_not_deliver_loses_its_score() -> None:
    made = router(2)
    for beat in range(12):
        made.receive(PEERS[0], Rpc(ihave=(Have(T, (b"nothing %d" % beat,)),)), float(beat))
        made.heartbeat(beat + 0.5)
    assert made.scores.score(PEERS[0], 16.0) < 0 <= made.scores.score(PEERS[1], 16.0)
    made.heartbeat(16.5)
    assert PEERS[0] not in made.mesh[T]
    made.receive(PEERS[1], Rpc(ihave=(Have(T, (envelope(9).id,)),)), 17.0)
    made.accept(envelope(9), PEERS[1], 17.1)
    assert (PEERS[1], envelope(9).id) not in made._promises


@pytest.mark.spec("GOS-011")
@pytest.mark.attack(25)
def test_grafting_too_early_is_refused_and_counted() -> None:
    made = router(2)
    made.unsubscribe(T, 0.0)
    made.subscribe(T, 1.0)
    made.outgoing.clear()
    for n in range(10):
        made.receive(PEERS[0], Rpc(graft=(T,)), 2.0 + n / 10)
    assert PEERS[0] not in made.mesh[T]
    # Refused each time, until nothing of it is heard any more.
    assert 3 < len(sent(made, "prune")) < 10
    assert made.scores.score(PEERS[0], 3.0) < GRAYLIST_THRESHOLD
    made.receive(PEERS[1], Rpc(graft=("unknown",)), 3.0)
    assert made.outgoing == [] and "unknown" not in made.mesh


@pytest.mark.attack(25)
def test_a_full_mesh_takes_nobody_who_dialled_us() -> None:
    made = router(12)
    made.mesh[T] = set(PEERS[:12])
    for index, is_outbound in ((20, False), (21, True)):
        made.came(PEERS[index], is_outbound=is_outbound, address="", now=0.0)
        made.receive(PEERS[index], Rpc(graft=(T,)), 1.0)
    assert PEERS[20] not in made.mesh[T] and PEERS[21] in made.mesh[T]


@pytest.mark.spec("GOS-030")
@pytest.mark.attack(26)
def test_one_forgery_mutes_its_sender_and_does_not_hide_the_genuine_message() -> None:
    made = router(3)
    (forged,) = made.receive(PEERS[0], Rpc(publish=(envelope(1),)), 1.0)
    made.reject(forged, PEERS[0], 1.0, forged=True)
    assert made.receive(PEERS[0], Rpc(publish=(envelope(2),)), 1.0) == []
    (genuine,) = made.receive(PEERS[1], Rpc(publish=(envelope(1),)), 1.1)
    assert made.accept(genuine, PEERS[1], 1.1)
    made.went(PEERS[0], 2.0)
    made.came(PEERS[0], is_outbound=False, address="", now=3.0)
    assert made.receive(PEERS[0], Rpc(publish=(envelope(3),)), 3.0) == []


@pytest.mark.attack(27)
def test_a_mesh_keeps_two_peers_that_we_dialled() -> None:
    made = router(40)
    for peer in PEERS[100:103]:
        made.came(peer, is_outbound=True, address="", now=0.0)
        made.receive(peer, Rpc(subscriptions=(Subscription(T, True),)), 0.0)
    for beat in range(1, 200):
        for peer in PEERS[:40]:
            made.receive(peer, Rpc(graft=(T,)), float(beat))
        made.heartbeat(beat + 0.5)
    assert len(made.mesh[T] & set(PEERS[100:103])) >= 2


@pytest.mark.attack(27)
def test_many_peers_behind_one_public_address_count_against_each() -> None:
    scores = Scores()
    for peer in PEERS[:10]:
        scores.came(peer, "8.8.8.8", 0.0)
    for peer in PEERS[10:30]:
        scores.came(peer, "", 0.0)
    assert scores.score(PEERS[0], 1.0) < -80 and scores.score(PEERS[10], 1.0) == 0
    for peer in PEERS[1:10]:
        scores.went(peer, 2.0)
    assert scores.score(PEERS[0], 3.0) == 0
    scores.expire(1_000.0)
    assert len(scores) == 21


# --- scores and caches ---------------------------------------------------------------------------


def test_scores_do_not_depend_on_how_often_one_looks() -> None:
    one, two = Scores(), Scores()
    for scores in (one, two):
        scores.came(PEERS[0], "", 0.0)
        scores.grafted(PEERS[0], T, 0.0)
        for n in range(5):
            scores.delivered_first(PEERS[0], float(n))
        scores.sent_invalid(PEERS[0], 5.0, forged=False)
    for n in range(6, 300):
        one.score(PEERS[0], float(n))
    assert one.score(PEERS[0], 300.0) == pytest.approx(two.score(PEERS[0], 300.0))
    assert two.score(PEERS[0], 9_000.0) == pytest.approx(10.0, abs=0.1)


def test_the_memory_of_messages_is_bounded() -> None:
    seen = Seen()
    for n in range(MAX_SEEN + 10):
        seen.add(n.to_bytes(8), n / 10_000)
    assert len(seen) == MAX_SEEN
    seen.expire(1e6)
    assert len(seen) == 0
    cache = MessageCache()
    for n in range(1_000):
        cache.put(envelope(n, data=bytes(65_536)))
    assert len(cache) == 256 and cache.get(envelope(0).id, OWN) is None
    for _ in range(5):
        cache.shift()
    assert len(cache) == 0 and cache._bytes == 0 and not cache._sent
