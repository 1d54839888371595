"""Names of peers and protocols: small immutable values with one textual form.

Spec: libp2p peer ids (libp2p/specs, peer-ids/peer-ids.md).
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NewType

import base58

from .errors import LocalProtocolError, RemoteProtocolError

__all__ = ["PeerId", "ProtocolId", "Version", "protocol_id"]

# Multihash and key codes of the peer-id specification.
_IDENTITY: Final = b"\x00"
_SHA2_256: Final = b"\x12\x20"
_ED25519_PREFIX: Final = b"\x08\x01\x12\x20"
_SECP256K1_PREFIX: Final = b"\x08\x02\x12\x21"
# Keys whose protobuf is longer are hashed instead of inlined.
_MAX_INLINE_KEY: Final = 42
# Longest text form we parse: a CIDv1 of a hashed key is 59 characters; base58 of 42+2 bytes is 60.
_MAX_TEXT: Final = 128
_CIDV1_LIBP2P_KEY: Final = b"\x01\x72"

ProtocolId = NewType("ProtocolId", str)
"""A libp2p protocol name, `/name/.../version`. Make one with `protocol_id`."""

_PROTOCOL: Final = re.compile(r"/[\x21-\x7e]{1,127}")


def protocol_id(text: str) -> ProtocolId:
    """Check and return a protocol name: starts with '/', 2-128 printable ASCII characters.

    Raises LocalProtocolError for anything else.
    """
    if _PROTOCOL.fullmatch(text) is None:
        raise LocalProtocolError(f"not a protocol name: {text!r}", code="protocol-name")
    return ProtocolId(text)


@dataclass(frozen=True, slots=True, order=True)
class PeerId:
    """A peer's name: the multihash of its public key. Equal names mean equal keys.

    `raw` is the binary multihash, 34-44 bytes. Build one with `parse`, `from_bytes`,
    `from_ed25519` or `from_key_protobuf`.
    """

    raw: bytes

    @classmethod
    def from_bytes(cls, raw: bytes) -> PeerId:
        """Read a binary peer id as received. Raises RemoteProtocolError("peer-id")."""
        inline = (
            len(raw) >= 4
            and raw[:1] == _IDENTITY
            and raw[1] == len(raw) - 2
            and raw[1] <= _MAX_INLINE_KEY
        )
        hashed = len(raw) == 34 and raw[:2] == _SHA2_256
        if not (inline or hashed):
            raise RemoteProtocolError("not a peer id", code="peer-id")
        return cls(bytes(raw))

    @classmethod
    def from_key_protobuf(cls, key: bytes) -> PeerId:
        """Name the peer with this libp2p `PublicKey` protobuf (36 bytes for Ed25519)."""
        if len(key) <= _MAX_INLINE_KEY:
            return cls(_IDENTITY + bytes([len(key)]) + key)
        return cls(_SHA2_256 + hashlib.sha256(key).digest())

    @classmethod
    def from_ed25519(cls, public_key: bytes) -> PeerId:
        """Name the peer with this 32-byte Ed25519 public key."""
        if len(public_key) != 32:
            raise LocalProtocolError("an Ed25519 public key has 32 bytes", code="peer-id")
        return cls.from_key_protobuf(_ED25519_PREFIX + public_key)

    @classmethod
    def parse(cls, text: str) -> PeerId:
        """Read either text form, base58btc (`12D3Koo...`, `Qm...`) or CIDv1 base32 (`bafz...`).

        Raises RemoteProtocolError("peer-id"): text forms come from people and from peers.
        """
        try:
            return cls.from_bytes(_decode_text(text))
        except ValueError as exc:  # binascii.Error is one of them
            raise RemoteProtocolError(
                "not a peer id",
                code="peer-id",
                hint="a peer id looks like 12D3KooW... ; `fogp2p id` prints your own",
            ) from exc

    @property
    def key_protobuf(self) -> bytes | None:
        """The libp2p `PublicKey` protobuf inside the id, or None when the id is only a hash."""
        return self.raw[2:] if self.raw[:1] == _IDENTITY else None

    @property
    def ed25519(self) -> bytes | None:
        """The 32-byte Ed25519 public key inside the id, or None for other kinds of key."""
        key = self.key_protobuf
        if key is not None and len(key) == 36 and key.startswith(_ED25519_PREFIX):
            return key[4:]
        return None

    @property
    def secp256k1(self) -> bytes | None:
        """The 33-byte compressed secp256k1 public key inside the id, or None."""
        key = self.key_protobuf
        if key is not None and len(key) == 37 and key.startswith(_SECP256K1_PREFIX):
            return key[4:]
        return None

    @property
    def short(self) -> str:
        """The last six characters: enough to tell log lines apart, too few to look a peer up."""
        return str(self)[-6:]

    def __str__(self) -> str:
        return _text(self.raw)

    def __repr__(self) -> str:
        return f"PeerId({self})"


@lru_cache(4096)  # 50 microseconds each, and names are said in every line of the log
def _text(raw: bytes) -> str:
    return base58.b58encode(raw).decode("ascii")


def _decode_text(text: str) -> bytes:
    if len(text) > _MAX_TEXT:
        raise ValueError("too long")
    if not text.startswith("b"):  # no base58btc peer id starts with "b": it would be a CIDv1
        return base58.b58decode(text)
    body = text[1:].upper()
    raw = base64.b32decode(body + "=" * (-len(body) % 8))
    if not raw.startswith(_CIDV1_LIBP2P_KEY):
        raise ValueError("another kind of CID")
    return raw.removeprefix(_CIDV1_LIBP2P_KEY)


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A protocol version `major.minor`; equal majors are compatible upwards. Each part 0-65535."""

    major: int
    minor: int

    def __post_init__(self) -> None:
        if not (0 <= self.major <= 0xFFFF and 0 <= self.minor <= 0xFFFF):
            raise LocalProtocolError("a version part lies in 0-65535", code="version")

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"
