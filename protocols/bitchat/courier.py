"""Messages carried by others, and prekeys to seal them with (specs/bitchat section 12).

Sealing is the one-way Noise pattern X; the parts here say what it is bound to.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from fogp2p.errors import LocalProtocolError
from fogp2p.protocols.noise import Handshake, KeyPair, Pattern

from .config import (
    KEY_BYTES,
    MAX_COURIER_BYTES,
    MAX_COURIER_COPIES,
    MAX_PREKEYS,
    SIGNATURE_BYTES,
)
from .wire import fixed, integer, only, refuse, signature_is_valid, tagged, tlv

__all__ = [
    "CourierEnvelope",
    "PrekeyBundle",
    "decode_envelope",
    "decode_prekey_bundle",
    "encode_envelope",
    "encode_prekey_bundle",
    "open_sealed",
    "recipient_tag",
    "recipient_tags",
    "seal",
]

TAG_BYTES: Final = 16
_DAY_S: Final = 86_400
_TAG_DOMAIN: Final = b"bitchat-courier-tag-v1"
_BUNDLE_DOMAIN: Final = b"bitchat-prekey-bundle-v1"


def recipient_tag(noise_key: bytes, day: int) -> bytes:
    """How a recipient recognises its envelopes on day `day` (unix seconds // 86,400)."""
    if len(noise_key) != KEY_BYTES or not 0 <= day < 2**32:
        raise LocalProtocolError("courier tag field out of range", code="bitchat-field")
    return hmac.digest(noise_key, _TAG_DOMAIN + day.to_bytes(4), "sha256")[:TAG_BYTES]


def recipient_tags(noise_key: bytes, unix_s: float) -> Iterator[bytes]:
    """The tags of yesterday, today and tomorrow."""
    day = int(unix_s) // _DAY_S
    for near in (day - 1, day, day + 1):
        if near >= 0:
            yield recipient_tag(noise_key, near)


@dataclass(frozen=True, slots=True)
class CourierEnvelope:
    """`tag` 16 bytes; `ciphertext` 1-16,384 bytes; `copies` 1-8 that may be made on the way;
    `prekey_id` when sealed to a prekey."""

    tag: bytes
    expires_ms: int
    ciphertext: bytes
    copies: int = 1
    prekey_id: int | None = None


def encode_envelope(envelope: CourierEnvelope) -> bytes:
    """The payload of COURIER_ENVELOPE. Raises LocalProtocolError."""
    sizes = len(envelope.tag) == TAG_BYTES and 1 <= len(envelope.ciphertext) <= MAX_COURIER_BYTES
    if not sizes or not 1 <= envelope.copies <= MAX_COURIER_COPIES:
        raise LocalProtocolError("courier envelope out of range", code="bitchat-field")
    out = tlv(1, envelope.tag, width=2)
    out += tlv(2, envelope.expires_ms.to_bytes(8), width=2)
    out += tlv(3, envelope.ciphertext, width=2)
    if envelope.copies > 1:
        out += tlv(4, bytes((envelope.copies,)), width=2)
    if envelope.prekey_id is not None:
        out += tlv(5, envelope.prekey_id.to_bytes(4), width=2)
    return out


def decode_envelope(payload: bytes) -> CourierEnvelope:
    """Read it; more copies than 8 count as 8, none as 1. Raises RemoteProtocolError."""
    fields = only(payload, width=2, known=range(1, 6))
    ciphertext = tagged(fields, 3, "ciphertext")
    if not 1 <= len(ciphertext) <= MAX_COURIER_BYTES:
        raise refuse("size", "courier ciphertext of impossible size")
    copies = integer(fields[4], 1, "copies") if 4 in fields else 1
    return CourierEnvelope(
        fixed(tagged(fields, 1, "tag"), TAG_BYTES, "tag"),
        integer(tagged(fields, 2, "expiry"), 8, "expiry"),
        ciphertext,
        min(max(copies, 1), MAX_COURIER_COPIES),
        integer(fields[5], 4, "prekey id") if 5 in fields else None,
    )


def _prologue(prekey_id: int | None) -> bytes:
    if prekey_id is None:
        return b"bitchat-courier-v1"
    return b"bitchat-prekey-v1" + prekey_id.to_bytes(4)


def seal(
    payload: bytes,
    *,
    sender: KeyPair,
    recipient: bytes,
    ephemeral: KeyPair,
    prekey_id: int | None = None,
) -> bytes:
    """Encrypt a Noise payload to `recipient`: its static key, or its prekey `prekey_id`."""
    handshake = Handshake(
        Pattern.X,
        initiator=True,
        ephemeral=ephemeral,
        static=sender,
        remote_static=recipient,
        prologue=_prologue(prekey_id),
    )
    return handshake.write_message(payload)


def open_sealed(
    sealed: bytes, *, recipient: KeyPair, prekey_id: int | None = None
) -> tuple[bytes, bytes]:
    """(payload, the sender's Noise static key, proven). Raises RemoteProtocolError("noise-...")."""
    handshake = Handshake(
        Pattern.X,
        initiator=False,
        ephemeral=recipient,  # a responder of a one-way pattern sends nothing and uses none
        static=recipient,
        prologue=_prologue(prekey_id),
    )
    payload = handshake.read_message(sealed)
    assert handshake.remote_static is not None  # pattern X sends it
    return payload, handshake.remote_static


@dataclass(frozen=True, slots=True)
class PrekeyBundle:
    """One-time X25519 keys, 1-8 of (id, 32 bytes), published by the owner of `owner` (Noise)."""

    owner: bytes
    prekeys: tuple[tuple[int, bytes], ...]
    generated_ms: int
    signature: bytes

    def signed_bytes(self) -> bytes:
        """What is signed."""
        listed = b"".join(number.to_bytes(4) + key for number, key in self.prekeys)
        head = bytes((len(_BUNDLE_DOMAIN),)) + _BUNDLE_DOMAIN + self.owner
        return head + bytes((len(self.prekeys),)) + listed + self.generated_ms.to_bytes(8)

    def is_signed_by(self, public_key: bytes) -> bool:
        """Whether the owner's Ed25519 key signed it."""
        return signature_is_valid(public_key, self.signed_bytes(), self.signature)


def encode_prekey_bundle(bundle: PrekeyBundle) -> bytes:
    """The payload of PREKEY_BUNDLE. Raises LocalProtocolError."""
    numbers = {number for number, _ in bundle.prekeys}
    if not 1 <= len(bundle.prekeys) <= MAX_PREKEYS or len(numbers) != len(bundle.prekeys):
        raise LocalProtocolError("1-8 prekeys with different ids", code="bitchat-field")
    listed = b"".join(number.to_bytes(4) + key for number, key in bundle.prekeys)
    values = (bundle.owner, listed, bundle.generated_ms.to_bytes(8), bundle.signature)
    return b"".join(tlv(kind, value, width=2) for kind, value in enumerate(values, start=1))


def decode_prekey_bundle(payload: bytes) -> PrekeyBundle:
    """Read it; the signature is not verified yet. Raises RemoteProtocolError."""
    fields = only(payload, width=2, known=range(1, 5))
    listed = tagged(fields, 2, "prekeys")
    entry = 4 + KEY_BYTES
    if len(listed) % entry or not 1 <= len(listed) // entry <= MAX_PREKEYS:
        raise refuse("field", "prekeys of impossible size")
    prekeys = tuple(
        (int.from_bytes(listed[at : at + 4]), listed[at + 4 : at + entry])
        for at in range(0, len(listed), entry)
    )
    if len({number for number, _ in prekeys}) != len(prekeys):
        raise refuse("field", "a prekey id appears twice")
    return PrekeyBundle(
        fixed(tagged(fields, 1, "owner"), KEY_BYTES, "owner"),
        prekeys,
        integer(tagged(fields, 3, "date"), 8, "date"),
        fixed(tagged(fields, 4, "signature"), SIGNATURE_BYTES, "signature"),
    )
