"""Epoch keys: made, sealed to each member, opened, and used for bodies. Pure.

A key is sealed by Noise N to the X25519 form of the member's Ed25519 key, so that an admission
needs no second key. The epoch entry carries a commitment to the key: its maker cannot give
different members different keys. A body is sealed with XChaCha20-Poly1305 under a random 24-byte
nonce, bound to group, epoch, author and position. Spec: specs/log/log-v1.md section 7.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NoReturn

from nacl import bindings as sodium
from nacl.exceptions import CryptoError

from fogp2p.codec import encode
from fogp2p.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from fogp2p.protocols.noise import Handshake, KeyPair, Pattern

from .config import MAX_BODY_BYTES, MAX_MEMBERS
from .entries import EpochKeySet

__all__ = [
    "MAX_PLAIN_BYTES",
    "Epoch",
    "Keyring",
    "ReaderKey",
    "open_body",
    "seal_body",
    "seal_epoch",
]

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 24
_TAG_BYTES: Final = 16
MAX_PLAIN_BYTES: Final = MAX_BODY_BYTES - NONCE_BYTES - _TAG_BYTES


class ReaderKey:
    """The X25519 form of a peer's Ed25519 key. Neither `repr` nor pickle shows it."""

    __slots__ = ("_pair", "public")

    def __init__(self, ed25519_private: bytes) -> None:
        """`ed25519_private`: the 32-byte seed."""
        public, secret = sodium.crypto_sign_seed_keypair(ed25519_private)
        self.public: Final = bytes(public)
        self._pair = KeyPair(bytes(sodium.crypto_sign_ed25519_sk_to_curve25519(secret)))

    def open(self, group: bytes, sealed: bytes) -> bytes:
        """The epoch key. Raises RemoteProtocolError("noise-...") when it is not for us."""
        handshake = Handshake(
            Pattern.N,
            initiator=False,
            ephemeral=KeyPair(bytes([1]) * KEY_BYTES),  # a responder of pattern N sends nothing
            static=self._pair,
            prologue=_prologue(group, self.public),
        )
        return handshake.read_message(sealed)

    def __repr__(self) -> str:
        return f"ReaderKey({self.public.hex()[:8]})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("keys are not pickled")


def seal_epoch(
    group: bytes, key: bytes, members: Iterable[bytes], ephemerals: Iterable[bytes]
) -> EpochKeySet:
    """Seal `key` to each member. `ephemerals`: 32 fresh random bytes for each.

    Raises LimitExceeded for more than 128 members.
    """
    sorted_members = sorted(set(members))
    if len(sorted_members) > MAX_MEMBERS:
        raise LimitExceeded(
            f"a group has at most {MAX_MEMBERS} members", hint="remove members, or found a second"
        )
    sealed = []
    for member, ephemeral in zip(sorted_members, ephemerals, strict=True):
        handshake = Handshake(
            Pattern.N,
            initiator=True,
            ephemeral=KeyPair(ephemeral),
            remote_static=_x25519(member),
            prologue=_prologue(group, member),
        )
        sealed.append((member, handshake.write_message(key)))
    return EpochKeySet(commitment(group, key), tuple(sealed))


def commitment(group: bytes, key: bytes) -> bytes:
    """What binds an epoch to one key."""
    return hmac.digest(key, b"fog/log/1 commitment\x00" + group, "sha256")


def seal_body(
    key: bytes, nonce: bytes, group: bytes, epoch: bytes, author: bytes, position: int, plain: bytes
) -> bytes:
    """Encrypt a body. `nonce`: 24 fresh random bytes. Raises LocalProtocolError("log-size")."""
    if len(plain) > MAX_PLAIN_BYTES:
        raise LocalProtocolError(
            f"a message has at most {MAX_PLAIN_BYTES} bytes, this one has {len(plain)}",
            code="log-size",
            hint="send files beside the log and name them in it",
        )
    bound = _bound(group, epoch, author, position)
    return nonce + bytes(
        sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, bound, nonce, key)
    )


def open_body(
    key: bytes, group: bytes, epoch: bytes, author: bytes, position: int, sealed: bytes
) -> bytes | None:
    """Decrypt a body; None when it was not sealed with this key for this place."""
    if len(sealed) < NONCE_BYTES + _TAG_BYTES:
        return None
    bound = _bound(group, epoch, author, position)
    nonce, rest = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    try:
        return bytes(sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(rest, bound, nonce, key))
    except CryptoError:
        return None


@dataclass(frozen=True, slots=True, repr=False)
class Epoch:
    """One epoch entry: `members` is a digest of whom it is sealed to."""

    id: bytes
    height: int
    members: bytes
    key: bytes | None

    def __repr__(self) -> str:
        return f"Epoch({self.height}, {self.id.hex()[:8]})"


class Keyring:
    """The epochs of one group, with the keys we could open."""

    def __init__(self, group: bytes, reader: ReaderKey | None) -> None:
        self._group = group
        self._reader = reader
        self._epochs: dict[bytes, Epoch] = {}

    def add(self, name: bytes, height: int, body: EpochKeySet) -> None:
        """Take in an epoch entry that was placed."""
        digest = member_digest(member for member, _ in body.sealed)
        self._epochs[name] = Epoch(name, height, digest, self._opened(body))

    def _opened(self, body: EpochKeySet) -> bytes | None:
        if self._reader is None:
            return None
        mine = next((box for key, box in body.sealed if key == self._reader.public), None)
        if mine is None:
            return None
        try:
            key = self._reader.open(self._group, mine)
        except RemoteProtocolError:
            return None
        genuine = hmac.compare_digest(commitment(self._group, key), body.commitment)
        return key if genuine else None

    def key(self, name: bytes) -> bytes | None:
        """The key of an epoch, if it was sealed to us."""
        epoch = self._epochs.get(name)
        return epoch.key if epoch is not None else None

    def usable(self, members: Iterable[bytes], stands: Callable[[bytes], bool]) -> Epoch | None:
        """The epoch to write under: sealed to exactly `members`, standing, and open to us.

        Of several the highest, then the one with the smallest id. Heights cannot be claimed, so
        nobody can make an epoch that is never followed.
        """
        digest = member_digest(members)
        fitting = (
            epoch
            for epoch in self._epochs.values()
            if epoch.key is not None and epoch.members == digest and stands(epoch.id)
        )
        return min(fitting, key=lambda epoch: (-epoch.height, epoch.id), default=None)


def member_digest(members: Iterable[bytes]) -> bytes:
    """32 bytes that are equal for equal sets of members."""
    return hashlib.sha256(b"".join(sorted(members))).digest()


def _x25519(member: bytes) -> bytes:
    # Entries check the keys they admit, so this one is a point of the right group.
    return bytes(sodium.crypto_sign_ed25519_pk_to_curve25519(member))


def _prologue(group: bytes, member: bytes) -> bytes:
    return encode(["fog/log/1 epoch", group, member])


def _bound(group: bytes, epoch: bytes, author: bytes, position: int) -> bytes:
    return encode(["fog/log/1 body", group, epoch, author, position])
