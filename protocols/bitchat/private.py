"""What travels inside a Noise session: one type byte, then a body (specs/bitchat section 8)."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from fogp2p.errors import LocalProtocolError

from .announce import decode_capabilities, encode_capabilities
from .config import (
    KEY_BYTES,
    MAX_SHORT_TEXT_BYTES,
    MAX_VOUCHES,
    SIGNATURE_BYTES,
)
from .wire import fixed, integer, items, refuse, signature_is_valid, tagged, text, tlv

__all__ = [
    "NoisePayloadType",
    "PeerState",
    "PrivateMessage",
    "VerifyChallenge",
    "VerifyResponse",
    "Vouch",
    "decode_noise_payload",
    "decode_peer_state",
    "decode_private_message",
    "decode_receipt",
    "decode_verify_challenge",
    "decode_verify_response",
    "decode_vouches",
    "encode_noise_payload",
    "encode_peer_state",
    "encode_private_message",
    "encode_receipt",
    "encode_verify_challenge",
    "encode_verify_response",
    "encode_vouches",
]


class NoisePayloadType(enum.IntEnum):
    """Known types. Unknown ones are ignored and the session goes on."""

    PRIVATE_MESSAGE = 0x01
    READ_RECEIPT = 0x02
    DELIVERED = 0x03
    GROUP_INVITE = 0x06
    GROUP_KEY_UPDATE = 0x07
    VOICE_FRAME = 0x08
    PRIVATE_FILE_PRERELEASE = 0x09  # accepted, never sent
    VERIFY_CHALLENGE = 0x10
    VERIFY_RESPONSE = 0x11
    VOUCH_BATCH = 0x12
    PRIVATE_FILE = 0x20
    PEER_STATE = 0x21


def encode_noise_payload(kind: NoisePayloadType, body: bytes) -> bytes:
    """The plaintext of a transport message."""
    if kind is NoisePayloadType.PRIVATE_FILE_PRERELEASE:
        raise LocalProtocolError("type 0x09 is never sent", code="bitchat-type")
    return bytes((kind,)) + body


def decode_noise_payload(plaintext: bytes) -> tuple[int, bytes]:
    """(type, body). The prerelease file type comes out as PRIVATE_FILE. Raises `bitchat-short`."""
    if not plaintext:
        raise refuse("short", "empty Noise payload")
    kind = plaintext[0]
    if kind == NoisePayloadType.PRIVATE_FILE_PRERELEASE:
        kind = int(NoisePayloadType.PRIVATE_FILE)
    return kind, plaintext[1:]


# --- messages and receipts -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PrivateMessage:
    """`message_id` and `content`, each at most 255 bytes of UTF-8: that is the wire's limit."""

    message_id: str
    content: str


def encode_private_message(message: PrivateMessage) -> bytes:
    """The body. Raises LocalProtocolError for text over 255 bytes: split it before."""
    parts = [message.message_id.encode("utf-8"), message.content.encode("utf-8")]
    return b"".join(tlv(kind, part, width=1) for kind, part in enumerate(parts))


def decode_private_message(body: bytes) -> PrivateMessage:
    """Read the body. Unlike elsewhere an unknown field refuses the whole, as in both apps.

    Raises RemoteProtocolError: `bitchat-tlv`, `bitchat-field`, `bitchat-text`.
    """
    fields: dict[int, bytes] = {}
    for kind, value in items(body, width=1):
        if kind > 1:
            raise refuse("field", "unknown field in a private message")
        fields[kind] = value
    return PrivateMessage(
        text(tagged(fields, 0, "message id"), "message id", most=MAX_SHORT_TEXT_BYTES),
        text(tagged(fields, 1, "content"), "content", most=MAX_SHORT_TEXT_BYTES),
    )


def encode_receipt(message_id: str) -> bytes:
    """The body of READ_RECEIPT and DELIVERED: the message id, 1 to 255 bytes."""
    raw = message_id.encode("utf-8")
    if not 1 <= len(raw) <= MAX_SHORT_TEXT_BYTES:
        raise LocalProtocolError("message id of 1-255 bytes wanted", code="bitchat-field")
    return raw


def decode_receipt(body: bytes) -> str:
    """The message id. Raises RemoteProtocolError("bitchat-text")."""
    return text(body, "message id", least=1, most=MAX_SHORT_TEXT_BYTES)


# --- authenticated peer state --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PeerState:
    """Capabilities and signing key, proven by the session they arrive in."""

    capabilities: int
    signing_key: bytes


_STATE_VERSION = 1


def encode_peer_state(state: PeerState) -> bytes:
    """The body of PEER_STATE. Raises LocalProtocolError."""
    if len(state.signing_key) != KEY_BYTES:
        raise LocalProtocolError("an Ed25519 key has 32 bytes", code="bitchat-key")
    return (
        bytes((_STATE_VERSION,))
        + tlv(1, encode_capabilities(state.capabilities), width=1)
        + tlv(2, state.signing_key, width=1)
    )


def decode_peer_state(body: bytes) -> PeerState:
    """Read it strictly: both fields once, capabilities in their shortest form.

    Raises RemoteProtocolError: `bitchat-version`, `bitchat-tlv`, `bitchat-field`.
    """
    if body[:1] != bytes((_STATE_VERSION,)):
        raise refuse("version", "unknown version of the peer state")
    fields = dict[int, bytes]()
    for kind, value in items(body[1:], width=1, exact=True):
        if kind in (1, 2):
            if kind in fields:
                raise refuse("tlv", "a field appears twice")
            fields[kind] = value
    raw = tagged(fields, 1, "capabilities")
    bits = decode_capabilities(raw)
    if len(raw) > 8 or encode_capabilities(bits) != raw:
        raise refuse("field", "capabilities not in their shortest form")
    return PeerState(bits, fixed(tagged(fields, 2, "signing key"), KEY_BYTES, "signing key"))


# --- verification in person -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VerifyChallenge:
    """`noise_key_hex`: 64 digits, of the party to be verified; `nonce`: 1-255 bytes."""

    noise_key_hex: str
    nonce: bytes


@dataclass(frozen=True, slots=True)
class VerifyResponse:
    """The challenge again, and an Ed25519 signature over it."""

    noise_key_hex: str
    nonce: bytes
    signature: bytes

    def signed_bytes(self) -> bytes:
        """What is signed: domain, then the key text behind its length, then the nonce."""
        key = self.noise_key_hex.encode("utf-8")
        return b"bitchat-verify-resp-v1" + bytes((len(key),)) + key + self.nonce

    def is_signed_by(self, public_key: bytes) -> bool:
        """Whether `public_key` (Ed25519, 32 bytes) signed it."""
        return signature_is_valid(public_key, self.signed_bytes(), self.signature)


def encode_verify_challenge(challenge: VerifyChallenge) -> bytes:
    """The body of VERIFY_CHALLENGE."""
    return tlv(1, challenge.noise_key_hex.encode("utf-8"), width=1) + tlv(
        2, challenge.nonce, width=1
    )


def decode_verify_challenge(body: bytes) -> VerifyChallenge:
    """Fields in fixed order. Raises RemoteProtocolError."""
    key, nonce = _in_order(body, 2)
    return VerifyChallenge(_key_text(key), nonce)


def encode_verify_response(response: VerifyResponse) -> bytes:
    """The body of VERIFY_RESPONSE."""
    challenge = VerifyChallenge(response.noise_key_hex, response.nonce)
    return encode_verify_challenge(challenge) + tlv(3, response.signature, width=1)


def decode_verify_response(body: bytes) -> VerifyResponse:
    """Fields in fixed order; the signature is not verified yet. Raises RemoteProtocolError."""
    key, nonce, signature = _in_order(body, 3)
    return VerifyResponse(_key_text(key), nonce, fixed(signature, SIGNATURE_BYTES, "signature"))


def _in_order(body: bytes, count: int) -> list[bytes]:
    found = list(items(body, width=1))
    if [kind for kind, _ in found] != list(range(1, count + 1)):
        raise refuse("field", "verification fields missing or out of order")
    return [value for _, value in found]


def _key_text(raw: bytes) -> str:
    written = text(raw, "key text", least=64, most=64)
    if any(digit not in "0123456789abcdefABCDEF" for digit in written):
        raise refuse("text", "key text is not hexadecimal")
    return written


# --- vouching ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Vouch:
    """`fingerprint` (32 raw bytes) belongs to `signing_key`, says whoever made `signature`."""

    fingerprint: bytes
    signing_key: bytes
    timestamp_ms: int
    signature: bytes

    def signed_bytes(self) -> bytes:
        """What is signed."""
        fields = self.fingerprint + self.signing_key + self.timestamp_ms.to_bytes(8)
        return b"bitchat-vouch-v1" + fields

    def is_signed_by(self, public_key: bytes) -> bool:
        """Whether the voucher's Ed25519 key made the signature."""
        return signature_is_valid(public_key, self.signed_bytes(), self.signature)


def encode_vouches(vouches: tuple[Vouch, ...]) -> bytes:
    """The body of VOUCH_BATCH, at most 16. Raises LocalProtocolError."""
    if len(vouches) > MAX_VOUCHES:
        raise LocalProtocolError("at most 16 vouches in a batch", code="bitchat-field")
    out = bytes((len(vouches),))
    for vouch in vouches:
        values = (
            vouch.fingerprint,
            vouch.signing_key,
            vouch.timestamp_ms.to_bytes(8),
            vouch.signature,
        )
        item = b"".join(tlv(kind, value, width=1) for kind, value in enumerate(values, start=1))
        out += len(item).to_bytes(2) + item
    return out


def decode_vouches(body: bytes) -> tuple[Vouch, ...]:
    """The well-formed vouches; malformed ones are skipped, as in the app.

    Raises RemoteProtocolError when the batch itself is cut or too long.
    """
    if not body or body[0] > MAX_VOUCHES:
        raise refuse("field", "vouch batch empty or too long")
    vouches: list[Vouch] = []
    at = 1
    for _ in range(body[0]):
        end = at + 2 + int.from_bytes(body[at : at + 2])
        if at + 2 > len(body) or end > len(body):
            raise refuse("short", "vouch batch ends early")
        vouch = _read_vouch(body[at + 2 : end])
        if vouch is not None:
            vouches.append(vouch)
        at = end
    return tuple(vouches)


def _read_vouch(item: bytes) -> Vouch | None:
    sizes = {1: KEY_BYTES, 2: KEY_BYTES, 3: 8, 4: SIGNATURE_BYTES}
    # Skipped rather than refused: one bad item must not hide the others.
    at, fields = 0, dict[int, bytes]()
    while at + 2 <= len(item):
        kind, end = item[at], at + 2 + item[at + 1]
        if end > len(item):
            return None
        fields[kind] = item[at + 2 : end]
        at = end
    if any(len(fields.get(kind, b"")) != size for kind, size in sizes.items()):
        return None
    return Vouch(fields[1], fields[2], integer(fields[3], 8, "timestamp"), fields[4])
