"""libp2p's signed envelope (RFC 0002): a payload, what kind it is, and who signed it for what.

Read strictly: exactly the four fields, in their order, with shortest lengths. Protobuf would allow
many encodings of one envelope; whoever passes one on could then make a "different" one of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fogp2p.errors import RemoteProtocolError
from fogp2p.framing import decode_varint, encode_varint
from fogp2p.ids import PeerId

__all__ = ["Envelope", "Sign", "Verify", "seal", "unsigned"]

Sign = Callable[[bytes], bytes]
"""Signs with our libp2p key (`Identity.sign`)."""

Verify = Callable[[PeerId, bytes, bytes], bool]
"""Whether a peer's key made a signature over some bytes (`identity.verify`)."""

# Field number and wire type of RFC 0002: public_key, payload_type, payload, signature.
_TAGS: Final = (b"\x0a", b"\x12", b"\x1a", b"\x2a")


@dataclass(frozen=True, slots=True)
class Envelope:
    """The parts as received. `signer` follows from the key; the signature is not checked yet."""

    signer: PeerId
    payload_type: bytes
    payload: bytes
    signature: bytes

    @classmethod
    def from_bytes(cls, data: bytes) -> Envelope:
        """Take an envelope apart; the caller has bounded `data`.

        Raises RemoteProtocolError: "envelope" for another form, "envelope-key" for a key that is
        neither Ed25519 nor secp256k1 or is not written in the one way libp2p names peers by.
        """
        parts, at = [], 0
        for tag in _TAGS:
            part, at = _field(data, at, tag)
            parts.append(part)
        if at != len(data):
            raise _malformed("bytes after the last field")
        key, payload_type, payload, signature = parts
        return cls(_signer(key), payload_type, payload, signature)

    def is_signed(self, domain: bytes, verify: Verify) -> bool:
        """Whether the signer signed this payload for `domain`. One expensive check."""
        return verify(
            self.signer, unsigned(domain, self.payload_type, self.payload), self.signature
        )


def unsigned(domain: bytes, payload_type: bytes, payload: bytes) -> bytes:
    """The bytes that are signed: each part behind its length (RFC 0002, "Signature Production")."""
    return b"".join(encode_varint(len(part)) + part for part in (domain, payload_type, payload))


def seal(peer: PeerId, domain: bytes, payload_type: bytes, payload: bytes, sign: Sign) -> bytes:
    """The envelope of `peer`, whose key `sign` uses."""
    key = peer.key_protobuf or b""
    signature = sign(unsigned(domain, payload_type, payload))
    parts = (key, payload_type, payload, signature)
    return b"".join(
        tag + encode_varint(len(part)) + part for tag, part in zip(_TAGS, parts, strict=True)
    )


def _field(data: bytes, at: int, tag: bytes) -> tuple[bytes, int]:
    if data[at : at + 1] != tag:
        raise _malformed("fields missing, unknown or out of order")
    try:
        head = decode_varint(data, at + 1)
    except RemoteProtocolError as exc:
        raise _malformed("a length that is not in its shortest form") from exc
    if head is None or head[0] > len(data) - head[1]:
        raise _malformed("a field longer than the envelope")
    length, start = head
    return data[start : start + length], start + length


def _signer(key: bytes) -> PeerId:
    peer = PeerId.from_key_protobuf(key)
    if peer.ed25519 is None and peer.secp256k1 is None:
        raise RemoteProtocolError("a key that names no peer here", code="envelope-key")
    return peer


def _malformed(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"not a signed envelope: {what}", code="envelope")
