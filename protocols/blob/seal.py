"""Blobs that only those with a key can read (specs/blob section 5). Pure.

The key travels outside the CID. Each piece is sealed on its own, so that a part can be read while
others are missing; its number and the number of all are bound to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from nacl import bindings as sodium
from nacl.exceptions import CryptoError

from fogp2p.errors import LocalProtocolError, RemoteProtocolError

from .config import CHUNK_BYTES

__all__ = ["KEY_BYTES", "PIECE_BYTES", "open_pieces", "seal_pieces"]

KEY_BYTES: Final = 32
_SEAL: Final = sodium.crypto_aead_xchacha20poly1305_ietf_encrypt
_OPEN: Final = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt
_NONCE_BYTES: Final = sodium.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
_TAG_BYTES: Final = 16
# A sealed piece fills a chunk.
PIECE_BYTES: Final = CHUNK_BYTES - _TAG_BYTES
_DOMAIN: Final = b"fog-blob-piece/1"


def seal_pieces(key: bytes, pieces: Iterable[bytes], count: int) -> Iterator[bytes]:
    """Seal each of `count` pieces of 262,128 bytes (the last may be shorter).

    `key`: 32 random bytes, for this one content: the nonces are the pieces' numbers. Raises
    LocalProtocolError("blob-key").
    """
    _check(key)
    for index, piece in enumerate(pieces):
        yield bytes(_SEAL(piece, _bound(count), _nonce(index), key))


def open_pieces(key: bytes, chunks: Iterable[bytes], count: int) -> Iterator[bytes]:
    """The reverse. Raises RemoteProtocolError("blob-sealed") for a wrong key or other content."""
    _check(key)
    for index, chunk in enumerate(chunks):
        try:
            yield bytes(_OPEN(chunk, _bound(count), _nonce(index), key))
        except (CryptoError, ValueError) as exc:
            raise RemoteProtocolError(
                "the key does not open this blob", code="blob-sealed"
            ) from exc


def _check(key: bytes) -> None:
    if len(key) != KEY_BYTES:
        raise LocalProtocolError("a key has 32 bytes", code="blob-key")


def _nonce(index: int) -> bytes:
    return index.to_bytes(_NONCE_BYTES)


def _bound(count: int) -> bytes:
    return _DOMAIN + count.to_bytes(8)
