"""Attacks on mix packets."""

from __future__ import annotations

import hashlib
import random

import pytest

from fogp2p.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from fogp2p.protocols.mix import (
    Delivered,
    Hop,
    Relayed,
    ReplayFilter,
    ReplayFilters,
    ReplyBlock,
    Returned,
    build,
    make_reply_block,
    pad,
    recover_reply,
    unwrap,
    use_reply_block,
)
from fogp2p.protocols.mix.primitives import HopKeys, aes_ctr, mac, public_key, shared_secret

HEADER = 624


def _path(length: int = 3) -> tuple[list[bytes], list[Hop]]:
    private = [hashlib.sha256(b"relay %d" % n).digest() for n in range(length)]
    return private, [Hop(public_key(key), bytes([n + 1]) * 94, 5) for n, key in enumerate(private)]


def _packet(hops: list[Hop]) -> bytes:
    return build(hops, pad(b"attack at dawn"), ephemeral=b"\x07" * 32)


@pytest.mark.attack(47)
@pytest.mark.spec("MIX-050", "MIX-053")
def test_mix_replay3() -> None:
    """The same packet in the same epoch, after a restart, and after the key was rotated."""
    private, hops = _path()
    packet = _packet(hops)
    filters = ReplayFilters(10)
    filters.open(10, b"\1" * 32)
    assert filters.check_and_add(10, unwrap(private[0], packet).tag)
    assert not filters.check_and_add(10, unwrap(private[0], packet).tag)
    snapshot = filters.open(10, b"\1" * 32).to_bytes()
    restarted = ReplayFilters(10)
    restarted.restore(10, snapshot)
    assert not restarted.check_and_add(10, unwrap(private[0], packet).tag)
    # Epoch 10 is remembered while its key lives, and key and filter go together.
    restarted.advance(11)
    restarted.open(11, b"\2" * 32)
    assert not restarted.check_and_add(10, unwrap(private[0], packet).tag)
    restarted.advance(12)
    with pytest.raises(LocalProtocolError):
        restarted.check_and_add(10, unwrap(private[0], packet).tag)
    rotated = hashlib.sha256(b"relay 0, next epoch").digest()
    with pytest.raises(RemoteProtocolError) as caught:
        unwrap(rotated, packet)
    assert caught.value.code == "mix-mac"


@pytest.mark.attack(47)
def test_a_packet_cannot_be_replayed_under_another_encoding() -> None:
    """Non-canonical group elements would give one secret and another packet."""
    private, hops = _path()
    packet = bytearray(_packet(hops))
    packet[31] |= 0x80
    with pytest.raises(RemoteProtocolError) as caught:
        unwrap(private[0], bytes(packet))
    assert caught.value.code == "mix-element"
    for element in (bytes(32), b"\1" + bytes(31), (2**255 - 18).to_bytes(32, "little")):
        with pytest.raises(RemoteProtocolError) as caught:
            unwrap(private[0], element + bytes(packet[32:]))
        assert caught.value.code == "mix-element"


@pytest.mark.attack(48)
@pytest.mark.spec("MIX-010", "MIX-011")
def test_mix_tag_all() -> None:
    """Every byte of a packet altered: the header at the next hop, the payload at the exit.

    A header is refused by the very next relay. An altered payload cannot be told from noise on its
    way, and at the exit nothing of the message is left.
    """
    private, hops = _path()
    packet = _packet(hops)
    source = random.Random(48)
    for position in range(HEADER):
        altered = bytearray(packet)
        altered[position] ^= 1 << source.randrange(8)
        with pytest.raises(RemoteProtocolError):
            unwrap(private[0], bytes(altered))
    first = unwrap(private[0], packet)
    assert isinstance(first, Relayed)
    for position in range(HEADER, len(packet)):
        altered = bytearray(first.packet)
        altered[position] ^= 1 << source.randrange(8)
        second = unwrap(private[1], bytes(altered))
        assert isinstance(second, Relayed)
        with pytest.raises(RemoteProtocolError) as caught:
            unwrap(private[2], second.packet)
        assert caught.value.code == "mix-payload"


@pytest.mark.attack(48)
def test_a_tagged_payload_shows_no_pattern_to_the_last_hop() -> None:
    """With a stream cipher the flipped bit would come out where it went in."""
    private, hops = _path(2)
    packet = _packet(hops)
    altered = packet[:-1] + bytes([packet[-1] ^ 1])
    clean, tagged = unwrap(private[0], packet), unwrap(private[0], altered)
    assert isinstance(clean, Relayed) and isinstance(tagged, Relayed)
    pairs = zip(clean.packet[HEADER:], tagged.packet[HEADER:], strict=True)
    differing = sum(a != b for a, b in pairs)
    assert differing > 0.98 * (len(packet) - HEADER)


@pytest.mark.attack(49)
@pytest.mark.spec("MIX-054")
def test_mix_filterfull() -> None:
    """A saturated filter refuses with a label, lets nothing through, and the next epoch is free."""
    filters = ReplayFilters(1, capacity=100)
    filters.open(1, bytes(32))
    tags = [hashlib.sha256(b"%d" % n).digest() for n in range(200)]
    assert all(filters.check_and_add(1, tag) for tag in tags[:100])
    for tag in tags[100:]:
        with pytest.raises(LimitExceeded, match="replay filter full"):
            filters.check_and_add(1, tag)
    assert not any(filters.check_and_add(1, tag) for tag in tags[:100])
    filters.open(2, b"\2" * 32)
    assert filters.check_and_add(2, tags[150])


@pytest.mark.attack(49)
def test_tags_cannot_be_chosen_to_collide_without_the_filter_key() -> None:
    """Two filters place the same tags differently: crafted collisions do not carry over."""
    first, second = ReplayFilter(b"\1" * 32), ReplayFilter(b"\2" * 32)
    tag = bytes(32)
    assert set(first._positions(tag)).isdisjoint(second._positions(tag))


@pytest.mark.attack(58)
@pytest.mark.spec("MIX-020", "MIX-022", "MIX-041")
def test_mix_surb() -> None:
    """A reply block used twice gives the same header, so every relay drops the second packet."""
    private, hops = _path()
    block, own = make_reply_block(
        hops, ephemeral=b"\3" * 32, surb_id=b"\4" * 16, reply_key=b"\5" * 16
    )
    replay = ReplayFilter(bytes(32))
    verdicts = []
    for answer in (b"first", b"second"):
        result = unwrap(private[0], use_reply_block(block, pad(answer)))
        verdicts.append(replay.check_and_add(result.tag))
    assert verdicts == [True, False]
    assert recover_reply(own, _home(private, block)).endswith(b"answer")
    stranger = make_reply_block(
        hops, ephemeral=b"\6" * 32, surb_id=b"\7" * 16, reply_key=b"\5" * 16
    )[1]
    with pytest.raises(RemoteProtocolError):
        recover_reply(stranger, _home(private, block))


def _home(private: list[bytes], block: ReplyBlock) -> bytes:
    """The payload that reaches the maker of `block` when somebody answers."""
    packet = use_reply_block(block, pad(b"answer"))
    for key in private[:-1]:
        relayed = unwrap(key, packet)
        assert isinstance(relayed, Relayed)
        packet = relayed.packet
    home = unwrap(private[-1], packet)
    assert isinstance(home, Returned)
    return home.payload


def _forge(private: bytes, routing: bytes) -> bytes:
    """A packet that authenticates at one hop and decrypts there to `routing` (688 bytes)."""
    alpha = public_key(b"\x09" * 32)
    keys = HopKeys(shared_secret(private, alpha))
    beta = aes_ctr(keys.cipher_key, keys.cipher_iv, routing[:576])
    return alpha + beta + mac(keys, beta) + bytes(3984)


@pytest.mark.attack(60)
@pytest.mark.spec("MIX-012", "MIX-013")
@pytest.mark.parametrize(
    ("address", "delay", "inner", "rest", "outcome"),
    [
        (b"\1" * 94, 0, b"\1" * 16, b"\1" * 464, "mix-routing"),  # delay 0 at a relay
        (bytes(94), 5, b"\1" * 16, b"\1" * 464, "mix-routing"),  # nowhere to go
        (b"\1" * 94, 65_535, b"\1" * 16, b"\1" * 464, "relayed"),  # the largest delay is a number
        (b"\1" * 94, 0, b"\1" * 16, bytes(464), "mix-routing"),  # answer with a destination
        (bytes(94), 0, bytes(16), bytes(464), "mix-payload"),  # exit, payload not made for it
        (bytes(94), 0, b"\1" * 16, bytes(464), "returned"),  # unknown reply block: caller's drop
    ],
)
def test_mix_delay(address: bytes, delay: int, inner: bytes, rest: bytes, outcome: str) -> None:
    private = hashlib.sha256(b"victim").digest()
    packet = _forge(private, address + delay.to_bytes(2) + inner + rest)
    if outcome.startswith("mix-"):
        with pytest.raises(RemoteProtocolError) as caught:
            unwrap(private, packet)
        assert caught.value.code == outcome
    else:
        assert type(unwrap(private, packet)).__name__.lower() == outcome


def test_only_the_last_hop_reads_the_message() -> None:
    private, hops = _path()
    packet = _packet(hops)
    for key in private[:-1]:
        result = unwrap(key, packet)
        assert isinstance(result, Relayed)
        assert b"attack at dawn" not in result.packet
        packet = result.packet
    assert isinstance(unwrap(private[-1], packet), Delivered)
