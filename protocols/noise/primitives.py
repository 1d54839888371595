"""25519, ChaChaPoly, SHA256 and HKDF in the shapes Noise needs (Noise sections 4 and 12)."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from nacl import bindings as sodium
from nacl.exceptions import RuntimeError as SodiumRefused

from fogp2p.errors import LocalProtocolError, RemoteProtocolError

from .config import MAX_MESSAGE_BYTES

__all__ = ["KEY_BYTES", "TAG_BYTES", "Cipher", "KeyPair", "SymmetricState", "check_public"]

KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
HASH_BYTES: Final = 32
# The last nonce is kept for rekeying (Noise section 5.1).
MAX_NONCE: Final = 2**64 - 1


class KeyPair:
    """An X25519 key pair. Neither `repr` nor pickle shows the private key."""

    __slots__ = ("_private", "public")

    def __init__(self, private: bytes) -> None:
        """`private` is 32 secret bytes, clamped when used. Raises LocalProtocolError."""
        if len(private) != KEY_BYTES:
            raise LocalProtocolError("an X25519 private key has 32 bytes", code="noise-key")
        self._private = bytes(private)
        self.public: Final = bytes(sodium.crypto_scalarmult_base(self._private))

    def exchange(self, remote: bytes) -> bytes:
        """The 32-byte shared secret with `remote`.

        Raises RemoteProtocolError("noise-key") for a point of small order, whose shared secret is
        known to everybody (RFC 7748 section 6.1).
        """
        try:
            shared = bytes(sodium.crypto_scalarmult(self._private, remote))
        except SodiumRefused as exc:
            raise _small_order() from exc
        if hmac.compare_digest(shared, bytes(KEY_BYTES)):
            raise _small_order()
        return shared

    def __repr__(self) -> str:
        return f"KeyPair(public={self.public.hex()})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("key pairs are not pickled")


def check_public(key: bytes) -> None:
    """Raise LocalProtocolError unless `key` can be used as somebody's static key."""
    try:
        usable = len(key) == KEY_BYTES and KeyPair(b"\1" * KEY_BYTES).exchange(key)
    except RemoteProtocolError:
        usable = b""
    if not usable:
        raise LocalProtocolError("not a usable X25519 public key", code="noise-key")


class Cipher:
    """ChaChaPoly under one key. Nonces are the caller's business, and never used twice."""

    __slots__ = ("_aead",)

    def __init__(self, key: bytes) -> None:
        self._aead = ChaCha20Poly1305(key)

    def encrypt(self, nonce: int, ad: bytes, plaintext: bytes) -> bytes:
        """Encrypt and authenticate; the result is 16 bytes longer."""
        return self._aead.encrypt(_nonce(nonce), plaintext, ad)

    def decrypt(self, nonce: int, ad: bytes, ciphertext: bytes) -> bytes:
        """Raises RemoteProtocolError("noise-auth") when anything was altered."""
        try:
            return self._aead.decrypt(_nonce(nonce), ciphertext, ad)
        except InvalidTag as exc:
            raise RemoteProtocolError(
                "Noise message does not authenticate", code="noise-auth"
            ) from exc

    def rekeyed(self) -> Cipher:
        """The cipher under the key that follows this one (Noise section 4.2, REKEY)."""
        return Cipher(self.encrypt(MAX_NONCE, b"", bytes(KEY_BYTES))[:KEY_BYTES])

    def __repr__(self) -> str:
        return "Cipher(...)"


class SymmetricState:
    """Chaining key, handshake hash and handshake cipher (Noise section 5.2)."""

    __slots__ = ("_chaining_key", "_cipher", "_nonce", "hash")

    def __init__(self, protocol_name: bytes, prologue: bytes) -> None:
        fits = len(protocol_name) <= HASH_BYTES
        self.hash = (
            protocol_name.ljust(HASH_BYTES, b"\0")
            if fits
            else hashlib.sha256(protocol_name).digest()
        )
        self._chaining_key = self.hash
        self._cipher: Cipher | None = None
        self._nonce = 0
        self.mix_hash(prologue)

    @property
    def has_key(self) -> bool:
        """Whether what follows is encrypted."""
        return self._cipher is not None

    def mix_hash(self, data: bytes) -> None:
        """Bind `data` to everything that follows."""
        self.hash = hashlib.sha256(self.hash + data).digest()

    def mix_key(self, secret: bytes) -> None:
        """Derive new keys from everything so far and `secret`."""
        self._chaining_key, key = _hkdf(self._chaining_key, secret)
        self._cipher, self._nonce = Cipher(key), 0

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        """Encrypt when there is a key, and bind the result."""
        sealed = plaintext
        if self._cipher is not None:
            sealed = self._cipher.encrypt(self._nonce, self.hash, plaintext)
            self._nonce += 1
        self.mix_hash(sealed)
        return sealed

    def decrypt_and_hash(self, sealed: bytes) -> bytes:
        """The inverse of `encrypt_and_hash`. Raises RemoteProtocolError("noise-auth")."""
        plaintext = sealed
        if self._cipher is not None:
            plaintext = self._cipher.decrypt(self._nonce, self.hash, sealed)
            self._nonce += 1
        self.mix_hash(sealed)
        return plaintext

    def split(self) -> tuple[Cipher, Cipher]:
        """The ciphers for initiator to responder, and back."""
        first, second = _hkdf(self._chaining_key, b"")
        return Cipher(first), Cipher(second)

    def __repr__(self) -> str:
        return "SymmetricState(...)"


def check_size(message: bytes) -> None:
    """Raise RemoteProtocolError("noise-size") for a message longer than Noise allows."""
    if len(message) > MAX_MESSAGE_BYTES:
        raise RemoteProtocolError("Noise message over 65,535 bytes", code="noise-size")


def _nonce(counter: int) -> bytes:
    return bytes(4) + counter.to_bytes(8, "little")


def _hkdf(chaining_key: bytes, secret: bytes) -> tuple[bytes, bytes]:
    """HKDF with two outputs (Noise section 4.3)."""
    temporary = hmac.digest(chaining_key, secret, "sha256")
    first = hmac.digest(temporary, b"\x01", "sha256")
    return first, hmac.digest(temporary, first + b"\x02", "sha256")


def _small_order() -> RemoteProtocolError:
    return RemoteProtocolError(
        "peer's public key has small order", code="noise-key", close_hint="disconnect"
    )
