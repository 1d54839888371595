"""Who is here: the announce packet's payload (specs/bitchat section 6)."""

from __future__ import annotations

from dataclasses import dataclass

from fogp2p.errors import LocalProtocolError

from .config import (
    KEY_BYTES,
    MAX_GEOHASH_CHARS,
    MAX_NEIGHBOURS,
    MAX_SHORT_TEXT_BYTES,
    PEER_ID_BYTES,
)
from .identity import peer_id
from .packet import Packet, PacketType
from .wire import fixed, items, refuse, tagged, text, tlv

__all__ = ["Announce", "Capability", "decode_announce", "encode_announce", "verified_announce"]

_NICKNAME, _NOISE_KEY, _SIGNING_KEY, _NEIGHBOURS, _CAPABILITIES, _GEOHASH = range(1, 7)
_MAX_CAPABILITY_BYTES = 8


class Capability:
    """Bit numbers of the capability set."""

    PREKEYS = 0
    WIFI_BULK = 1
    GATEWAY = 2
    GROUPS = 3
    BOARD = 4
    VOUCH = 5
    MESH_DIAGNOSTICS = 6
    BRIDGE = 7
    PRIVATE_MEDIA = 8
    PRIVATE_MEDIA_RECEIPTS = 9


@dataclass(frozen=True, slots=True)
class Announce:
    """What a peer says of itself. `capabilities` is a bit set below 2**64, None if not sent;
    `unknown` keeps fields of later versions as (type, value) so that they can be passed on."""

    nickname: str
    noise_key: bytes
    signing_key: bytes
    neighbours: tuple[bytes, ...] = ()
    capabilities: int | None = None
    geohash: str | None = None
    unknown: tuple[tuple[int, bytes], ...] = ()

    def has(self, capability: int) -> bool:
        """Whether the peer claims this capability."""
        return bool((self.capabilities or 0) >> capability & 1)


def encode_announce(announce: Announce) -> bytes:
    """The payload, fields in the order of the iOS app. Raises LocalProtocolError."""
    keys = (announce.noise_key, announce.signing_key)
    near = announce.neighbours
    if (
        any(len(key) != KEY_BYTES for key in keys)
        or len(near) > MAX_NEIGHBOURS
        or any(len(identifier) != PEER_ID_BYTES for identifier in near)
    ):
        raise LocalProtocolError("announce with a field out of range", code="bitchat-field")
    out = tlv(_NICKNAME, announce.nickname.encode("utf-8"), width=1)
    out += tlv(_NOISE_KEY, announce.noise_key, width=1)
    out += tlv(_SIGNING_KEY, announce.signing_key, width=1)
    if near:
        out += tlv(_NEIGHBOURS, b"".join(near), width=1)
    if announce.capabilities is not None:
        out += tlv(_CAPABILITIES, encode_capabilities(announce.capabilities), width=1)
    if announce.geohash is not None:
        out += tlv(_GEOHASH, announce.geohash.encode("utf-8"), width=1)
    return out + b"".join(tlv(kind, value, width=1) for kind, value in announce.unknown)


def decode_announce(payload: bytes) -> Announce:
    """Read the payload. Fields may come in any order; unknown ones are kept.

    Raises RemoteProtocolError: `bitchat-tlv`, `bitchat-field`, `bitchat-text`.
    """
    fields: dict[int, bytes] = {}
    unknown: list[tuple[int, bytes]] = []
    for kind, value in items(payload, width=1):
        if _NICKNAME <= kind <= _GEOHASH:
            fields[kind] = value
        else:
            unknown.append((kind, value))
    near = fields.get(_NEIGHBOURS, b"")
    whole = len(near) // PEER_ID_BYTES
    geohash = fields.get(_GEOHASH)
    return Announce(
        nickname=text(tagged(fields, _NICKNAME, "nickname"), "nickname", most=MAX_SHORT_TEXT_BYTES),
        noise_key=fixed(tagged(fields, _NOISE_KEY, "Noise key"), KEY_BYTES, "Noise key"),
        signing_key=fixed(tagged(fields, _SIGNING_KEY, "signing key"), KEY_BYTES, "signing key"),
        neighbours=tuple(
            near[at * PEER_ID_BYTES : (at + 1) * PEER_ID_BYTES]
            for at in range(min(whole, MAX_NEIGHBOURS))
        ),
        capabilities=decode_capabilities(fields[_CAPABILITIES])
        if _CAPABILITIES in fields
        else None,
        geohash=text(geohash, "geohash", least=1, most=MAX_GEOHASH_CHARS)
        if geohash is not None
        else None,
        unknown=tuple(unknown),
    )


def verified_announce(packet: Packet) -> Announce:
    """The announce in `packet`, if its sender made it.

    Checks that the sender id follows from the Noise key and that the signature is by the signing
    key inside. That is trust on first use: whether the keys are the ones known for this peer, and
    whether the timestamp is fresh, the caller decides. Raises RemoteProtocolError as
    `decode_announce`, `bitchat-sender` or `bitchat-signature`.
    """
    if packet.type != PacketType.ANNOUNCE:
        raise refuse("type", "not an announce")
    announce = decode_announce(packet.payload)
    if peer_id(announce.noise_key) != packet.sender:
        raise refuse("sender", "announce under another peer's id")
    if not packet.is_signed_by(announce.signing_key):
        raise refuse("signature", "announce without a valid signature")
    return announce


def encode_capabilities(bits: int) -> bytes:
    """Little-endian without trailing zero bytes; zero is one zero byte."""
    if not 0 <= bits < 2**64:
        raise LocalProtocolError("capabilities out of range", code="bitchat-field")
    return bits.to_bytes(max(1, (bits.bit_length() + 7) // 8), "little")


def decode_capabilities(value: bytes) -> int:
    """Lenient, as in announces: up to 8 bytes count, none is zero."""
    return int.from_bytes(value[:_MAX_CAPABILITY_BYTES], "little")
