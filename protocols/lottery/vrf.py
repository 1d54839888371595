"""ECVRF on edwards25519 (RFC 9381), suites TAI and ELL2, over libsodium's group operations.

Every multiplication by a secret scalar is libsodium's, in constant time. Hashing to the curve works
on Python integers and, for TAI, takes a number of steps that depends on its input: `alpha` must be
public. Proofs are checked more strictly than RFC 9381 asks: `Gamma` has to lie in the prime-order
subgroup, which every honest proof does, so that there is one proof only (specs/lottery LOT-006).
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from typing import Final

from nacl import bindings as sodium
from nacl.exceptions import RuntimeError as SodiumRefused

from fogp2p.errors import LocalProtocolError, RemoteProtocolError

from . import elligator
from .config import MAX_ALPHA_BYTES

__all__ = [
    "PROOF_BYTES",
    "Suite",
    "derive_public_key",
    "encode_to_curve",
    "proof_to_hash",
    "prove",
    "validate_key",
    "verify",
]

KEY_BYTES: Final = 32
PROOF_BYTES: Final = 80  # Gamma (32), c (16), s (32)
_CHALLENGE: Final = slice(32, 48)
_RESPONSE: Final = slice(48, 80)
# The order of the prime-order subgroup (RFC 8032 section 5.1).
_ORDER: Final = 2**252 + 27742317777372353535851937790883648493
_FIELD: Final = elligator.FIELD


class Suite(enum.IntEnum):
    """How `alpha` is hashed to the curve; the value is RFC 9381's suite string."""

    TAI = 3
    ELL2 = 4


def derive_public_key(secret_key: bytes) -> bytes:
    """The 32-byte public key Y of a 32-byte secret key, as in Ed25519 (RFC 8032 section 5.1.5)."""
    if len(secret_key) != KEY_BYTES:
        raise LocalProtocolError("a VRF secret key has 32 bytes", code="vrf-key")
    public, _ = sodium.crypto_sign_seed_keypair(secret_key)
    return bytes(public)


def validate_key(public_key: bytes) -> None:
    """Check that `public_key` is a canonical point of the prime-order subgroup, not the identity.

    Raises RemoteProtocolError("vrf-key"). RFC 9381 section 5.4.5, stricter: small-order parts are
    refused as well, which gives full uniqueness and collision resistance.
    """
    if len(public_key) != KEY_BYTES or not sodium.crypto_core_ed25519_is_valid_point(public_key):
        raise RemoteProtocolError("not a usable VRF public key", code="vrf-key")


def prove(secret_key: bytes, alpha: bytes, *, suite: Suite = Suite.ELL2) -> bytes:
    """Return the 80-byte proof for the public input `alpha` (RFC 9381 section 5.1).

    Raises LocalProtocolError for a key of wrong length or `alpha` over 4,096 bytes.
    """
    public_key = derive_public_key(secret_key)
    if len(alpha) > MAX_ALPHA_BYTES:
        raise LocalProtocolError("VRF input too long", code="vrf-alpha")
    hashed = hashlib.sha512(secret_key).digest()
    scalar = bytearray(hashed[:32])
    scalar[0] &= 248
    scalar[31] = scalar[31] & 127 | 64
    point = encode_to_curve(public_key, alpha, suite)
    gamma = _multiply(bytes(scalar), point)
    nonce = sodium.crypto_core_ed25519_scalar_reduce(hashlib.sha512(hashed[32:] + point).digest())
    commitment = sodium.crypto_scalarmult_ed25519_base_noclamp(nonce)
    challenge = _challenge(suite, public_key, point, gamma, commitment, _multiply(nonce, point))
    response = sodium.crypto_core_ed25519_scalar_add(
        nonce, sodium.crypto_core_ed25519_scalar_mul(challenge + bytes(16), bytes(scalar))
    )
    return gamma + challenge + bytes(response)


def verify(public_key: bytes, alpha: bytes, proof: bytes, *, suite: Suite = Suite.ELL2) -> bytes:
    """Return the 64-byte output `beta` of a valid proof (RFC 9381 section 5.3).

    Raises RemoteProtocolError: "vrf-key", "vrf-alpha" (too long), "vrf-form" (length, encoding,
    scalar not reduced) or "vrf-proof" (does not verify).
    """
    validate_key(public_key)
    if len(alpha) > MAX_ALPHA_BYTES:
        raise RemoteProtocolError("VRF input too long", code="vrf-alpha")
    gamma, challenge, response = _split(proof)
    point = encode_to_curve(public_key, alpha, suite)
    try:
        # U = sB - cY and V = sH - cGamma. libsodium refuses a zero scalar: an honest proof has one
        # with probability 2**-128, a forged one never should.
        wide = challenge + bytes(16)
        u = sodium.crypto_core_ed25519_sub(
            sodium.crypto_scalarmult_ed25519_base_noclamp(response), _multiply(wide, public_key)
        )
        v = sodium.crypto_core_ed25519_sub(_multiply(response, point), _multiply(wide, gamma))
    except SodiumRefused as exc:
        raise RemoteProtocolError("VRF proof with a zero scalar", code="vrf-proof") from exc
    expected = _challenge(suite, public_key, point, gamma, bytes(u), bytes(v))
    if not hmac.compare_digest(expected, challenge):
        raise RemoteProtocolError("VRF proof does not verify", code="vrf-proof")
    return _hash_gamma(gamma, suite)


def proof_to_hash(proof: bytes, *, suite: Suite = Suite.ELL2) -> bytes:
    """The 64-byte output of a proof *already verified* or made here (RFC 9381 section 5.2).

    Raises RemoteProtocolError("vrf-form") for a malformed one; says nothing about its validity.
    """
    gamma, _, _ = _split(proof)
    return _hash_gamma(gamma, suite)


def encode_to_curve(public_key: bytes, alpha: bytes, suite: Suite) -> bytes:
    """Hash `public_key` and `alpha` to an encoded point of the prime-order subgroup.

    RFC 9381 sections 5.4.1.1 (TAI) and 5.4.1.2 (ELL2).
    """
    if suite is Suite.ELL2:
        return _clear_cofactor(elligator.encode_to_curve(public_key + alpha))
    for counter in range(256):
        tag = bytes([suite, 1])
        candidate = hashlib.sha512(tag + public_key + alpha + bytes([counter, 0])).digest()[:32]
        point = _try_candidate(candidate)
        if point is not None:
            return point
    raise LocalProtocolError("no curve point in 256 tries", code="vrf-alpha")  # probability 2**-256


def _try_candidate(candidate: bytes) -> bytes | None:
    """Decode as RFC 8032 section 5.1.3 does and clear the cofactor; None when that fails."""
    y = int.from_bytes(candidate, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= _FIELD or (sign and y in (1, _FIELD - 1)):  # x = 0 has no negative
        return None
    try:
        point = _clear_cofactor(candidate)
    except SodiumRefused:  # not on the curve
        return None
    return None if point == elligator.IDENTITY else point


def _clear_cofactor(point: bytes) -> bytes:
    """Multiply by 8 with three doublings: libsodium's multiplication refuses such points."""
    for _ in range(3):
        point = sodium.crypto_core_ed25519_add(point, point)
    return bytes(point)


def _multiply(scalar: bytes, point: bytes) -> bytes:
    return bytes(sodium.crypto_scalarmult_ed25519_noclamp(scalar, point))


def _challenge(suite: Suite, *points: bytes) -> bytes:
    return hashlib.sha512(bytes([suite, 2]) + b"".join(points) + b"\0").digest()[:16]


def _hash_gamma(gamma: bytes, suite: Suite) -> bytes:
    return hashlib.sha512(bytes([suite, 3]) + _clear_cofactor(gamma) + b"\0").digest()


def _split(proof: bytes) -> tuple[bytes, bytes, bytes]:
    if len(proof) != PROOF_BYTES:
        raise RemoteProtocolError("a VRF proof has 80 bytes", code="vrf-form")
    gamma, challenge, response = proof[:32], proof[_CHALLENGE], proof[_RESPONSE]
    if int.from_bytes(response, "little") >= _ORDER:
        raise RemoteProtocolError("VRF proof with an unreduced scalar", code="vrf-form")
    if not sodium.crypto_core_ed25519_is_valid_point(gamma):
        raise RemoteProtocolError("VRF proof with an unusable point", code="vrf-form")
    return gamma, challenge, response
