"""The announce of the second kind and the binary message of the first year."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings as sodium

from fogp2p.errors import LocalProtocolError, RemoteProtocolError
from fogp2p.protocols.bitchat.dormant import (
    AnnounceV2,
    OldMessage,
    decode_announce_v2,
    decode_old_message,
    encode_announce_v2,
    encode_old_message,
    epoch_of,
    epoch_peer_id,
    recognition_key,
    recognition_tag,
    recognized,
    rotation_secret,
)

ALICE, BOB, EVE = (bytes([n]) * 32 for n in (1, 2, 3))
PUBLIC = {private: sodium.crypto_scalarmult_base(private) for private in (ALICE, BOB, EVE)}
TAGS = tuple(bytes([n]) * 8 for n in range(8))


@pytest.mark.spec("BTC-060")
def test_announces_round_trip_and_skip_what_is_unknown() -> None:
    announce = AnnounceV2(491_000, TAGS, 0b1000000101, "u4pruydq")
    data = encode_announce_v2(announce)
    assert decode_announce_v2(data) == announce
    assert decode_announce_v2(data + b"\x63\x02ab") == announce
    assert decode_announce_v2(encode_announce_v2(AnnounceV2(0, TAGS))) == AnnounceV2(0, TAGS)


@pytest.mark.spec("BTC-060")
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01\x04\0\0\0\1",
        b"\x01\x03\0\0\1\x02\x40" + bytes(64),
        b"\x01\x04\0\0\0\1\x02\x3f" + bytes(63),
        b"\x01\x04\0\0\0\1\x02\x40" + bytes(64) + b"\x03\x02\x01\x00",
        b"\x01\x04\0\0\0\1\x02\x40" + bytes(64) + b"\x04\x0d" + b"u" * 13,
        b"\x01\x04\0\0\0\1\x02\x40" + bytes(64) + b"\x01\x04\0\0\0\1",
    ],
)
def test_other_announces_are_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_announce_v2(data)


@pytest.mark.spec("BTC-061")
def test_friends_recognise_each_other_and_strangers_see_another_id_each_hour() -> None:
    epoch = epoch_of(1_767_225_600)
    secret = rotation_secret(ALICE)
    name = epoch_peer_id(secret, epoch)
    assert name != epoch_peer_id(secret, epoch + 1) and len(name) == 8
    shared = recognition_key(ALICE, PUBLIC[BOB])
    assert shared == recognition_key(BOB, PUBLIC[ALICE])
    tag = recognition_tag(shared, epoch, PUBLIC[ALICE], PUBLIC[BOB], name)
    announce = AnnounceV2(epoch, (*TAGS[:5], tag, *TAGS[6:]))
    book = [(PUBLIC[EVE], recognition_key(BOB, PUBLIC[EVE])), (PUBLIC[ALICE], shared)]
    for now in (epoch - 1, epoch, epoch + 1):
        assert recognized(announce, name, PUBLIC[BOB], book, now) == PUBLIC[ALICE]
    assert recognized(announce, name, PUBLIC[BOB], book, epoch + 2) is None
    assert recognized(announce, bytes(8), PUBLIC[BOB], book, epoch) is None
    theirs = [(PUBLIC[ALICE], recognition_key(EVE, PUBLIC[ALICE]))]
    assert recognized(announce, name, PUBLIC[EVE], theirs, epoch) is None
    with pytest.raises(LocalProtocolError):
        recognition_key(ALICE, bytes(32))


NAMES = st.text(max_size=40)
MAYBE = st.none() | NAMES


@pytest.mark.spec("BTC-062")
@given(NAMES, NAMES, st.text(max_size=300), MAYBE, MAYBE, MAYBE, st.lists(NAMES, max_size=4), MAYBE)
def test_old_messages_round_trip(
    name, sender, content, original, to, peer, mentions, channel
) -> None:
    message = OldMessage(
        name,
        sender,
        content.encode(),
        1_700_000_000_000,
        is_private=True,
        original_sender=original,
        recipient=to,
        sender_peer=peer,
        mentions=tuple(mentions),
        channel=channel,
    )
    assert decode_old_message(encode_old_message(message)) == message


@pytest.mark.spec("BTC-062")
@given(st.binary(max_size=200))
def test_any_bytes_are_an_old_message_or_refused(data: bytes) -> None:
    try:
        message = decode_old_message(data)
    except RemoteProtocolError:
        return
    assert decode_old_message(encode_old_message(message)) == message


def test_ciphertext_need_not_be_text() -> None:
    secret = OldMessage("1", "a", b"\xff\xfe", 0, is_encrypted=True)
    assert decode_old_message(encode_old_message(secret)) == secret
    with pytest.raises(RemoteProtocolError):
        decode_old_message(encode_old_message(OldMessage("1", "a", b"\xff\xfe", 0)))
    with pytest.raises(LocalProtocolError):
        encode_old_message(OldMessage("x" * 256, "a", b"", 0))
