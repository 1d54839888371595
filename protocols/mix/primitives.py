"""X25519, AES-CTR, HMAC and LIONESS as mix packets use them (LIP-99 section 8, LIP-183)."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from nacl import bindings as sodium
from nacl.exceptions import RuntimeError as SodiumRefused

from fogp2p.errors import RemoteProtocolError

__all__ = [
    "HopKeys",
    "aes_ctr",
    "lioness_decrypt",
    "lioness_encrypt",
    "mac",
    "public_key",
    "shared_secret",
]

_FIELD: Final = 2**255 - 19
_LEFT: Final = 32  # LIONESS splits a block here
_KEY: Final = 16


def public_key(private: bytes) -> bytes:
    """The X25519 public key of 32 secret bytes, clamped."""
    return bytes(sodium.crypto_scalarmult_base(private))


def shared_secret(private: bytes, element: bytes) -> bytes:
    """X25519(private, element) for a canonical group element that is not of small order.

    Raises RemoteProtocolError("mix-element") for others: their secret is known to everybody, and
    several encodings of one element would have several replay tags.
    """
    if int.from_bytes(element, "little") >= _FIELD:
        raise _bad_element()
    try:
        return bytes(sodium.crypto_scalarmult(private, element))
    except SodiumRefused as exc:  # an all-zero result
        raise _bad_element() from exc


def _bad_element() -> RemoteProtocolError:
    return RemoteProtocolError("unusable group element in a mix packet", code="mix-element")


class HopKeys:
    """Everything one hop derives from its shared secret."""

    __slots__ = ("cipher_iv", "cipher_key", "mac_key", "payload_seed")

    def __init__(self, secret: bytes) -> None:
        sha256 = hashlib.sha256
        self.cipher_key = sha256(b"aes_key" + secret).digest()[:_KEY]
        self.cipher_iv = sha256(b"iv" + secret).digest()[:_KEY]
        self.mac_key = sha256(b"mac_key" + secret).digest()[:_KEY]
        self.payload_seed = sha256(b"payload_enc_key" + secret).digest()

    def __repr__(self) -> str:
        return "HopKeys(...)"


def mac(keys: HopKeys, beta: bytes) -> bytes:
    """gamma: the 16-byte authenticator of a header."""
    return hmac.digest(keys.mac_key, beta, "sha256")[:_KEY]


def aes_ctr(key: bytes, iv: bytes, data: bytes) -> bytes:
    """AES-128-CTR with a 128-bit big-endian counter; its own inverse."""
    return Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor().update(data)


def lioness_encrypt(seed: bytes, block: bytes) -> bytes:
    """The wide-block cipher of LIP-183: each output byte depends on each input byte.

    `seed` has 16 bytes or more, `block` more than 32.
    """
    k1, k2, k3, k4 = _round_keys(seed)
    left, right = block[:_LEFT], block[_LEFT:]
    right = _stream(_xor(k1, left), right)
    left = _xor(left, hashlib.sha256(k2 + right).digest())
    right = _stream(_xor(k3, left), right)
    left = _xor(left, hashlib.sha256(k4 + right).digest())
    return left + right


def lioness_decrypt(seed: bytes, block: bytes) -> bytes:
    """The inverse of `lioness_encrypt`."""
    k1, k2, k3, k4 = _round_keys(seed)
    left, right = block[:_LEFT], block[_LEFT:]
    left = _xor(left, hashlib.sha256(k4 + right).digest())
    right = _stream(_xor(k3, left), right)
    left = _xor(left, hashlib.sha256(k2 + right).digest())
    right = _stream(_xor(k1, left), right)
    return left + right


def _round_keys(seed: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    sha256 = hashlib.sha256
    return (
        sha256(b"lioness_key1" + seed).digest(),
        sha256(b"lioness_key2" + seed).digest(),
        sha256(b"lioness_key3" + seed).digest(),
        sha256(b"lioness_key4" + seed).digest(),
    )


def _stream(key: bytes, data: bytes) -> bytes:
    return aes_ctr(key[:_KEY], key[_KEY:], data)


def _xor(first: bytes, second: bytes) -> bytes:
    """Of two 32-byte strings."""
    return (int.from_bytes(first) ^ int.from_bytes(second)).to_bytes(_LEFT)
