"""Reading and writing the small shapes all BitChat messages are made of. Nothing here copies more
than the input holds, and every failure is a RemoteProtocolError with a code of specs/bitchat."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from fogp2p.errors import LocalProtocolError, RemoteProtocolError

from .config import KEY_BYTES, SIGNATURE_BYTES

__all__ = [
    "fixed",
    "integer",
    "items",
    "only",
    "refuse",
    "signature_is_valid",
    "tagged",
    "text",
    "tlv",
]

MAX_U64 = 2**64 - 1


def refuse(code: str, what: str) -> RemoteProtocolError:
    """The error to raise; `code` without its prefix."""
    return RemoteProtocolError(f"BitChat: {what}", code=f"bitchat-{code}")


def items(data: bytes, *, width: int, exact: bool = False) -> Iterator[tuple[int, bytes]]:
    """Walk type-length-value items with lengths of `width` (1 or 2) bytes, big-endian.

    A value that runs past the end is refused; a remainder too short for a head is ignored, as both
    apps do, unless `exact`. Raises RemoteProtocolError("bitchat-tlv").
    """
    at = 0
    while at + 1 + width <= len(data):
        start = at + 1 + width
        end = start + int.from_bytes(data[at + 1 : start])
        if end > len(data):
            raise refuse("tlv", "a field runs past the end")
        yield data[at], data[start:end]
        at = end
    if exact and at != len(data):
        raise refuse("tlv", "bytes behind the last field")


def only(data: bytes, *, width: int, known: Iterable[int]) -> dict[int, bytes]:
    """The items whose types are `known`; others are skipped, a repeated one is refused."""
    wanted, found = frozenset(known), dict[int, bytes]()
    for kind, value in items(data, width=width):
        if kind in wanted:
            if kind in found:
                raise refuse("tlv", "a field appears twice")
            found[kind] = value
    return found


def tagged(fields: dict[int, bytes], kind: int, what: str) -> bytes:
    """A required field. Raises RemoteProtocolError("bitchat-field")."""
    if kind not in fields:
        raise refuse("field", f"{what} is missing")
    return fields[kind]


def fixed(value: bytes, size: int, what: str) -> bytes:
    """`value`, if it has `size` bytes. Raises RemoteProtocolError("bitchat-field")."""
    if len(value) != size:
        raise refuse("field", f"{what} has {len(value)} bytes instead of {size}")
    return value


def integer(value: bytes, size: int, what: str) -> int:
    """An unsigned big-endian integer of exactly `size` bytes."""
    return int.from_bytes(fixed(value, size, what))


def text(value: bytes, what: str, *, least: int = 0, most: int) -> str:
    """UTF-8 of `least` to `most` bytes. Raises RemoteProtocolError("bitchat-text")."""
    if not least <= len(value) <= most:
        raise refuse("text", f"{what} has {len(value)} bytes")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise refuse("text", f"{what} is not UTF-8") from exc


def tlv(kind: int, value: bytes, *, width: int) -> bytes:
    """One item. Raises LocalProtocolError("bitchat-field") when `value` is too long."""
    if len(value) >= 1 << (8 * width):
        raise LocalProtocolError(
            f"a BitChat field holds at most {(1 << (8 * width)) - 1} bytes", code="bitchat-field"
        )
    return bytes([kind]) + len(value).to_bytes(width) + value


def signature_is_valid(public_key: bytes, signed: bytes, signature: bytes) -> bool:
    """Ed25519 verification; False for anything wrong, also a malformed or all-zero key."""
    if len(public_key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    if hmac.compare_digest(public_key, bytes(KEY_BYTES)):
        return False
    try:
        VerifyKey(public_key).verify(signed, signature)
    except (BadSignatureError, ValueError):
        return False
    return True
