"""Board posts, groups, pings and carried events (specs/bitchat sections 14-16)."""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from fogp2p.errors import LocalProtocolError

from .config import (
    KEY_BYTES,
    MAX_BOARD_LIFETIME_MS,
    MAX_BOARD_NICK_BYTES,
    MAX_BOARD_TEXT_BYTES,
    MAX_CARRIER_BYTES,
    MAX_GEOHASH_CHARS,
    MAX_GROUP_MEMBERS,
    MAX_PUBLIC_TEXT_BYTES,
    MAX_SHORT_TEXT_BYTES,
    SIGNATURE_BYTES,
)
from .wire import fixed, integer, items, only, refuse, signature_is_valid, tagged, text, tlv

__all__ = [
    "BoardPost",
    "BoardTombstone",
    "Carrier",
    "CarrierDirection",
    "GroupContent",
    "GroupMember",
    "GroupMessage",
    "GroupState",
    "Ping",
    "decode_board",
    "decode_carrier",
    "decode_group_content",
    "decode_group_message",
    "decode_group_state",
    "decode_ping",
    "encode_board",
    "encode_carrier",
    "encode_group_content",
    "encode_group_message",
    "encode_group_state",
    "encode_ping",
    "open_group_message",
    "seal_group_message",
]

_GEOHASH_ALPHABET: Final = frozenset("0123456789bcdefghjkmnpqrstuvwxyz")


def _sized(value: bytes, width: int) -> bytes:
    return len(value).to_bytes(width) + value


# --- board ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BoardPost:
    """A notice: `post_id` 16 bytes; `geohash` empty for the mesh; content 1-512 bytes of UTF-8."""

    post_id: bytes
    geohash: str
    content: str
    author: bytes
    nickname: str
    created_ms: int
    expires_ms: int
    urgent: bool
    signature: bytes

    def signed_bytes(self) -> bytes:
        """What the author signs."""
        return (
            _sized(b"bitchat-board-v1", 1)
            + self.post_id
            + _sized(self.geohash.encode("utf-8"), 2)
            + _sized(self.content.encode("utf-8"), 2)
            + self.author
            + _sized(self.nickname.encode("utf-8"), 2)
            + self.created_ms.to_bytes(8)
            + self.expires_ms.to_bytes(8)
            + bytes((self.urgent,))
        )

    def is_authentic(self) -> bool:
        """Whether `author` signed it."""
        return signature_is_valid(self.author, self.signed_bytes(), self.signature)


@dataclass(frozen=True, slots=True)
class BoardTombstone:
    """The author takes a post back."""

    post_id: bytes
    author: bytes
    deleted_ms: int
    signature: bytes

    def signed_bytes(self) -> bytes:
        """What the author signs."""
        return _sized(b"bitchat-board-del-v1", 1) + self.post_id + self.deleted_ms.to_bytes(8)

    def is_authentic(self) -> bool:
        """Whether `author` signed it."""
        return signature_is_valid(self.author, self.signed_bytes(), self.signature)


_POST, _TOMBSTONE = 1, 2


def encode_board(entry: BoardPost | BoardTombstone) -> bytes:
    """The payload of BOARD_POST."""
    if isinstance(entry, BoardTombstone):
        values = {
            1: bytes((_TOMBSTONE,)),
            2: entry.post_id,
            5: entry.author,
            10: entry.signature,
            11: entry.deleted_ms.to_bytes(8),
        }
    else:
        values = {
            1: bytes((_POST,)),
            2: entry.post_id,
            3: entry.geohash.encode("utf-8"),
            4: entry.content.encode("utf-8"),
            5: entry.author,
            6: entry.nickname.encode("utf-8"),
            7: entry.created_ms.to_bytes(8),
            8: entry.expires_ms.to_bytes(8),
            9: bytes((entry.urgent,)),
            10: entry.signature,
        }
    return b"".join(tlv(kind, value, width=2) for kind, value in values.items())


def decode_board(payload: bytes) -> BoardPost | BoardTombstone:
    """Read either kind; the signature is not verified yet. Raises RemoteProtocolError."""
    fields = only(payload, width=2, known=range(1, 12))
    kind = integer(tagged(fields, 1, "kind"), 1, "kind")
    post_id = fixed(tagged(fields, 2, "post id"), 16, "post id")
    author = fixed(tagged(fields, 5, "author"), KEY_BYTES, "author")
    signature = fixed(tagged(fields, 10, "signature"), SIGNATURE_BYTES, "signature")
    if kind == _TOMBSTONE:
        deleted = integer(tagged(fields, 11, "date"), 8, "date")
        return BoardTombstone(post_id, author, deleted, signature)
    if kind != _POST:
        raise refuse("field", "unknown kind of board entry")
    geohash = text(fields.get(3, b""), "geohash", most=MAX_GEOHASH_CHARS)
    created = integer(tagged(fields, 7, "creation date"), 8, "creation date")
    expires = integer(tagged(fields, 8, "expiry date"), 8, "expiry date")
    if not _GEOHASH_ALPHABET.issuperset(geohash):
        raise refuse("field", "not a geohash")
    if not 0 < expires - created <= MAX_BOARD_LIFETIME_MS:
        raise refuse("field", "board post with an impossible lifetime")
    return BoardPost(
        post_id,
        geohash,
        text(tagged(fields, 4, "content"), "content", least=1, most=MAX_BOARD_TEXT_BYTES),
        author,
        text(fields.get(6, b""), "nickname", most=MAX_BOARD_NICK_BYTES),
        created,
        expires,
        bool(integer(fields.get(9, b"\0"), 1, "flags") & 1),
        signature,
    )


# --- groups --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GroupMember:
    """`fingerprint` 32 raw bytes, Ed25519 `signing_key`, nickname of at most 64 bytes."""

    fingerprint: bytes
    signing_key: bytes
    nickname: str


@dataclass(frozen=True, slots=True, repr=False)
class GroupState:
    """What a member knows of a group in an epoch. `key` is secret."""

    group_id: bytes
    name: str
    key: bytes
    epoch: int
    roster: tuple[GroupMember, ...]
    creator: bytes
    signature: bytes

    def signed_bytes(self) -> bytes:
        """What the creator signs."""

        def digest(data: bytes) -> bytes:
            return hashlib.sha256(data).digest()

        return (
            b"bitchat-group-v1"
            + self.group_id
            + self.epoch.to_bytes(4)
            + digest(self.key)
            + digest(_encode_roster(self.roster))
            + digest(self.name.encode("utf-8"))
        )

    def is_authentic(self) -> bool:
        """Whether the creator is in the roster and signed it."""
        keys = [m.signing_key for m in self.roster if m.fingerprint == self.creator]
        return len(keys) == 1 and signature_is_valid(keys[0], self.signed_bytes(), self.signature)

    def __repr__(self) -> str:
        return f"GroupState({self.group_id.hex()}, epoch {self.epoch})"


def _encode_roster(roster: tuple[GroupMember, ...]) -> bytes:
    return bytes((len(roster),)) + b"".join(
        member.fingerprint + member.signing_key + _sized(member.nickname.encode("utf-8"), 1)
        for member in roster
    )


def encode_group_state(state: GroupState) -> bytes:
    """The body of GROUP_INVITE and GROUP_KEY_UPDATE. Raises LocalProtocolError."""
    if len(state.roster) > MAX_GROUP_MEMBERS:
        raise LocalProtocolError("at most 16 members in a group", code="bitchat-field")
    values = (
        state.group_id,
        state.name.encode("utf-8"),
        state.key,
        state.epoch.to_bytes(4),
        _encode_roster(state.roster),
        state.creator,
        state.signature,
    )
    return b"".join(tlv(kind, value, width=2) for kind, value in enumerate(values, start=1))


def decode_group_state(body: bytes) -> GroupState:
    """Read it; the signature is not verified yet. Raises RemoteProtocolError."""
    fields = only(body, width=2, known=range(1, 8))
    return GroupState(
        fixed(tagged(fields, 1, "group id"), 16, "group id"),
        text(tagged(fields, 2, "group name"), "group name", most=MAX_SHORT_TEXT_BYTES),
        fixed(tagged(fields, 3, "group key"), KEY_BYTES, "group key"),
        integer(tagged(fields, 4, "epoch"), 4, "epoch"),
        _decode_roster(tagged(fields, 5, "roster")),
        fixed(tagged(fields, 6, "creator"), KEY_BYTES, "creator"),
        fixed(tagged(fields, 7, "signature"), SIGNATURE_BYTES, "signature"),
    )


def _decode_roster(data: bytes) -> tuple[GroupMember, ...]:
    if not data or data[0] > MAX_GROUP_MEMBERS:
        raise refuse("field", "roster empty or too long")
    members: list[GroupMember] = []
    at = 1
    for _ in range(data[0]):
        head = at + 2 * KEY_BYTES
        end = head + 1 + (data[head] if head < len(data) else 0)
        if head >= len(data) or end > len(data):
            raise refuse("short", "roster ends early")
        nickname = text(data[head + 1 : end], "nickname", most=MAX_BOARD_NICK_BYTES)
        middle = at + KEY_BYTES
        members.append(GroupMember(data[at:middle], data[middle:head], nickname))
        at = end
    if at != len(data):
        raise refuse("tlv", "bytes behind the roster")
    return tuple(members)


@dataclass(frozen=True, slots=True)
class GroupMessage:
    """The payload of GROUP_MESSAGE: `nonce` 12 bytes, `ciphertext` with its tag."""

    group_id: bytes
    epoch: int
    nonce: bytes
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class GroupContent:
    """What is inside. `signing_key` must be in the epoch's roster."""

    message_id: str
    signing_key: bytes
    nickname: str
    timestamp_ms: int
    content: str
    signature: bytes

    def signed_bytes(self, group_id: bytes, epoch: int) -> bytes:
        """What the author signs."""
        return (
            b"bitchat-group-msg-v1"
            + group_id
            + epoch.to_bytes(4)
            + self.message_id.encode("utf-8")
            + self.timestamp_ms.to_bytes(8)
            + self.content.encode("utf-8")
        )

    def is_authentic(self, group_id: bytes, epoch: int) -> bool:
        """Whether `signing_key` signed it for this group and epoch."""
        return signature_is_valid(
            self.signing_key, self.signed_bytes(group_id, epoch), self.signature
        )


def encode_group_message(message: GroupMessage) -> bytes:
    """The payload."""
    values = (message.group_id, message.epoch.to_bytes(4), message.nonce, message.ciphertext)
    return b"".join(tlv(kind, value, width=2) for kind, value in enumerate(values, start=1))


def decode_group_message(payload: bytes) -> GroupMessage:
    """Raises RemoteProtocolError."""
    fields = only(payload, width=2, known=range(1, 5))
    ciphertext = tagged(fields, 4, "ciphertext")
    if len(ciphertext) < 16:
        raise refuse("size", "group ciphertext too short")
    return GroupMessage(
        fixed(tagged(fields, 1, "group id"), 16, "group id"),
        integer(tagged(fields, 2, "epoch"), 4, "epoch"),
        fixed(tagged(fields, 3, "nonce"), 12, "nonce"),
        ciphertext,
    )


def seal_group_message(
    content: GroupContent, *, key: bytes, group_id: bytes, epoch: int, nonce: bytes
) -> GroupMessage:
    """Encrypt for the members; `nonce`: 12 fresh random bytes."""
    ad = group_id + epoch.to_bytes(4)
    sealed = ChaCha20Poly1305(key).encrypt(nonce, encode_group_content(content), ad)
    return GroupMessage(group_id, epoch, nonce, sealed)


def open_group_message(message: GroupMessage, *, key: bytes) -> GroupContent:
    """Decrypt; the author's signature is not verified yet.

    Raises RemoteProtocolError: `bitchat-auth`, or as `decode_group_content`.
    """
    ad = message.group_id + message.epoch.to_bytes(4)
    try:
        plain = ChaCha20Poly1305(key).decrypt(message.nonce, message.ciphertext, ad)
    except InvalidTag as exc:
        raise refuse("auth", "group message does not authenticate") from exc
    return decode_group_content(plain)


def encode_group_content(content: GroupContent) -> bytes:
    """The plaintext of a group message."""
    values = (
        content.message_id.encode("utf-8"),
        content.signing_key,
        content.nickname.encode("utf-8"),
        content.timestamp_ms.to_bytes(8),
        content.content.encode("utf-8"),
        content.signature,
    )
    return b"".join(tlv(kind, value, width=2) for kind, value in enumerate(values, start=1))


def decode_group_content(plain: bytes) -> GroupContent:
    """Raises RemoteProtocolError."""
    fields = only(plain, width=2, known=range(1, 7))
    return GroupContent(
        text(tagged(fields, 1, "message id"), "message id", most=MAX_SHORT_TEXT_BYTES),
        fixed(tagged(fields, 2, "signing key"), KEY_BYTES, "signing key"),
        text(tagged(fields, 3, "nickname"), "nickname", most=MAX_SHORT_TEXT_BYTES),
        integer(tagged(fields, 4, "date"), 8, "date"),
        text(tagged(fields, 5, "content"), "content", most=MAX_PUBLIC_TEXT_BYTES),
        fixed(tagged(fields, 6, "signature"), SIGNATURE_BYTES, "signature"),
    )


# --- ping ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ping:
    """The payload of PING and PONG: `nonce` 8 bytes, `origin_ttl` what its sender started with."""

    nonce: bytes
    origin_ttl: int

    def hops(self, received_ttl: int) -> int | None:
        """How many hops it came, or None for an impossible pair of TTLs."""
        count = self.origin_ttl - received_ttl + 1
        return count if 1 <= count <= 255 else None


def encode_ping(ping: Ping) -> bytes:
    """Raises LocalProtocolError."""
    if len(ping.nonce) != 8 or not 0 <= ping.origin_ttl <= 255:
        raise LocalProtocolError("ping field out of range", code="bitchat-field")
    return ping.nonce + bytes((ping.origin_ttl,))


def decode_ping(payload: bytes) -> Ping:
    """Bytes behind the ninth are left for later versions. Raises RemoteProtocolError."""
    if len(payload) < 9:
        raise refuse("short", "ping ends early")
    return Ping(payload[:8], payload[8])


# --- carried events ------------------------------------------------------------------------------


class CarrierDirection(enum.IntEnum):
    """Where a carried event is going."""

    TO_GATEWAY = 1
    FROM_GATEWAY = 2
    TO_BRIDGE = 3
    FROM_BRIDGE = 4


@dataclass(frozen=True, slots=True)
class Carrier:
    """A signed event of another network, `event` its JSON as received, 1-16,384 bytes."""

    direction: CarrierDirection
    geohash: str
    event: bytes


def encode_carrier(carrier: Carrier) -> bytes:
    """The payload of NOSTR_CARRIER."""
    values = (bytes((carrier.direction,)), carrier.geohash.encode("ascii"), carrier.event)
    return b"".join(tlv(kind, value, width=2) for kind, value in enumerate(values, start=1))


def decode_carrier(payload: bytes) -> Carrier:
    """The fields must fill the payload exactly. Raises RemoteProtocolError."""
    fields = dict[int, bytes]()
    for kind, value in items(payload, width=2, exact=True):
        if kind in fields:
            raise refuse("tlv", "a field appears twice")
        fields[kind] = value
    try:
        direction = CarrierDirection(integer(tagged(fields, 1, "direction"), 1, "direction"))
    except ValueError as exc:
        raise refuse("field", "unknown direction") from exc
    geohash = text(tagged(fields, 2, "geohash"), "geohash", least=1, most=MAX_GEOHASH_CHARS)
    event = tagged(fields, 3, "event")
    if not _GEOHASH_ALPHABET.issuperset(geohash):
        raise refuse("field", "not a geohash")
    if not 1 <= len(event) <= MAX_CARRIER_BYTES:
        raise refuse("size", "carried event of impossible size")
    return Carrier(direction, geohash, event)
