"""The only door for CBOR: deterministic out, strict in.

Fog messages are a subset of deterministic CBOR (RFC 8949 section 4.2.1): unsigned and negative
integers of at most 64 bits, byte strings, text strings, arrays, maps, booleans and null; no tags,
no floating point, no indefinite lengths, integers in their shortest form, map keys in bytewise
order of their encodings and each key once. Because there is exactly one encoding of a value, bytes
that were signed or hashed are verified as received and never encoded again.

Decoding checks before it spends: size, then form, depth and number of items in one pass over the
bytes; then objects are built, and held to the schema. Spec: specs/codec/codec-v1.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

import cbor2

from .cddl import Check, Grammar
from .errors import LocalProtocolError, RemoteProtocolError
from .limits import CBOR_MAX_BYTES, CBOR_MAX_DEPTH, CBOR_MAX_ITEMS

__all__ = [
    "Schema",
    "Value",
    "decode",
    "encode",
]
Value = Any
"""What a message is made of: int, bytes, str, bool, None, list[Value], dict[int | str, Value]."""

_INT_MIN: Final = -(2**64)
_INT_MAX: Final = 2**64 - 1

# CBOR major types (RFC 8949 section 3.1).
_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_SIMPLE_VALUES: Final = frozenset({20, 21, 22})  # false, true, null


@dataclass(frozen=True, slots=True)
class Schema:
    """One rule of one CDDL file (RFC 8610), compiled. Get it with `Schema.load`."""

    name: str
    _matches: Check

    @classmethod
    def load(cls, path: str, rule: str) -> Schema:
        """Read `specs/<path>` (for example `"versioning/v1.cddl"`) and select `rule`.

        Raises LocalProtocolError("schema") when the file or the rule does not exist, or says what
        `fogp2p.cddl` does not check.
        """
        return _load(path, rule)

    def check(self, value: Value) -> None:
        """Raise RemoteProtocolError("cbor-schema") when `value` is not an instance."""
        if not self._matches(value):
            raise RemoteProtocolError(
                f"message does not match the schema {self.name}", code="cbor-schema"
            )


@cache  # bounded by the rules in the specs we ship
def _load(path: str, rule: str) -> Schema:
    return Schema(f"{path}#{rule}", _grammar(path).check(rule))


@cache
def _grammar(path: str) -> Grammar:
    try:
        return Grammar(files("fogp2p.specs").joinpath(path).read_text(encoding="utf-8"))
    except OSError as exc:
        raise LocalProtocolError(f"no schema {path}: {exc}", code="schema") from exc


def encode(value: Value) -> bytes:
    """Encode `value` deterministically.

    Raises LocalProtocolError("cbor-value") when it holds anything but the types of `Value`, and
    for nesting beyond `CBOR_MAX_DEPTH`.
    """
    encoded: bytes = cbor2.dumps(_normal(value, 0))
    return encoded


def decode(
    data: bytes,
    *,
    schema: Schema,
    max_bytes: int = CBOR_MAX_BYTES,
    max_items: int = CBOR_MAX_ITEMS,
) -> Value:
    """Check and decode one message that fills `data` exactly.

    `max_items` counts every integer, string, array and map in it.

    Raises RemoteProtocolError with code `cbor-size`, `cbor-form`, `cbor-depth` or `cbor-schema`.
    Until size, form and depth are known to be good, nothing is allocated.
    """
    if len(data) > max_bytes:
        raise RemoteProtocolError(
            f"message of {len(data)} bytes, at most {max_bytes} are allowed", code="cbor-size"
        )
    end, _ = _scan(data, 0, 0, max_items)
    if end != len(data):
        raise _form("bytes after the end of the message")
    try:
        value = cbor2.loads(data)
    except (cbor2.CBORDecodeError, ValueError) as exc:  # invalid UTF-8 in a text string
        raise _form("text is not UTF-8") from exc
    schema.check(value)
    return value


def _normal(value: Value, depth: int) -> Value:
    """Return `value` with its maps in deterministic order, refusing what we do not send."""
    if depth > CBOR_MAX_DEPTH:
        raise LocalProtocolError("message nested too deeply", code="cbor-value")
    match value:
        case None | bool() | bytes() | str():
            return value
        case int() if _INT_MIN <= value <= _INT_MAX:
            return value
        case list() | tuple():
            return [_normal(item, depth + 1) for item in value]
        case dict():
            if not all(isinstance(k, int | str) and not isinstance(k, bool) for k in value):
                raise LocalProtocolError("map keys are integers or text", code="cbor-value")
            ordered = sorted(value.items(), key=lambda item: cbor2.dumps(item[0]))
            return {key: _normal(item, depth + 1) for key, item in ordered}
        case _:
            raise LocalProtocolError(f"{type(value).__name__} cannot be sent", code="cbor-value")


def _form(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"not deterministic CBOR: {what}", code="cbor-form")


def _head(data: bytes, at: int) -> tuple[int, int, int]:
    """Read one head: (major type, argument, offset behind it), in its shortest form."""
    if at >= len(data):
        raise _form("message ends early")
    major, info = data[at] >> 5, data[at] & 0x1F
    at += 1
    if info < 24:
        return major, info, at
    if info > 27:
        raise _form("indefinite or reserved length")
    width = 1 << (info - 24)
    if at + width > len(data):
        raise _form("message ends early")
    argument = int.from_bytes(data[at : at + width])
    if argument < (24 if width == 1 else 1 << (4 * width)):
        raise _form("integer longer than needed")
    return major, argument, at + width


def _scan(data: bytes, at: int, depth: int, items: int) -> tuple[int, int]:
    """Check the item at `at`; return the offset behind it and how many items may still come."""
    items -= 1
    if depth > CBOR_MAX_DEPTH or items < 0:
        raise RemoteProtocolError("message too deep or too many items", code="cbor-depth")
    major, argument, at = _head(data, at)
    match major:
        case 0 | 1:
            return at, items
        case 2 | 3:
            if argument > len(data) - at:
                raise _form("string longer than the message")
            return at + argument, items
        case 4:
            for _ in range(argument):
                at, items = _scan(data, at, depth + 1, items)
            return at, items
        case 5:
            return _scan_map(data, at, depth, items, argument)
        case 7 if argument in _SIMPLE_VALUES:
            return at, items
        case _:
            raise _form("tag, float or unknown simple value")


def _scan_map(data: bytes, at: int, depth: int, items: int, pairs: int) -> tuple[int, int]:
    previous = b""
    for _ in range(pairs):
        start = at
        if start < len(data) and data[start] >> 5 not in (_UNSIGNED, _NEGATIVE, _TEXT):
            raise _form("map key is neither integer nor text")
        at, items = _scan(data, at, depth + 1, items)
        key = data[start:at]
        if key <= previous:  # the first key is never empty, so it is always greater than b""
            raise _form("map keys twice or out of order")
        previous = key
        at, items = _scan(data, at, depth + 1, items)
    return at, items
