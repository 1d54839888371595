"""Two formats that no app puts on the air today (specs/bitchat section 17).

The announce of the second kind (0x2C) gives a peer another id each hour, which only those recognise
who share a key with it. The binary message is what the apps' first year sent.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from nacl import bindings as sodium
from nacl.exceptions import RuntimeError as SodiumRefused

from fogp2p.errors import LocalProtocolError

from .config import KEY_BYTES, MAX_GEOHASH_CHARS, PEER_ID_BYTES
from .wire import fixed, integer, only, refuse, tagged, text, tlv

__all__ = [
    "AnnounceV2",
    "OldMessage",
    "decode_announce_v2",
    "decode_old_message",
    "encode_announce_v2",
    "encode_old_message",
    "epoch_of",
    "epoch_peer_id",
    "recognition_key",
    "recognition_tag",
    "recognized",
    "rotation_secret",
]

EPOCH_S: Final = 3_600
TAG_BYTES: Final = 8
TAG_SLOTS: Final = 8
_EPOCH, _TAGS, _CAPABILITIES, _GEOHASH = range(1, 5)
_MAX_CAPABILITY_BYTES: Final = 8
_MAX_MENTIONS: Final = 255


@dataclass(frozen=True, slots=True)
class AnnounceV2:
    """`epoch`: hours since 1970; `tags`: eight of eight bytes, some of them random."""

    epoch: int
    tags: tuple[bytes, ...]
    capabilities: int = 0
    geohash: str | None = None


def encode_announce_v2(announce: AnnounceV2) -> bytes:
    """The payload. Raises LocalProtocolError("bitchat-field")."""
    if not 0 <= announce.epoch < 2**32 or len(announce.tags) != TAG_SLOTS:
        raise LocalProtocolError("an epoch of 32 bits and eight tags", code="bitchat-field")
    if any(len(tag) != TAG_BYTES for tag in announce.tags):
        raise LocalProtocolError("a tag has eight bytes", code="bitchat-field")
    out = tlv(_EPOCH, announce.epoch.to_bytes(4), width=1)
    out += tlv(_TAGS, b"".join(announce.tags), width=1)
    out += tlv(_CAPABILITIES, _canonical(announce.capabilities), width=1)
    if announce.geohash is not None:
        out += tlv(_GEOHASH, announce.geohash.encode(), width=1)
    return out


def decode_announce_v2(data: bytes) -> AnnounceV2:
    """Read the payload; unknown fields are skipped. Raises RemoteProtocolError."""
    found = only(data, width=1, known=range(1, 5))
    tags = fixed(tagged(found, _TAGS, "the tags"), TAG_BYTES * TAG_SLOTS, "the tags")
    capabilities = found.get(_CAPABILITIES, b"")
    number = int.from_bytes(capabilities, "little")
    if len(capabilities) > _MAX_CAPABILITY_BYTES or capabilities != _canonical(number):
        raise refuse("field", "capabilities are not in their shortest form")
    geohash = found.get(_GEOHASH)
    return AnnounceV2(
        integer(tagged(found, _EPOCH, "the epoch"), 4, "the epoch"),
        tuple(tags[at : at + TAG_BYTES] for at in range(0, len(tags), TAG_BYTES)),
        number,
        None if geohash is None else text(geohash, "geohash", most=MAX_GEOHASH_CHARS),
    )


def _canonical(capabilities: int) -> bytes:
    """Little-endian without trailing zero bytes."""
    return capabilities.to_bytes((capabilities.bit_length() + 7) // 8, "little")


def epoch_of(unix_s: float) -> int:
    """The hour a moment lies in."""
    return int(unix_s) // EPOCH_S


def rotation_secret(noise_private: bytes) -> bytes:
    """32 bytes from which the hourly ids follow: HKDF-SHA256 with an empty salt."""
    return _hkdf(_key(noise_private), b"bitchat-peer-rotation-v1")


def epoch_peer_id(secret: bytes, epoch: int) -> bytes:
    """The 8-byte id of an hour."""
    message = b"bitchat-peer-id-v2" + epoch.to_bytes(4)
    return hmac.digest(secret, message, "sha256")[:PEER_ID_BYTES]


def recognition_key(noise_private: bytes, other_public: bytes) -> bytes:
    """What two peers that know each other share. Raises LocalProtocolError for a weak key."""
    try:
        shared = sodium.crypto_scalarmult(_key(noise_private), _key(other_public))
    except SodiumRefused as exc:
        raise LocalProtocolError("an unusable Noise key", code="bitchat-key") from exc
    return _hkdf(bytes(shared), b"bitchat-recognition-v1")


def recognition_tag(
    key: bytes, epoch: int, sender_public: bytes, recipient_public: bytes, sender_id: bytes
) -> bytes:
    """The tag by which the recipient recognises the sender in this hour."""
    message = epoch.to_bytes(4) + sender_public + recipient_public + sender_id
    return hmac.digest(key, message, "sha256")[:TAG_BYTES]


def recognized(
    announce: AnnounceV2,
    sender_id: bytes,
    own_public: bytes,
    known: Iterable[tuple[bytes, bytes]],
    now_epoch: int,
) -> bytes | None:
    """Whose announce it is: the Noise key of one of `known` (public key, recognition key).

    The hour may be off by one. None for a stranger.
    """
    if abs(announce.epoch - now_epoch) > 1:
        return None
    for public, key in known:
        tag = recognition_tag(key, announce.epoch, public, own_public, sender_id)
        if any(hmac.compare_digest(tag, each) for each in announce.tags):
            return public
    return None


def _key(key: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise LocalProtocolError("a Noise key has 32 bytes", code="bitchat-key")
    return key


def _hkdf(secret: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256, an empty salt and 32 bytes of output: one block."""
    extracted = hmac.digest(bytes(32), secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)


_RELAY, _PRIVATE, _ORIGINAL, _RECIPIENT, _SENDER, _MENTIONS, _CHANNEL, _ENCRYPTED = (
    1 << bit for bit in range(8)
)


@dataclass(frozen=True, slots=True)
class OldMessage:
    """`content` is text, or ciphertext when `is_encrypted`. Not the payload of type 0x02 today."""

    id: str
    sender: str
    content: bytes
    timestamp_ms: int
    is_relay: bool = False
    is_private: bool = False
    is_encrypted: bool = False
    original_sender: str | None = None
    recipient: str | None = None
    sender_peer: str | None = None
    mentions: Sequence[str] = ()
    channel: str | None = None


def encode_old_message(message: OldMessage) -> bytes:
    """The payload. Raises LocalProtocolError("bitchat-field")."""
    optional = (message.original_sender, message.recipient, message.sender_peer)
    flags = _RELAY * message.is_relay | _PRIVATE * message.is_private
    flags |= _ENCRYPTED * message.is_encrypted | _MENTIONS * bool(message.mentions)
    for flag, value in zip((_ORIGINAL, _RECIPIENT, _SENDER), optional, strict=True):
        flags |= flag * (value is not None)
    flags |= _CHANNEL * (message.channel is not None)
    if not 0 <= message.timestamp_ms < 2**64 or len(message.mentions) > _MAX_MENTIONS:
        raise LocalProtocolError("a time of 64 bits, at most 255 mentions", code="bitchat-field")
    out = bytes([flags]) + message.timestamp_ms.to_bytes(8)
    out += _sized(message.id.encode(), 1) + _sized(message.sender.encode(), 1)
    out += _sized(message.content, 2)
    for each in optional:
        out += b"" if each is None else _sized(each.encode(), 1)
    if message.mentions:
        out += bytes([len(message.mentions)])
        out += b"".join(_sized(each.encode(), 1) for each in message.mentions)
    return out if message.channel is None else out + _sized(message.channel.encode(), 1)


def decode_old_message(data: bytes) -> OldMessage:
    """Read the payload. Raises RemoteProtocolError: "bitchat-short", "-text", "-field"."""
    reader = _Reader(data)
    flags, timestamp = reader.number(1), reader.number(8)
    name, sender = reader.text("id"), reader.text("sender")
    content = reader.take(reader.number(2))
    original = reader.text("original sender") if flags & _ORIGINAL else None
    recipient = reader.text("recipient") if flags & _RECIPIENT else None
    peer = reader.text("sender id") if flags & _SENDER else None
    count = reader.number(1) if flags & _MENTIONS else 0
    mentions = tuple(reader.text("mention") for _ in range(count))
    channel = reader.text("channel") if flags & _CHANNEL else None
    if not flags & _ENCRYPTED:
        text(content, "content", most=65_535)
    return OldMessage(
        name,
        sender,
        content,
        timestamp,
        bool(flags & _RELAY),
        bool(flags & _PRIVATE),
        bool(flags & _ENCRYPTED),
        original,
        recipient,
        peer,
        mentions,
        channel,
    )


def _sized(data: bytes, width: int) -> bytes:
    if len(data) >= 1 << (8 * width):
        raise LocalProtocolError("a field is too long", code="bitchat-field")
    return len(data).to_bytes(width) + data


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            raise refuse("short", "a message ends early")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def text(self, what: str) -> str:
        return text(self.take(self.number(1)), what, most=255)
