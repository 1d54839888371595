"""Attacks on BitChat's bytes, and the faults that happened in the apps, as test cases."""

from __future__ import annotations

import random
import tracemalloc
import zlib
from dataclasses import replace

import pytest
from nacl.signing import SigningKey

from fogp2p.errors import LocalProtocolError, RemoteProtocolError
from fogp2p.protocols.bitchat import (
    Announce,
    Packet,
    PacketType,
    Reassembler,
    decode_packet,
    display_text,
    encode_announce,
    peer_id,
    split,
    verified_announce,
)
from fogp2p.protocols.bitchat.fragments import Fragment, encode_fragment
from fogp2p.protocols.bitchat.media import decode_file, safe_file_name
from fogp2p.protocols.bitchat.private import decode_private_message
from fogp2p.protocols.bitchat.sync import decode_sync_request

KEY = SigningKey(b"\1" * 32)
NOISE = b"\2" * 32
ME = peer_id(NOISE)


def _sign(data: bytes) -> bytes:
    return bytes(KEY.sign(data).signature)


def _announce(**changes: object) -> Packet:
    body = Announce("alice", NOISE, bytes(KEY.verify_key), capabilities=0x0329)
    packet = Packet.create(
        PacketType.ANNOUNCE,
        encode_announce(replace(body, **changes)),  # type: ignore[arg-type]
        sender=ME,
        timestamp_ms=1_700_000_000_000,
    )
    return packet.signed(_sign)


@pytest.mark.attack(34)
@pytest.mark.spec("BTC-020", "BTC-022")
def test_bc_sig() -> None:
    """Every bit of a signed announce: refused, or something no signature covers."""
    frame = _announce().encode()
    assert verified_announce(decode_packet(frame)).nickname == "alice"
    free = set(range(2 * 8, 3 * 8))  # TTL: relays lower it
    free |= {11 * 8 + bit for bit in (3, 4, 5, 6, 7)}  # route (not in v1), RSR, reserved flags
    for bit in set(range(8 * len(frame))) - free:
        altered = bytearray(frame)
        altered[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises(RemoteProtocolError):
            verified_announce(decode_packet(bytes(altered)))
    with pytest.raises(RemoteProtocolError, match="signature"):
        verified_announce(replace(_announce(), signature=None))


@pytest.mark.attack(34)
def test_a_signature_by_another_key_is_refused() -> None:
    """BCH-01-008: checked and then ignored. Here the result is the only way to the announce."""
    other = SigningKey(b"\7" * 32)
    forged = replace(_announce(), signature=None).signed(lambda d: bytes(other.sign(d).signature))
    with pytest.raises(RemoteProtocolError) as caught:
        verified_announce(forged)
    assert caught.value.code == "bitchat-signature"


@pytest.mark.attack(34)
@pytest.mark.spec("BTC-022")
def test_an_announce_under_another_id_is_refused() -> None:
    """iOS PR 998: identity taken from a packet field."""
    stolen = replace(_announce(), sender=b"\x99" * 8, signature=None).signed(_sign)
    with pytest.raises(RemoteProtocolError) as caught:
        verified_announce(stolen)
    assert caught.value.code == "bitchat-sender"


@pytest.mark.attack(36)
@pytest.mark.spec("BTC-023")
def test_bc_ttl() -> None:
    """TTL 255 counts as 7, and nothing is relayed from 0."""
    packet = replace(_announce(), ttl=255)
    assert packet.hops_left == 7
    hops = 0
    while packet.hops_left:
        packet = packet.relayed()
        hops += 1
    assert hops == 7
    with pytest.raises(LocalProtocolError):
        packet.relayed()
    assert verified_announce(packet).nickname == "alice"


def _piece(identifier: int, index: int, total: int, data: bytes, sender: bytes = ME) -> Packet:
    payload = encode_fragment(Fragment(identifier.to_bytes(8, "big"), index, total, 0x22, data))
    return Packet(PacketType.FRAGMENT, 7, 1, sender, payload)


@pytest.mark.attack(37)
@pytest.mark.spec("BTC-041", "BTC-042")
def test_bc_frag() -> None:
    """10,000 assemblies opened by one sender and by many, none ever finished."""
    box = Reassembler()
    for number in range(10_000):
        box.add(_piece(number, 0, 256, bytes(400)), now=0.0)
    assert len(box) == 16  # of one sender
    for number in range(10_000):
        box.add(_piece(number, 0, 2, bytes(400), sender=number.to_bytes(8, "big")), now=1.0)
    assert len(box) == 128
    assert box.size <= 128 * 400
    assert box.expire(now=30.0) + box.expire(now=31.0) > 0
    box.expire(now=32.0)
    assert (len(box), box.size) == (0, 0)
    assert box.next_deadline() is None


@pytest.mark.attack(37)
@pytest.mark.spec("BTC-040")
@pytest.mark.parametrize(("index", "total"), [(2, 2), (65535, 65535), (0, 257), (0, 0), (9, 3)])
def test_impossible_fragments_are_refused(index: int, total: int) -> None:
    payload = bytes(8) + index.to_bytes(2, "big") + total.to_bytes(2, "big") + b"\x02data"
    with pytest.raises(RemoteProtocolError) as caught:
        Reassembler().add(Packet(PacketType.FRAGMENT, 7, 1, ME, payload), now=0.0)
    assert caught.value.code == "bitchat-fragment"


@pytest.mark.attack(37)
@pytest.mark.spec("BTC-042")
def test_fragments_that_disagree_or_grow_drop_the_assembly() -> None:
    box = Reassembler()
    box.add(_piece(1, 0, 5, b"a"), now=0.0)
    with pytest.raises(RemoteProtocolError, match="disagree"):
        box.add(_piece(1, 1, 6, b"b"), now=0.0)
    assert len(box) == 0
    with pytest.raises(RemoteProtocolError, match="too long"):
        for index in range(256):
            box.add(_piece(2, index, 256, bytes(5_000)), now=0.0)
    assert (len(box), box.size) == (0, 0)
    for _ in range(300):  # one index again and again costs nothing
        box.add(_piece(3, 0, 2, bytes(400)), now=0.0)
    assert box.size == 400


@pytest.mark.attack(37)
def test_one_flooder_does_not_push_out_the_others() -> None:
    """Somebody else's half-finished message survives 10,000 assemblies of the flooder."""
    box = Reassembler()
    sender = b"\x42" * 8
    friend = Packet.create(
        PacketType.MESSAGE, random.Random(1).randbytes(600), sender=sender, timestamp_ms=1
    )
    first, second = split(friend, fragment_id=b"\x43" * 8)
    assert box.add(first, now=0.0) is None
    for number in range(10_000):
        box.add(_piece(number, 0, 2, bytes(400)), now=1.0)
    assert box.add(second, now=2.0) == replace(friend, ttl=0)


@pytest.mark.attack(37)
def test_fragments_may_not_carry_another_senders_packet_or_fragments() -> None:
    stolen = Packet.create(PacketType.MESSAGE, b"hi", sender=b"\x55" * 8, timestamp_ms=1)
    nested = Packet(PacketType.FRAGMENT, 7, 1, ME, b"x" * 20)
    for inner in (stolen, nested):
        with pytest.raises(RemoteProtocolError, match="another sender"):
            Reassembler().add(_piece(1, 0, 1, inner.encode()), now=0.0)


@pytest.mark.attack(38)
@pytest.mark.spec("BTC-012")
def test_bc_bomb() -> None:
    """A megabyte of zeros, and lies about the size: refused without being unpacked."""
    encoder = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = encoder.compress(bytes(50_000_000)) + encoder.flush()
    for declared in (50_000_000, 2**32 - 1, 1_179_760, 0, 10):
        body = declared.to_bytes(4, "big") + bomb
        frame = bytes((2, 2, 7)) + bytes(8) + b"\x04" + len(body).to_bytes(4, "big") + ME + body
        tracemalloc.start()
        with pytest.raises(RemoteProtocolError) as caught:
            decode_packet(frame)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert caught.value.code == "bitchat-compression"
        assert peak < 4_000_000


@pytest.mark.attack(38)
def test_trailing_and_truncated_streams_are_refused() -> None:
    text = b"compress me " * 30
    packet = Packet.create(PacketType.MESSAGE, text, sender=ME, timestamp_ms=1)
    assert packet.compressed is not None
    for squeezed in (packet.compressed + b"x", packet.compressed[:-1], b"\xff" * 40):
        with pytest.raises(RemoteProtocolError):
            decode_packet(replace(packet, compressed=squeezed).encode())


@pytest.mark.attack(39)
@pytest.mark.spec("BTC-050", "BTC-051")
@pytest.mark.parametrize(
    ("p", "modulus", "size", "refused"),
    [
        (0, 100, 10, True),
        (33, 100, 10, True),
        (255, 100, 10, True),
        (7, 0, 10, True),
        (7, 2**32 - 1, 1_025, True),
        (1, 2**32 - 1, 1_024, False),
        (32, 1, 1_024, False),
    ],
)
def test_bc_gcs(p: int, modulus: int, size: int, refused: bool) -> None:
    """Filters with huge parameters: refused, or decoded in bounded steps."""
    for filling in (b"\xff", b"\0", b"\xaa"):
        data = filling * size
        request = bytes((1, 0, 1, p, 2, 0, 4)) + modulus.to_bytes(4, "big")
        request += b"\3" + size.to_bytes(2, "big") + data
        if refused:
            with pytest.raises(RemoteProtocolError) as caught:
                decode_sync_request(request)
            assert caught.value.code == "bitchat-filter"
        else:
            assert len(decode_sync_request(request).filter.values) <= 8 * size


@pytest.mark.attack(43)
@pytest.mark.spec("BTC-031")
def test_bc_text() -> None:
    """Nicknames that move the cursor, reorder the line, hide, stack marks or fill the screen."""
    hostile = {
        "\x1b[2Jclear": "\ufffd[2Jclear",
        "a\u202eb\u2066c": "a\ufffdb\ufffdc",
        "zero\u200b\u200d\ufeffwidth": "zero\ufffd\ufffd\ufffdwidth",
        "line\nbreak\r\u2028": "line\ufffdbreak\ufffd\ufffd",
        "nul\0\x7f\x9b31m": "nul\ufffd\ufffd\ufffd31m",
        "tag\U000e0041": "tag\ufffd",
    }
    for text, shown in hostile.items():
        assert display_text(text) == shown
    assert len(display_text("x" * 4_096)) == 64
    assert len(display_text("Z" + "\u0301" * 4_000)) <= 6
    assert display_text("Grüße, 世界 \U0001f44b") == "Grüße, 世界 \U0001f44b"


@pytest.mark.attack(43)
def test_text_that_is_not_utf8_is_refused() -> None:
    for bad in (b"\xff\xfe", b"\xc0\xaf", b"\xed\xa0\x80"):
        with pytest.raises(RemoteProtocolError) as caught:
            decode_private_message(b"\0\1i\1" + bytes((len(bad),)) + bad)
        assert caught.value.code == "bitchat-text"


def test_an_unknown_field_refuses_a_private_message() -> None:
    with pytest.raises(RemoteProtocolError):
        decode_private_message(b"\0\1i\1\1c\2\0")


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/etc/passwd", "..\\..\\boot.ini", "...", "", "a/../..", "x\0y", ".ssh"],
)
def test_file_names_never_become_paths(name: str) -> None:
    safe = safe_file_name(name)
    assert safe and safe not in (".", "..")
    assert not set(safe) & set("/\\\0") and not safe.startswith(".")


def test_file_sizes_are_checked_before_memory_is_spent() -> None:
    huge = b"\x02\x00\x04" + (2**31).to_bytes(4, "big") + b"\x04\x00\x00\x00\x01x"
    with pytest.raises(RemoteProtocolError) as caught:
        decode_file(huge)
    assert caught.value.code == "bitchat-size"
    with pytest.raises(RemoteProtocolError):
        decode_file(b"\x04\xff\xff\xff\xffx")
