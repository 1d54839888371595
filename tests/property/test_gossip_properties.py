"""Gossipsub against any bytes and any order of events (the twin of fuzz_gossip)."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from fogp2p.errors import RemoteProtocolError
from fogp2p.ids import PeerId
from fogp2p.protocols.gossip.config import MAX_HAS, MAX_TOPICS_PER_PEER, GossipConfig
from fogp2p.protocols.gossip.machine import Router
from fogp2p.protocols.gossip.messages import Envelope, Have, Prune, Rpc, Subscription

OWN = PeerId.from_ed25519(bytes(32))
PEERS = [PeerId.from_ed25519(n.to_bytes(32)) for n in range(1, 9)]
TOPICS = st.sampled_from(["a", "b", "ours"])
NAMES = st.binary(min_size=1, max_size=128)
NAME_LISTS = st.lists(NAMES, max_size=5).map(tuple)
ENVELOPES = st.builds(
    Envelope,
    st.sampled_from(PEERS),
    st.integers(0, 50),
    TOPICS,
    st.binary(max_size=2_000),
    st.binary(min_size=1, max_size=80),
    st.sampled_from([b"", PEERS[0].key_protobuf or b""]),
)
RPCS = st.builds(
    Rpc,
    st.lists(st.builds(Subscription, TOPICS, st.booleans()), max_size=4).map(tuple),
    st.lists(ENVELOPES, max_size=4).map(tuple),
    st.lists(st.builds(Have, TOPICS, NAME_LISTS), max_size=3).map(tuple),
    NAME_LISTS,
    st.lists(TOPICS, max_size=3).map(tuple),
    st.lists(st.builds(Prune, TOPICS, st.integers(0, 2**64 - 1)), max_size=3).map(tuple),
    NAME_LISTS,
)


@given(RPCS)
def test_rpcs_round_trip_and_join(rpc: Rpc) -> None:
    assert Rpc.from_bytes(rpc.to_bytes()) == rpc
    other = Rpc(idontwant=(b"x",), publish=rpc.publish)
    both = Rpc.from_bytes(rpc.to_bytes() + other.to_bytes())
    assert both.publish == rpc.publish * 2 and both.idontwant == (*rpc.idontwant, b"x")


@given(st.binary(max_size=300) | RPCS.map(Rpc.to_bytes), st.data())
def test_any_bytes_are_read_or_refused(raw: bytes, data: st.DataObject) -> None:
    if raw:
        at = data.draw(st.integers(0, len(raw) - 1))
        raw = raw[:at] + data.draw(st.binary(max_size=3)) + raw[at + 1 :]
    try:
        found = Rpc.from_bytes(raw)
    except RemoteProtocolError as error:
        assert error.code in ("gossip-message", "peer-id")
    else:
        again = Rpc.from_bytes(found.to_bytes())
        assert again == found and again.unusable == 0


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["rpc", "went", "came", "beat", "publish", "toggle"]),
            st.sampled_from(PEERS),
            RPCS,
        ),
        max_size=25,
    ),
    st.integers(0, 100),
)
def test_the_router_stays_within_its_limits(
    events: list[tuple[str, PeerId, Rpc]], seed: int
) -> None:
    router, now = Router(OWN, GossipConfig(), random.Random(seed)), 0.0
    router.subscribe("ours", now)
    here: set[PeerId] = set()
    delivered: set[bytes] = set()
    for number, (kind, peer, rpc) in enumerate(events):
        now += 0.4
        if kind == "came" and peer not in here:
            router.came(peer, is_outbound=bool(number % 2), address="", now=now)
            here.add(peer)
        elif kind == "went":
            router.went(peer, now)
            here.discard(peer)
        elif kind == "rpc":
            for envelope in router.receive(peer, rpc, now):
                assert envelope.topic in router.mesh
                if router.accept(envelope, peer, now):
                    assert envelope.id not in delivered, "twice"
                    delivered.add(envelope.id)
        elif kind == "publish":
            router.publish(Envelope(OWN, number, "ours", b"x" * 2_000, b"s"), now)
        elif kind == "toggle":
            (router.unsubscribe if "ours" in router.mesh else router.subscribe)("ours", now)
        else:
            router.heartbeat(now)
        for target, out in router.outgoing:
            assert target in here or kind == "went"
            assert Rpc.from_bytes(out.to_bytes()) == out
        router.outgoing.clear()
        assert set(router._peers) == here and set(router.mesh) <= {"ours"}
        assert all(members <= here for members in router.mesh.values())
        for state in router._peers.values():
            assert len(state.topics) <= MAX_TOPICS_PER_PEER and len(state.has) <= MAX_HAS
        assert set(router._backoff) <= {"ours"}
