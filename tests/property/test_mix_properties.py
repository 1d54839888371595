"""What holds for every path, message and altered byte of a mix packet."""

from __future__ import annotations

import hashlib
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fogp2p.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from fogp2p.ids import PeerId, ProtocolId
from fogp2p.protocols.mix import (
    Delivered,
    Forward,
    Hop,
    NextHop,
    Relayed,
    ReplayFilter,
    ReplayFilters,
    Returned,
    build,
    decode_address,
    decode_forward,
    encode_address,
    encode_forward,
    make_reply_block,
    pad,
    recover_reply,
    unpad,
    unwrap,
    unwrap_batch,
    use_reply_block,
)
from fogp2p.protocols.mix.primitives import lioness_decrypt, lioness_encrypt, public_key

KEY32 = st.binary(min_size=32, max_size=32)
IPS = st.one_of(
    st.ip_addresses(v=4, network="10.0.0.0/8"), st.ip_addresses(v=6, network="2001:db8::/32")
)
ED25519 = KEY32.map(PeerId.from_ed25519)
SECP256K1 = KEY32.map(lambda key: PeerId(bytes.fromhex("00250802122102") + key))
HASHED = KEY32.map(lambda key: PeerId(b"\x12\x20" + key))
PORTS = st.integers(1, 65535)
TRANSPORTS = st.sampled_from(["tcp", "quic-v1"])
EXTENDED_HOPS = st.builds(
    NextHop,
    st.one_of(ED25519, SECP256K1, HASHED),
    IPS,
    PORTS,
    TRANSPORTS,
    st.none() | st.one_of(ED25519, SECP256K1, HASHED),
)
CLASSIC_HOPS = st.builds(
    NextHop,
    SECP256K1,
    st.ip_addresses(v=4, network="192.168.0.0/16"),
    PORTS,
    TRANSPORTS,
    st.none() | SECP256K1,
)


def path_of(length: int, delay: int = 7) -> tuple[list[bytes], list[Hop]]:
    """Private keys, and hops with made-up addresses."""
    private = [hashlib.sha256(b"%d" % n).digest() for n in range(length)]
    return private, [
        Hop(public_key(key), bytes([n + 1]) * 94, delay) for n, key in enumerate(private)
    ]


def travel(private: list[bytes], packet: bytes) -> Delivered | Returned:
    """Through all hops to the last."""
    for key in private[:-1]:
        result = unwrap(key, packet)
        assert isinstance(result, Relayed)
        packet = result.packet
    last = unwrap(private[-1], packet)
    assert not isinstance(last, Relayed)
    return last


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), KEY32, st.binary(max_size=3966), st.integers(1, 65535))
def test_a_packet_arrives_at_its_last_hop_only(
    length: int, ephemeral: bytes, data: bytes, delay: int
) -> None:
    private, hops = path_of(length, delay)
    packet = build(hops, pad(data), ephemeral=ephemeral, destination=b"\x09" * 94)
    assert len(packet) == 4608
    with pytest.raises(RemoteProtocolError):
        unwrap(hashlib.sha256(b"stranger").digest(), packet)
    last = travel(private, packet)
    assert isinstance(last, Delivered)
    assert unpad(last.message) == data
    assert last.destination == b"\x09" * 94


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), KEY32, st.binary(min_size=16, max_size=16), st.binary(max_size=500))
def test_an_answer_comes_home(length: int, ephemeral: bytes, key: bytes, data: bytes) -> None:
    private, hops = path_of(length)
    block, secret = make_reply_block(hops, ephemeral=ephemeral, surb_id=b"\1" * 16, reply_key=key)
    last = travel(private, use_reply_block(block, pad(data)))
    assert isinstance(last, Returned) and last.surb_id == b"\1" * 16
    assert unpad(recover_reply(secret, last.payload)) == data
    flipped = bytes([last.payload[0] ^ 1]) + last.payload[1:]
    with pytest.raises(RemoteProtocolError):
        recover_reply(secret, flipped)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=700), st.integers(0, 2**32))
def test_garbage_is_refused_with_our_error(short: bytes, seed: int) -> None:
    whole = random.Random(seed).randbytes(4608)
    for packet in (short, short + whole[len(short) :], whole):
        with pytest.raises(RemoteProtocolError):
            unwrap(bytes(range(32)), packet)


@settings(max_examples=100, deadline=None)
# With a right part of one byte a change stays unseen by it once in 256 times; real ones have 3,952.
@given(st.binary(min_size=16, max_size=64), st.binary(min_size=64, max_size=600), st.data())
def test_lioness_inverts_and_spreads_every_change(
    seed: bytes, block: bytes, data: st.DataObject
) -> None:
    sealed = lioness_encrypt(seed, block)
    assert lioness_decrypt(seed, sealed) == block
    place = data.draw(st.integers(0, len(block) - 1))
    changed = bytearray(sealed)
    changed[place] ^= 0x80
    opened = lioness_decrypt(seed, bytes(changed))
    assert opened[:16] != block[:16]


@settings(max_examples=200, deadline=None)
@given(EXTENDED_HOPS)
def test_extended_addresses_round_trip(hop: NextHop) -> None:
    block = encode_address(hop, extended=True)
    assert len(block) == 94
    assert decode_address(block) == hop
    assert NextHop.from_multiaddr(hop.to_multiaddr()) == hop


@settings(max_examples=200, deadline=None)
@given(CLASSIC_HOPS)
def test_classic_addresses_round_trip(hop: NextHop) -> None:
    block = encode_address(hop, extended=False)
    assert decode_address(block) == hop


@settings(max_examples=100, deadline=None)
@given(st.builds(NextHop, ED25519, IPS, PORTS))
def test_the_classic_form_refuses_what_it_cannot_hold(hop: NextHop) -> None:
    with pytest.raises(LocalProtocolError, match="classic"):
        encode_address(hop, extended=False)


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=94, max_size=94) | st.binary(max_size=100))
def test_address_decoder_accepts_only_what_it_would_encode(block: bytes) -> None:
    for candidate in (block, b"\x00\x01\x00" + block[3:]):
        try:
            hop = decode_address(candidate)
        except RemoteProtocolError:
            continue
        assert encode_address(hop, extended=candidate[0] == 0) == candidate


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=800) | st.builds(lambda b: b"\x02/a" + b, st.binary(max_size=1600)))
def test_forward_decoder_accepts_only_what_it_would_encode(data: bytes) -> None:
    try:
        forward = decode_forward(data)
    except RemoteProtocolError:
        return
    assert len(forward.reply_blocks) <= 5
    if len(forward.protocol) <= 127:
        assert encode_forward(forward) == data


@pytest.mark.spec("MIX-013")
def test_a_relay_is_never_asked_to_wait_zero() -> None:
    _, hops = path_of(3, delay=0)
    with pytest.raises(LocalProtocolError, match="delay"):
        build(hops, pad(b""), ephemeral=b"\1" * 32)


def test_local_mistakes_are_named() -> None:
    _, hops = path_of(3)
    bad_key = Hop(bytes(32), hops[0].address, 1)
    nowhere = Hop(hops[1].public_key, bytes(94), 1)
    message = pad(b"")
    for call in (
        lambda: build([], message, ephemeral=b"\1" * 32),
        lambda: build([*hops, *hops], message, ephemeral=b"\1" * 32),
        lambda: build(hops, message[:-1], ephemeral=b"\1" * 32),
        lambda: build(hops, message, ephemeral=b"\1" * 31),
        lambda: build([bad_key], message, ephemeral=b"\1" * 32),
        lambda: build([hops[0], nowhere, hops[2]], message, ephemeral=b"\1" * 32),
        lambda: make_reply_block(
            hops, ephemeral=b"\1" * 32, surb_id=bytes(16), reply_key=bytes(16)
        ),
        lambda: pad(bytes(3967)),
        lambda: encode_forward(Forward(ProtocolId("/" + "x" * 127), b"")),
        lambda: encode_forward(Forward(ProtocolId("/a"), bytes(3966))),
        lambda: unwrap_batch(bytes(32), [b""] * 257),
        lambda: ReplayFilter(b"short"),
        lambda: ReplayFilters(5).open(7, bytes(32)),
        lambda: ReplayFilters(5).advance(4),
        lambda: ReplayFilters(5).check_and_add(5, bytes(32)),
    ):
        with pytest.raises(LocalProtocolError):
            call()


def test_a_batch_gives_each_packet_its_own_result() -> None:
    private, hops = path_of(2)
    packets = [build(hops, pad(b"%d" % n), ephemeral=bytes([n + 1]) * 32) for n in range(6)]
    packets[2] = packets[2][:-1]
    packets[4] = bytes(4608)
    results = unwrap_batch(private[0], packets)
    kinds = [type(result).__name__ for result in results]
    assert kinds == ["Relayed"] * 2 + ["RemoteProtocolError", "Relayed"] * 2
    for number in (0, 1, 3, 5):
        relayed = results[number]
        assert isinstance(relayed, Relayed)
        last = unwrap(private[1], relayed.packet)
        assert isinstance(last, Delivered) and unpad(last.message) == b"%d" % number


@pytest.mark.spec("MIX-050", "MIX-051")
@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 50), max_size=120))
def test_the_filter_never_forgets(order: list[int]) -> None:
    seen: set[int] = set()
    replay = ReplayFilter(bytes(32), capacity=1000)
    for number in order:
        tag = hashlib.sha256(b"%d" % number).digest()
        assert replay.check_and_add(tag) is (number not in seen)
        seen.add(number)
    assert len(replay) == len(seen)


@pytest.mark.spec("MIX-052")
def test_the_false_drop_rate_follows_the_formula() -> None:
    """A filter filled to its stated load. Full size takes minutes, so the load is what is scaled:
    the same number of set bits is reached by hand, and 200,000 new tags are asked about."""
    replay = ReplayFilter(bytes(32))
    expected_set = 1 - math.exp(-16 * 1_000_000 / 2**25)
    # Random bytes with each bit set with that probability, from a seeded source.
    source = random.Random(1)
    block = bytes(
        sum((source.random() < expected_set) << bit for bit in range(8)) for _ in range(2**14)
    )
    replay._bits[:] = block * (len(replay._bits) // len(block))
    hits = 0
    for number in range(200_000):
        tag = number.to_bytes(32, "big")
        hits += all(replay._bits[place >> 3] >> (place & 7) & 1 for place in replay._positions(tag))
    # 200,000 * 1.9e-7 = 0.04 expected: more than 3 has a probability below 1e-6.
    assert hits <= 3


def test_a_snapshot_restores_the_filter_and_damage_is_noticed() -> None:
    replay = ReplayFilter(bytes(range(32)), capacity=100)
    tags = [hashlib.sha256(b"%d" % n).digest() for n in range(20)]
    for tag in tags:
        replay.check_and_add(tag)
    stored = replay.to_bytes()
    again = ReplayFilter.from_bytes(stored)
    assert len(again) == 20
    assert not any(again.check_and_add(tag) for tag in tags)
    for damaged in (stored[:-1], stored[:5000] + b"\1" + stored[5001:], b"", b"x" * 100):
        with pytest.raises(RemoteProtocolError) as caught:
            ReplayFilter.from_bytes(damaged)
        assert caught.value.code == "mix-filter"


def test_a_full_filter_refuses_new_packets_and_still_knows_the_old() -> None:
    replay = ReplayFilter(bytes(32), capacity=10)
    tags = [hashlib.sha256(b"%d" % n).digest() for n in range(12)]
    assert all(replay.check_and_add(tag) for tag in tags[:10])
    for tag in tags[10:]:
        with pytest.raises(LimitExceeded):
            replay.check_and_add(tag)
    assert not replay.check_and_add(tags[0])
