"""Descriptors of specs/registry, written again from the text for the checks that need one.

`protocols/registry` is not used: a fault there must not hide itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fogp2p.codec import Schema, decode, encode
from fogp2p.errors import RemoteProtocolError
from fogp2p.framing import decode_varint, encode_varint
from fogp2p.identity import Identity, verify
from fogp2p.ids import PeerId

from .errors import CheckFailed

__all__ = ["TYPE", "described", "envelope", "read_envelope", "sealed"]

TYPE: Final = b"/fog/node-descriptor"
_DOMAIN: Final = b"fog-node-descriptor"
_MAX_PAYLOAD: Final = 4_096
# public_key, payload_type, payload, signature (REG-002).
_TAGS: Final = (b"\x0a", b"\x12", b"\x1a", b"\x2a")


def described(peer: PeerId, sequence: int, now: int, **changes: Any) -> dict[int, Any]:
    """The fields of a descriptor of `peer` that lives for a minute; `f4=...` changes field 4."""
    fields: dict[int, Any] = {
        1: peer.raw,
        2: sequence,
        3: now,
        4: now + 60,
        5: [],
        6: ["x-conformance"],
        7: {},
        8: 0,
        9: {},
        10: "fogp2p conformance",
    }
    return fields | {int(name[1:]): value for name, value in changes.items()}


def sealed(identity: Identity, fields: Mapping[int, Any], kind: bytes = TYPE) -> bytes:
    """A signed envelope."""
    payload = encode(dict(fields))
    signature = identity.sign(_signed(kind, payload))
    return envelope((identity.peer_id.key_protobuf or b"", kind, payload, signature))


def envelope(parts: tuple[bytes, bytes, bytes, bytes]) -> bytes:
    """The four fields, one behind the other."""
    return b"".join(
        tag + encode_varint(len(part)) + part for tag, part in zip(_TAGS, parts, strict=True)
    )


def read_envelope(data: bytes, peer: PeerId) -> dict[int, Any]:
    """The fields of a descriptor of `peer`, proven. Raises CheckFailed."""
    parts, at = [], 0
    for tag in _TAGS:
        head = decode_varint(data, at + 1) if data[at : at + 1] == tag else None
        if head is None:
            raise CheckFailed("the envelope has other fields, or another order")
        parts.append(data[head[1] : head[1] + head[0]])
        at = head[0] + head[1]
    key, kind, payload, signature = parts
    if at != len(data) or len(data) > 4_096 or kind != TYPE:
        raise CheckFailed("the envelope is too long, or of another type")
    if PeerId.from_key_protobuf(key) != peer or not verify(peer, _signed(kind, payload), signature):
        raise CheckFailed("the signature is not the peer's")
    try:
        schema = Schema.load("registry/v1.cddl", "descriptor")
        fields: dict[int, Any] = decode(payload, schema=schema, max_bytes=_MAX_PAYLOAD)
    except RemoteProtocolError as exc:
        raise CheckFailed(f"the descriptor is none: {exc}") from exc
    if fields[1] != peer.raw or not fields[3] < fields[4] <= fields[3] + 3_600:
        raise CheckFailed("the descriptor names another peer, or lives too long")
    return fields


def _signed(kind: bytes, payload: bytes) -> bytes:
    return b"".join(encode_varint(len(part)) + part for part in (_DOMAIN, kind, payload))
