"""Hashing to edwards25519 by Elligator 2, on Python integers. For public inputs only.

RFC 9380, suite edwards25519_XMD:SHA-512_ELL2_NU_ with the domain tag of RFC 9381 section 5.5.
"""

from __future__ import annotations

import hashlib
from typing import Final

__all__ = ["FIELD", "IDENTITY", "encode_to_curve"]

FIELD: Final = 2**255 - 19
IDENTITY: Final = b"\x01" + bytes(31)
_DST: Final = b"ECVRF_edwards25519_XMD:SHA-512_ELL2_NU_\x04"
# Montgomery's A of curve25519, and a square root of -1.
_A: Final = 486662
_SQRT_M1: Final = pow(2, (FIELD - 1) // 4, FIELD)
_BLOCK: Final = 128  # SHA-512's input block
_UNIFORM_BYTES: Final = 48  # L of RFC 9380 section 5.1 for a 255-bit field at 128-bit security


def encode_to_curve(message: bytes) -> bytes:
    """Encode to a curve point, cofactor not yet cleared (RFC 9380 section 3, `encode_to_curve`)."""
    uniform = _expand(message)
    return _encode(*_to_edwards(*_elligator2(int.from_bytes(uniform) % FIELD)))


def _expand(message: bytes) -> bytes:
    """expand_message_xmd with SHA-512 (RFC 9380 section 5.3.1); 48 bytes are one block's worth."""
    tag = _DST + bytes([len(_DST)])
    first = hashlib.sha512(
        bytes(_BLOCK) + message + _UNIFORM_BYTES.to_bytes(2) + b"\0" + tag
    ).digest()
    return hashlib.sha512(first + b"\x01" + tag).digest()[:_UNIFORM_BYTES]


def _square_root(value: int) -> int | None:
    """A square root modulo the field's prime, which is 5 modulo 8, or None."""
    root = pow(value, (FIELD + 3) // 8, FIELD)
    if root * root % FIELD == value:
        return root
    root = root * _SQRT_M1 % FIELD
    return root if root * root % FIELD == value else None


def _elligator2(u: int) -> tuple[int, int]:
    """Map a field element to Montgomery coordinates (RFC 9380 section 6.7.1, Z = 2)."""
    # 1 + 2u**2 is never zero: -1/2 is no square in this field.
    x = -_A * pow(1 + 2 * u * u, -1, FIELD) % FIELD
    y = _square_root((x * x * x + _A * x * x + x) % FIELD)
    if y is not None:
        return x, y if y & 1 else FIELD - y
    x = (-_A - x) % FIELD
    y = _square_root((x * x * x + _A * x * x + x) % FIELD)
    assert y is not None  # exactly one of the two is a square
    return x, FIELD - y if y & 1 else y


def _to_edwards(s: int, t: int) -> tuple[int, int]:
    """Montgomery to Edwards coordinates (RFC 9380 appendix D.1 with RFC 7748's constants)."""
    denominator = (s + 1) * t % FIELD
    if denominator == 0:
        return 0, 1
    inverse = pow(denominator, -1, FIELD)
    x = _SQRT_M486664 * s % FIELD * (s + 1) % FIELD * inverse % FIELD
    y = (s - 1) * t % FIELD * inverse % FIELD
    return x, y


def _encode(x: int, y: int) -> bytes:
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _even_root(value: int) -> int:
    root = _square_root(value % FIELD)
    assert root is not None
    return root if root & 1 == 0 else FIELD - root


# sqrt(-486664) with sgn0 = 0, as RFC 9380 section 6.8.2 requires.
_SQRT_M486664: Final = _even_root(-486664)
