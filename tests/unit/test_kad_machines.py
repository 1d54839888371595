"""The DHT's pure parts: keys, messages, routing table, lookup, provider store."""

from __future__ import annotations

import random

import pytest

from fogp2p.addresses import parse_address
from fogp2p.errors import LocalProtocolError, RemoteProtocolError
from fogp2p.ids import PeerId
from fogp2p.protocols.kad.config import (
    MAX_KEYS_PER_PROVIDER,
    MAX_PROVIDED_KEYS,
    MAX_PROVIDERS_PER_KEY,
    MAX_QUERIES,
    PROVIDER_TTL_S,
)
from fogp2p.protocols.kad.lookup import Lookup
from fogp2p.protocols.kad.messages import (
    Kind,
    PeerRecord,
    Request,
    Response,
    key_of,
    multihash_of,
)
from fogp2p.protocols.kad.providers import ProviderStore
from fogp2p.protocols.kad.table import RoutingTable, distance, network_of

OWN = PeerId.from_ed25519(bytes(32))
PEERS = [PeerId.from_ed25519(n.to_bytes(32)) for n in range(1, 2_001)]
HASH = bytes.fromhex("1220") + bytes(32)


def nearest(target: bytes, peers: list[PeerId], count: int) -> list[PeerId]:
    return sorted(peers, key=lambda peer: distance(key_of(peer.raw), target))[:count]


# --- messages ------------------------------------------------------------------------------------


def test_messages_round_trip() -> None:
    record = PeerRecord(PEERS[0], (parse_address("/ip4/8.8.8.8/tcp/1"),))
    request = Request(Kind.ADD_PROVIDER, HASH, (record,))
    assert Request.from_bytes(request.to_bytes()) == request
    response = Response(Kind.GET_PROVIDERS, (record,), (PeerRecord(PEERS[1]),))
    assert Response.from_bytes(response.to_bytes(HASH), Kind.GET_PROVIDERS) == response


def test_the_bytes_are_those_of_libp2p() -> None:
    from libp2p.kad_dht.pb import kademlia_pb2

    theirs = kademlia_pb2.Message(type=4, key=PEERS[0].raw)
    theirs.closerPeers.add(id=PEERS[1].raw, addrs=[b"\x04\x08\x08\x08\x08\x06\x00\x01"])
    assert Request.from_bytes(theirs.SerializeToString()).key == PEERS[0].raw
    (closer,) = Response.from_bytes(theirs.SerializeToString(), Kind.FIND_NODE).closer
    assert str(closer.addresses[0]) == "/ip4/8.8.8.8/tcp/1"
    ours = kademlia_pb2.Message.FromString(Request(Kind.FIND_NODE, PEERS[0].raw).to_bytes())
    assert ours.type == 4 and ours.key == PEERS[0].raw


@pytest.mark.spec("KAD-001")
@pytest.mark.parametrize(
    "data",
    [
        b"\xff",
        b"\x08\x09\x12\x01a",
        Request(Kind.FIND_NODE, b"").to_bytes(),
        Request(Kind.GET_PROVIDERS, bytes(81)).to_bytes(),
    ],
)
def test_wrong_requests_are_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        Request.from_bytes(data)
    assert caught.value.code == "kad-message"


@pytest.mark.spec("KAD-001")
def test_a_response_to_something_else_is_refused() -> None:
    with pytest.raises(RemoteProtocolError):
        Response.from_bytes(Response(Kind.PING).to_bytes(b""), Kind.FIND_NODE)


@pytest.mark.spec("KAD-002")
def test_bad_hints_are_skipped_and_lists_are_cut() -> None:
    from libp2p.kad_dht.pb import kademlia_pb2

    message = kademlia_pb2.Message(type=4, key=b"x")
    message.closerPeers.add(id=b"nobody")
    message.closerPeers.add(id=PEERS[0].raw, addrs=[b"\xff\xff", b"", b"\x04\x08\x08\x08\x08"] * 40)
    for peer in PEERS[1:50]:
        message.closerPeers.add(id=peer.raw)
    read = Response.from_bytes(message.SerializeToString(), Kind.FIND_NODE)
    assert [record.peer for record in read.closer] == PEERS[:20]
    assert len(read.closer[0].addresses) <= 16


def test_keys() -> None:
    assert multihash_of(HASH) == HASH
    assert multihash_of(bytes.fromhex("0155") + HASH) == HASH  # CIDv1, raw
    for wrong in (b"", b"\x01", b"\x01\x55", b"x" * 34, HASH[:-1], HASH + b"x", b"\x12\x00"):
        with pytest.raises(LocalProtocolError) as caught:
            multihash_of(wrong)
        assert caught.value.code == "kad-key"


# --- routing table -------------------------------------------------------------------------------


def test_the_table_keeps_20_peers_of_each_distance_and_the_nearest_always() -> None:
    table = RoutingTable(OWN, stale_after_s=60)
    for peer in PEERS:
        table.add(peer, None, 0.0)
    assert 100 < len(table) < 200 and OWN not in table
    target = key_of(OWN.raw)
    assert table.closest(target, 20) == nearest(target, PEERS, 20)
    far = key_of(b"far")
    found = table.closest(far, 20)
    assert found == nearest(far, list(table), 20)


def test_who_answers_stays_and_who_is_silent_makes_room() -> None:
    table = RoutingTable(OWN, k=2, stale_after_s=60)
    far = [p for p in PEERS if key_of(p.raw)[0] >> 7 != key_of(OWN.raw)[0] >> 7][:4]
    assert [table.add(peer, None, 0.0) for peer in far] == [True, True, False, False]
    assert table.add(far[0], None, 70.0)
    assert table.add(far[2], None, 70.0) and far[1] not in table
    table.remove(far[0])
    assert table.add(far[3], None, 70.0) and far[0] not in table
    table.remove(far[0])
    assert len(table) == 2


@pytest.mark.parametrize("k", [1, 20])
def test_any_order_of_changes_leaves_the_table_sound(k: int) -> None:
    source = random.Random(k)
    table = RoutingTable(OWN, k=k, stale_after_s=5)
    for now in range(3_000):
        peer = source.choice(PEERS[:200])
        if source.random() < 0.3:
            table.remove(peer)
        else:
            table.add(peer, None, float(now))
        held = [each for bucket in table._buckets.values() for each in bucket]
        assert sorted(held) == sorted(table) and all(map(len, table._buckets.values()))
        assert all(len(bucket) <= k for bucket in table._buckets.values())


@pytest.mark.attack(110)
def test_one_network_does_not_fill_the_table() -> None:
    table = RoutingTable(OWN, stale_after_s=60)
    same = [parse_address(f"/ip4/8.8.{n % 256}.1/tcp/1") for n in range(len(PEERS))]
    for peer, address in zip(PEERS, same, strict=True):
        table.add(peer, address, 0.0)
    assert len(table) == 10
    for n, peer in enumerate(PEERS):
        table.add(peer, parse_address(f"/ip4/{n % 90 + 11}.{n % 250}.1.1/tcp/1"), 0.0)
    assert len(table) > 60


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("/ip4/8.8.4.4/tcp/1", "8.8"),
        ("/ip6/2001:4860:4860::8888/tcp/1", "2001:4860"),
        ("/ip4/192.168.1.1/tcp/1", ""),
        ("/ip4/127.0.0.1/tcp/1", ""),
    ],
)
def test_networks(address: str, network: str) -> None:
    assert network_of(parse_address(address)) == network and network_of(None) == ""


# --- lookup --------------------------------------------------------------------------------------


def run(lookup: Lookup, answers: dict[PeerId, list[PeerId]]) -> None:
    while not lookup.is_finished:
        asked = lookup.next_queries()
        assert asked, "neither finished nor asking"
        for peer in asked:
            if peer in answers:
                lookup.answered(peer, answers[peer])
            else:
                lookup.failed(peer)


@pytest.mark.spec("KAD-020")
@pytest.mark.parametrize("dead", [0, 300])
def test_a_lookup_finds_the_nearest_that_live(dead: int) -> None:
    source = random.Random(dead)
    living = PEERS[dead:1_000]
    target = key_of(b"target")
    # As in a real table: each peer knows its neighbours and some others.
    order = nearest(target, PEERS[:1_000], 1_000)
    place = {peer: at for at, peer in enumerate(order)}
    answers = {
        peer: order[max(0, place[peer] - 20) : place[peer] + 20] + source.sample(order, 10)
        for peer in living
    }
    lookup = Lookup(target, source.sample(PEERS[:1_000], 20), own=OWN, k=20, alpha=10)
    run(lookup, answers)
    assert lookup.closest() == nearest(target, living, 20)
    assert lookup.asked <= MAX_QUERIES


@pytest.mark.attack(110)
def test_whoever_invents_peers_is_asked_a_bounded_number_of_times() -> None:
    source, target = random.Random(1), key_of(b"target")
    lookup = Lookup(target, PEERS[:20], own=OWN, k=20, alpha=10)
    while not lookup.is_finished:
        asked = lookup.next_queries()
        for peer in asked:
            lookup.answered(peer, [PeerId.from_ed25519(source.randbytes(32)) for _ in range(20)])
        if not asked:
            break
    assert lookup.asked <= MAX_QUERIES
    assert len(lookup._order) <= 400 + MAX_QUERIES


def test_we_never_ask_ourselves_and_nobody_twice() -> None:
    lookup = Lookup(key_of(b"x"), [OWN, *PEERS[:3]], own=OWN, k=20, alpha=2)
    first = lookup.next_queries()
    assert len(first) == 2 and OWN not in first
    assert lookup.next_queries() == []
    lookup.answered(first[0], [OWN, *PEERS[:3]])
    (third,) = lookup.next_queries()
    assert third not in first
    lookup.failed(first[1])
    lookup.failed(third)
    assert lookup.is_finished and lookup.closest() == [first[0]]


# --- provider store ------------------------------------------------------------------------------


@pytest.mark.spec("KAD-005")
def test_providers_expire() -> None:
    store = ProviderStore()
    store.add(HASH, PEERS[0], 0.0)
    store.add(HASH, PEERS[1], 10.0)
    assert store.get(HASH, 20.0) == [PEERS[1], PEERS[0]]
    store.add(HASH, PEERS[0], 30.0)
    assert store.get(HASH, PROVIDER_TTL_S + 15.0) == [PEERS[0]]
    store.expire(PROVIDER_TTL_S + 31.0)
    assert len(store) == 0 and not store._held


@pytest.mark.spec("KAD-011")
@pytest.mark.attack(111)
def test_the_store_is_bounded_for_each_peer_key_and_altogether() -> None:
    store = ProviderStore()
    taken = [store.add(n.to_bytes(34), PEERS[0], 0.0) for n in range(MAX_KEYS_PER_PROVIDER + 500)]
    assert sum(taken) == MAX_KEYS_PER_PROVIDER
    for peer in PEERS[:200]:
        store.add(HASH, peer, 0.0)
    assert len(store.get(HASH, 1.0)) == MAX_PROVIDERS_PER_KEY
    for n in range(MAX_PROVIDED_KEYS + 5_000):
        store.add(b"k" + n.to_bytes(33), PEERS[n % 2_000], 0.0)
    assert len(store) == MAX_PROVIDED_KEYS
    assert sum(store._held.values()) == sum(len(each) for each in store._keys.values())
