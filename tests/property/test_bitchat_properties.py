"""Round trips and refusals of everything BitChat puts on the wire."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from fogp2p.errors import LocalProtocolError, RemoteProtocolError
from fogp2p.protocols.bitchat import (
    announce,
    community,
    courier,
    fragments,
    media,
    packet,
    private,
    sync,
)
from fogp2p.protocols.bitchat.packet import Packet, PacketType, decode_packet
from fogp2p.protocols.noise import KeyPair

IDS = st.binary(min_size=8, max_size=8)
KEYS = st.binary(min_size=32, max_size=32)
SIGNATURES = st.binary(min_size=64, max_size=64)
U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)


def utf8(most: int, least: int = 0) -> st.SearchStrategy[str]:
    """Text of `least` to `most` bytes."""
    return st.text(max_size=most).filter(lambda t: least <= len(t.encode("utf-8")) <= most)


GEOHASHES = st.text("0123456789bcdefghjkmnpqrstuvwxyz", max_size=12)
PAYLOADS = st.one_of(
    st.binary(max_size=300),
    st.builds(
        lambda text, times: text * times, st.binary(min_size=1, max_size=20), st.integers(1, 200)
    ),
)


@st.composite
def packets(draw: st.DrawFn) -> Packet:
    """Packets as `Packet.create` makes them."""
    version = draw(st.sampled_from([1, 2]))
    return Packet.create(
        draw(st.sampled_from(list(PacketType))),
        draw(PAYLOADS),
        sender=draw(IDS),
        timestamp_ms=draw(U64),
        recipient=draw(st.none() | IDS),
        route=tuple(draw(st.lists(IDS, max_size=5))) if version == 2 else (),
        version=version,
        ttl=draw(st.integers(0, 255)),
    )


@pytest.mark.spec("BTC-010", "BTC-011", "BTC-012", "BTC-013")
@settings(max_examples=200, deadline=None)
@given(packets(), st.booleans(), st.booleans(), SIGNATURES)
def test_packets_round_trip(original: Packet, rsr: bool, padded: bool, signature: bytes) -> None:
    full = replace(original, is_rsr=rsr, signature=signature if rsr else None)
    assert decode_packet(full.encode(padded=padded)) == full


@pytest.mark.spec("BTC-020", "BTC-021")
@settings(max_examples=60, deadline=None)
@given(packets(), KEYS, st.integers(0, 255), st.booleans())
def test_a_signature_survives_relaying_only(
    original: Packet, seed: bytes, ttl: int, rsr: bool
) -> None:
    key = SigningKey(seed)
    public = bytes(key.verify_key)
    signed = original.signed(lambda data: bytes(key.sign(data).signature))
    received = decode_packet(signed.encode())
    assert received.is_signed_by(public)
    assert replace(received, ttl=ttl, is_rsr=rsr).is_signed_by(public)
    for altered in (
        replace(received, timestamp_ms=received.timestamp_ms ^ 1),
        replace(received, sender=bytes(8) if any(received.sender) else b"\1" * 8),
        replace(received, payload=received.payload + b"x", compressed=None),
        replace(received, recipient=b"\5" * 8 if received.recipient is None else None),
        replace(received, type=received.type ^ 1),
    ):
        assert not altered.is_signed_by(public)
    assert not received.is_signed_by(bytes(32))
    assert not original.is_signed_by(public)


def test_the_signed_bytes_are_those_received_not_recompressed() -> None:
    """Another DEFLATE encoding of the same text verifies, because it is kept as it came."""
    import zlib

    key = SigningKey(bytes(32))
    text = b"the same text in another coat " * 20
    encoder = zlib.compressobj(1, zlib.DEFLATED, -15)
    squeezed = encoder.compress(text) + encoder.flush()
    ours = Packet.create(PacketType.MESSAGE, text, sender=bytes(8), timestamp_ms=1)
    assert ours.compressed is not None and ours.compressed != squeezed
    foreign = replace(ours, compressed=squeezed).signed(lambda d: bytes(key.sign(d).signature))
    received = decode_packet(foreign.encode())
    assert received.payload == text and received.compressed == squeezed
    assert received.is_signed_by(bytes(key.verify_key))
    assert received.relayed().encode()[3:] == foreign.encode()[3:]


@pytest.mark.spec("BTC-014")
@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200), st.integers(1, 2), st.integers(0, 255))
def test_any_bytes_decode_or_raise_our_error(body: bytes, version: int, flags: int) -> None:
    for frame in (body, bytes((version, 1, 7)) + bytes(8) + bytes((flags,)) + body):
        try:
            found = decode_packet(frame)
        except RemoteProtocolError:
            continue
        again = decode_packet(found.encode(padded=False))
        assert again == found


def test_padding_follows_the_table() -> None:
    """The lengths of the reference: padded, or left alone."""
    for length in range(1, 2100):
        frame = random.Random(length).randbytes(length)
        padded = packet.pad_frame(frame)
        block = next((b for b in (256, 512, 1024, 2048) if length + 16 <= b), None)
        if block is None or block - length > 255:
            assert padded == frame
        else:
            assert len(padded) == block
            assert packet.strip_padding(padded) == frame


@settings(max_examples=60, deadline=None)
@given(
    st.builds(
        announce.Announce,
        utf8(255),
        KEYS,
        KEYS,
        st.lists(IDS, max_size=10).map(tuple),
        st.none() | U64,
        st.none() | utf8(12, 1),
        st.lists(st.tuples(st.integers(7, 255), st.binary(max_size=20)), max_size=3).map(tuple),
    )
)
def test_announces_round_trip(original: announce.Announce) -> None:
    assert announce.decode_announce(announce.encode_announce(original)) == original


MESSAGES: list[tuple[st.SearchStrategy[Any], Any, Any]] = [
    (
        st.builds(private.PrivateMessage, utf8(255), utf8(255)),
        private.encode_private_message,
        private.decode_private_message,
    ),
    (utf8(255, 1), private.encode_receipt, private.decode_receipt),
    (
        st.builds(private.PeerState, U64, KEYS),
        private.encode_peer_state,
        private.decode_peer_state,
    ),
    (
        st.builds(private.VerifyChallenge, KEYS.map(bytes.hex), st.binary(max_size=32)),
        private.encode_verify_challenge,
        private.decode_verify_challenge,
    ),
    (
        st.builds(private.VerifyResponse, KEYS.map(bytes.hex), st.binary(max_size=32), SIGNATURES),
        private.encode_verify_response,
        private.decode_verify_response,
    ),
    (
        st.lists(st.builds(private.Vouch, KEYS, KEYS, U64, SIGNATURES), max_size=16).map(tuple),
        private.encode_vouches,
        private.decode_vouches,
    ),
    (
        st.builds(
            lambda i, t, k, d: fragments.Fragment(i, t[0], t[1], k, d),
            IDS,
            st.integers(1, 256).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n))),
            st.integers(0, 255),
            st.binary(min_size=1, max_size=469),
        ),
        fragments.encode_fragment,
        fragments.decode_fragment,
    ),
    (
        st.builds(media.File, utf8(255), utf8(255, 1), st.binary(min_size=1, max_size=500)),
        media.encode_file,
        media.decode_file,
    ),
    (
        st.one_of(
            st.builds(
                lambda b, c: media.VoicePacket(b, 0, media.VoiceFlag.START, codec=c),
                IDS,
                st.integers(0, 255),
            ),
            st.builds(
                lambda b, s, u: media.VoicePacket(b, s, media.VoiceFlag.DATA, units=tuple(u)),
                IDS,
                st.integers(1, 65535),
                st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=8),
            ),
            st.builds(
                lambda b, s, n, d: media.VoicePacket(
                    b, s, media.VoiceFlag.END, end=media.VoiceEnd(n, d)
                ),
                IDS,
                st.integers(0, 65535),
                st.integers(0, 65535),
                U32,
            ),
        ),
        media.encode_voice,
        media.decode_voice,
    ),
    (
        st.builds(
            courier.CourierEnvelope,
            st.binary(min_size=16, max_size=16),
            U64,
            st.binary(min_size=1, max_size=300),
            st.integers(1, 8),
            st.none() | U32,
        ),
        courier.encode_envelope,
        courier.decode_envelope,
    ),
    (
        st.builds(
            courier.PrekeyBundle,
            KEYS,
            st.dictionaries(U32, KEYS, min_size=1, max_size=8).map(lambda d: tuple(d.items())),
            U64,
            SIGNATURES,
        ),
        courier.encode_prekey_bundle,
        courier.decode_prekey_bundle,
    ),
    (
        st.builds(
            lambda i, g, c, a, n, t, life, u, s: community.BoardPost(
                i, g, c, a, n, t, t + life, u, s
            ),
            st.binary(min_size=16, max_size=16),
            GEOHASHES,
            utf8(512, 1),
            KEYS,
            utf8(64),
            st.integers(0, 2**62),
            st.integers(1, 7 * 24 * 3600 * 1000),
            st.booleans(),
            SIGNATURES,
        )
        | st.builds(
            community.BoardTombstone, st.binary(min_size=16, max_size=16), KEYS, U64, SIGNATURES
        ),
        community.encode_board,
        community.decode_board,
    ),
    (
        st.builds(
            community.GroupState,
            st.binary(min_size=16, max_size=16),
            utf8(255),
            KEYS,
            U32,
            st.lists(st.builds(community.GroupMember, KEYS, KEYS, utf8(64)), max_size=16).map(
                tuple
            ),
            KEYS,
            SIGNATURES,
        ),
        community.encode_group_state,
        community.decode_group_state,
    ),
    (
        st.builds(
            community.GroupMessage,
            st.binary(min_size=16, max_size=16),
            U32,
            st.binary(min_size=12, max_size=12),
            st.binary(min_size=16, max_size=200),
        ),
        community.encode_group_message,
        community.decode_group_message,
    ),
    (
        st.builds(community.GroupContent, utf8(255), KEYS, utf8(255), U64, utf8(400), SIGNATURES),
        community.encode_group_content,
        community.decode_group_content,
    ),
    (
        st.builds(community.Ping, IDS, st.integers(0, 255)),
        community.encode_ping,
        community.decode_ping,
    ),
    (
        st.builds(
            community.Carrier,
            st.sampled_from(list(community.CarrierDirection)),
            GEOHASHES.filter(bool),
            st.binary(min_size=1, max_size=300),
        ),
        community.encode_carrier,
        community.decode_carrier,
    ),
]


@pytest.mark.spec("BTC-030")
@pytest.mark.parametrize(
    ("strategy", "encode", "decode"), MESSAGES, ids=[e.__name__ for _, e, _ in MESSAGES]
)
def test_messages_round_trip_and_refuse_garbage(
    strategy: st.SearchStrategy[Any], encode: Any, decode: Any
) -> None:
    @settings(max_examples=30, deadline=None)
    @given(strategy, st.binary(max_size=120), st.data())
    def check(value: Any, garbage: bytes, data: st.DataObject) -> None:
        encoded = encode(value)
        assert decode(encoded) == value
        cut = data.draw(st.integers(0, len(encoded)))
        flip = data.draw(st.integers(0, max(0, len(encoded) - 1)))
        flipped = bytearray(encoded)
        flipped[flip : flip + 1] = bytes((encoded[flip] ^ data.draw(st.integers(1, 255)),))
        for hostile in (garbage, encoded[:cut], bytes(flipped), encoded + garbage):
            try:
                decode(hostile)
            except RemoteProtocolError as error:
                assert error.code.startswith("bitchat-")

    check()


@pytest.mark.spec("BTC-040", "BTC-041")
@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6000), st.integers(64, 469), st.randoms(use_true_random=False))
def test_fragments_come_together_in_any_order(size: int, data_bytes: int, source: Any) -> None:
    payload = random.Random(size).randbytes(size)
    original = Packet.create(
        PacketType.FILE_TRANSFER, payload, sender=b"\1" * 8, timestamp_ms=5, version=2
    )
    pieces = list(fragments.split(original, fragment_id=b"\2" * 8, data_bytes=data_bytes))
    order = pieces + source.choices(pieces, k=3) if len(pieces) > 1 else pieces
    source.shuffle(order)
    box = fragments.Reassembler()
    whole = [found for piece in order if (found := box.add(decode_packet(piece.encode()), 0.0))]
    assert whole[0] == replace(original, ttl=0)
    assert all(len(piece.encode()) <= 512 for piece in pieces)


@pytest.mark.spec("BTC-050", "BTC-051", "BTC-052")
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(min_size=16, max_size=16), max_size=300, unique=True),
    st.sampled_from([0.25, 0.01, 1e-6]),
    st.sampled_from([20, 256, 400, 1024]),
)
def test_a_filter_never_misses_what_it_holds(ids: list[bytes], rate: float, size: int) -> None:
    made, data, count = sync.build_filter(ids, max_bytes=size, false_positive_rate=rate)
    assert len(data) <= size
    assert all(identifier in made for identifier in ids[:count])
    request = sync.SyncRequest(made, data)
    found = sync.decode_sync_request(sync.encode_sync_request(request))
    # Filling bits can add a member when a value has few bits; it never takes one away.
    assert found.filter.values >= made.values
    assert all(identifier in found.filter for identifier in ids[:count])


def test_the_false_positive_rate_is_what_was_asked_for() -> None:
    source = random.Random(9)
    ids = [source.randbytes(16) for _ in range(300)]
    made, _, count = sync.build_filter(ids, max_bytes=1024, false_positive_rate=0.01)
    strangers = [source.randbytes(16) for _ in range(20_000)]
    rate = sum(stranger in made for stranger in strangers) / len(strangers)
    assert count == 300
    assert rate < 0.011  # 1 / 2**7 and a little


@settings(max_examples=100, deadline=None)
@given(
    st.sets(st.sampled_from(sync.SYNC_TYPES)),
    st.none() | U64,
    st.lists(IDS, max_size=60).map(tuple),
)
def test_sync_requests_round_trip(types: set[PacketType], since: int | None, streams: Any) -> None:
    made, data, _ = sync.build_filter([bytes(16)])
    request = sync.SyncRequest(made, data, frozenset(types), since, streams)
    assert sync.decode_sync_request(sync.encode_sync_request(request)) == request


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=1030), st.integers(0, 255), U32)
def test_hostile_sync_requests_are_bounded(
    garbage: bytes, data: bytes, p: int, modulus: int
) -> None:
    crafted = bytes((1, 0, 1, p, 2, 0, 4)) + modulus.to_bytes(4, "big")
    crafted += b"\3" + len(data).to_bytes(2, "big") + data
    for hostile in (garbage, crafted):
        try:
            found = sync.decode_sync_request(hostile)
        except RemoteProtocolError:
            continue
        assert len(found.filter.values) <= 8 * 1024


@settings(max_examples=30, deadline=None)
@given(KEYS, KEYS, KEYS, st.binary(max_size=300), st.none() | U32)
def test_sealed_courier_messages_open_for_their_recipient_only(
    sender: bytes, recipient: bytes, ephemeral: bytes, payload: bytes, prekey: int | None
) -> None:
    me, you = KeyPair(sender), KeyPair(recipient)
    sealed = courier.seal(
        payload, sender=me, recipient=you.public, ephemeral=KeyPair(ephemeral), prekey_id=prekey
    )
    assert courier.open_sealed(sealed, recipient=you, prekey_id=prekey) == (payload, me.public)
    with pytest.raises(RemoteProtocolError):
        courier.open_sealed(sealed, recipient=KeyPair(b"\x77" * 32), prekey_id=prekey)
    with pytest.raises(RemoteProtocolError):
        courier.open_sealed(sealed, recipient=you, prekey_id=7 if prekey != 7 else None)


def test_courier_tags_are_known_around_midnight() -> None:
    key = bytes(32)
    noon = 20_000 * 86_400 + 43_200
    tag = courier.recipient_tag(key, 20_000)
    for shift in (-86_400, 0, 86_400):
        assert tag in set(courier.recipient_tags(key, noon + shift))
    assert tag not in set(courier.recipient_tags(key, noon + 2 * 86_400))


def test_group_messages_are_sealed_for_their_epoch() -> None:
    author = SigningKey(b"\3" * 32)
    group, key = bytes(16), b"\4" * 32
    unsigned = community.GroupContent("id", bytes(author.verify_key), "nick", 5, "hello", b"")
    signature = bytes(author.sign(unsigned.signed_bytes(group, 7)).signature)
    content = replace(unsigned, signature=signature)
    sealed = community.seal_group_message(
        content, key=key, group_id=group, epoch=7, nonce=bytes(12)
    )
    assert community.open_group_message(sealed, key=key) == content
    assert content.is_authentic(group, 7) and not content.is_authentic(group, 8)
    for altered in (replace(sealed, epoch=8), replace(sealed, group_id=b"\1" * 16)):
        with pytest.raises(RemoteProtocolError) as caught:
            community.open_group_message(altered, key=key)
        assert caught.value.code == "bitchat-auth"


def test_group_state_is_authentic_only_by_its_creator() -> None:
    creator, other = SigningKey(b"\1" * 32), SigningKey(b"\2" * 32)
    roster = (
        community.GroupMember(b"\5" * 32, bytes(creator.verify_key), "a"),
        community.GroupMember(b"\6" * 32, bytes(other.verify_key), "b"),
    )
    state = community.GroupState(bytes(16), "g", bytes(32), 1, roster, b"\5" * 32, bytes(64))
    by = {who: bytes(who.sign(state.signed_bytes()).signature) for who in (creator, other)}
    assert replace(state, signature=by[creator]).is_authentic()
    assert not replace(state, signature=by[other]).is_authentic()
    assert not replace(state, signature=by[creator], creator=b"\7" * 32).is_authentic()
    assert not replace(state, signature=by[creator], epoch=2).is_authentic()
    assert "00" * 32 not in repr(state)


def test_local_mistakes_are_named() -> None:
    good = Packet.create(PacketType.MESSAGE, b"x", sender=bytes(8), timestamp_ms=1)
    big = random.Random(1).randbytes(130_000)
    file = Packet.create(PacketType.FILE_TRANSFER, big, sender=bytes(8), timestamp_ms=1, version=2)
    for call in (
        lambda: replace(good, sender=b"short").encode(),
        lambda: replace(good, route=(bytes(8),)).encode(),
        lambda: replace(good, ttl=256).encode(),
        lambda: replace(good, payload=bytes(70_000)).encode(),
        lambda: replace(good, ttl=0).relayed(),
        lambda: list(fragments.split(file, fragment_id=bytes(8))),
        lambda: list(fragments.split(good, fragment_id=bytes(8), data_bytes=10)),
        lambda: private.encode_private_message(private.PrivateMessage("i", "x" * 256)),
        lambda: private.encode_noise_payload(private.NoisePayloadType.PRIVATE_FILE_PRERELEASE, b""),
        lambda: media.encode_file(media.File("n", "m", b"")),
        lambda: media.encode_voice(media.VoicePacket(bytes(8), 1, media.VoiceFlag.DATA)),
        lambda: sync.build_filter([], max_bytes=2000),
        lambda: courier.recipient_tag(b"", 1),
        lambda: community.encode_ping(community.Ping(b"", 1)),
    ):
        with pytest.raises(LocalProtocolError):
            call()


def test_hops_of_a_ping() -> None:
    ping = community.Ping(bytes(8), 7)
    assert [ping.hops(ttl) for ttl in (7, 6, 1, 0, 8, 9)] == [1, 2, 7, 8, None, None]


def test_noise_payload_types() -> None:
    assert private.decode_noise_payload(b"\x09file") == (0x20, b"file")
    assert private.decode_noise_payload(b"\xee") == (0xEE, b"")
    with pytest.raises(RemoteProtocolError):
        private.decode_noise_payload(b"")
