"""A peer's long-lived keys, and the one file that holds them.

Four kinds: the libp2p key that names the peer, the Noise static key, the key that signs
application messages, and keys that rotate with the mix epoch. The file is encrypted when the owner
gives a passphrase and says loudly when it is not. Spec: specs/identity/v1.cddl and
docs/reference/keystore.md.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from nacl import bindings as sodium
from nacl import pwhash, secret
from nacl.exceptions import BadSignatureError, CryptoError
from nacl.signing import SigningKey, VerifyKey

from .codec import Schema, decode, encode
from .environment import Environment
from .errors import KeystoreError, LocalProtocolError, RemoteProtocolError
from .ids import PeerId
from .killpoints import killpoint

__all__ = [
    "EpochKeys",
    "Identity",
    "KeyType",
    "Keystore",
    "derive_key",
    "ephemeral",
    "new_kdf",
    "verify",
]

KeyType = Literal["ed25519", "secp256k1"]

# libsodium's "moderate": 0.5 s and 256 MiB on a laptop of today, once at each start.
DEFAULT_OPS: Final = pwhash.argon2id.OPSLIMIT_MODERATE
DEFAULT_MEMORY: Final = pwhash.argon2id.MEMLIMIT_MODERATE
# Previous, current and next: packets of the neighbouring epochs arrive while clocks differ.
LIVE_EPOCHS: Final = 3
_MAX_FILE_BYTES: Final = 16 * 1024
_OTHERS: Final = 0o077
_SECP256K1_ORDER: Final = int(
    "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16
)


@dataclass(frozen=True, slots=True, repr=False)
class EpochKeys:
    """X25519 private keys of one mix epoch."""

    number: int
    mix: bytes
    kem: bytes

    def __repr__(self) -> str:
        return f"EpochKeys({self.number})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("keys are not pickled")


class Identity:
    """The keys of one peer in memory. Neither `repr` nor pickle shows them."""

    __slots__ = ("_libp2p", "_noise", "_signing", "epochs", "key_type", "peer_id", "signing_public")

    def __init__(
        self,
        key_type: KeyType,
        libp2p: bytes,
        noise: bytes,
        signing: bytes,
        epochs: tuple[EpochKeys, ...] = (),
    ) -> None:
        """Private keys of 32 bytes each. Raises LocalProtocolError("identity-key")."""
        if any(len(key) != 32 for key in (libp2p, noise, signing)):
            raise LocalProtocolError("private keys have 32 bytes", code="identity-key")
        self.key_type: Final = key_type
        self._libp2p = libp2p
        self._noise = noise
        self._signing = signing
        self.epochs: Final = epochs
        self.peer_id: Final = _peer_id(key_type, libp2p)
        self.signing_public: Final = bytes(SigningKey(signing).verify_key)

    def sign(self, data: bytes) -> bytes:
        """Sign with the libp2p key: Ed25519 (64 bytes), or ECDSA over SHA-256 in DER."""
        if self.key_type == "ed25519":
            return bytes(SigningKey(self._libp2p).sign(data).signature)
        return _low(_secp256k1(self._libp2p).sign(data, ec.ECDSA(hashes.SHA256())))

    def sign_application(self, data: bytes) -> bytes:
        """Sign with the application key (Ed25519, 64 bytes); see `signing_public`."""
        return bytes(SigningKey(self._signing).sign(data).signature)

    def libp2p_private_key(self) -> bytes:
        """The raw 32-byte libp2p private key. For the transport only."""
        return self._libp2p

    def noise_private_key(self) -> bytes:
        """The raw 32-byte X25519 Noise static key."""
        return self._noise

    @property
    def noise_public(self) -> bytes:
        """The 32-byte X25519 public key."""
        return bytes(sodium.crypto_scalarmult_base(self._noise))

    def epoch(self, number: int) -> EpochKeys | None:
        """The rotating keys of an epoch, if they are live."""
        return next((keys for keys in self.epochs if keys.number == number), None)

    def rotated(self, epoch: int, source: random.Random) -> Identity:
        """The identity with keys for `epoch` - 1 (if it had them), `epoch` and `epoch` + 1.

        Older keys are gone. Raises LocalProtocolError("identity-epoch") when `epoch` lies before
        the current one by more than the live window: a clock that jumped back must not bring back
        keys that were destroyed.
        """
        newest = max((keys.number for keys in self.epochs), default=epoch + 1)
        if epoch < newest - 1:
            raise LocalProtocolError(
                f"mix epoch {epoch} lies before {newest - 1}: is the clock wrong?",
                code="identity-epoch",
            )
        kept = {keys.number: keys for keys in self.epochs if keys.number >= epoch - 1}
        for number in (epoch, epoch + 1):
            if number not in kept:
                kept[number] = EpochKeys(number, source.randbytes(32), source.randbytes(32))
        return Identity(
            self.key_type,
            self._libp2p,
            self._noise,
            self._signing,
            tuple(kept[number] for number in sorted(kept)),
        )

    def _secrets(self, header_digest: bytes) -> bytes:
        return encode(
            {
                1: header_digest,
                2: self.key_type,
                3: self._libp2p,
                4: self._noise,
                5: self._signing,
                6: [{1: k.number, 2: k.mix, 3: k.kem} for k in self.epochs],
            }
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Identity):
            return NotImplemented
        mine, theirs = self._secrets(bytes(32)), other._secrets(bytes(32))
        return hmac.compare_digest(mine, theirs)

    def __hash__(self) -> int:
        return hash(self.peer_id)

    def __repr__(self) -> str:
        return f"Identity({self.peer_id})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("identities are not pickled")


def ephemeral(source: random.Random, *, key_type: KeyType = "ed25519") -> Identity:
    """A new identity that no file holds: for tests, simulations and throw-away peers."""
    libp2p = source.randbytes(32)
    while key_type == "secp256k1" and not 0 < int.from_bytes(libp2p) < _SECP256K1_ORDER:
        libp2p = source.randbytes(32)
    return Identity(key_type, libp2p, source.randbytes(32), source.randbytes(32))


def verify(peer: PeerId, data: bytes, signature: bytes) -> bool:
    """Whether `peer`'s libp2p key made `signature` over `data`.

    False for anything wrong, and for peers whose id does not contain their key.
    """
    try:
        if (key := peer.ed25519) is not None:
            VerifyKey(key).verify(data, signature)
            return True
        if (point := peer.secp256k1) is not None:
            public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), point)
            public.verify(signature, data, ec.ECDSA(hashes.SHA256()))
            return True
    except (BadSignatureError, InvalidSignature, ValueError, TypeError):
        return False
    return False


class Keystore:
    """The keystore file of one peer. Its methods block: call them through the executor."""

    def __init__(self, path: Path, environment: Environment) -> None:
        self.path: Final = path
        self._disk = environment.disk
        self._random = environment.random

    def exists(self) -> bool:
        """Whether there is a file."""
        return self._disk.mode(self.path) is not None

    def create(
        self,
        *,
        key_type: KeyType = "ed25519",
        passphrase: str | None = None,
        ops: int = DEFAULT_OPS,
        memory: int = DEFAULT_MEMORY,
    ) -> Identity:
        """Make new keys and store them. Raises KeystoreError when there is a file already."""
        if self.exists():
            raise KeystoreError(
                f"{self.path} exists already", hint="move it away to make a new identity"
            )
        identity = ephemeral(self._random, key_type=key_type)
        self.save(identity, passphrase=passphrase, ops=ops, memory=memory)
        return identity

    def load(self, *, passphrase: str | None = None) -> Identity:
        """Read and, if need be, decrypt the file.

        Raises KeystoreError when it is missing, damaged, of a newer version, readable by others, or
        when the passphrase is missing or wrong. Never repairs or replaces anything.
        """
        self._check_rights()
        data = self._disk.read(self.path, max_bytes=_MAX_FILE_BYTES)
        if data is None:
            raise KeystoreError(f"there is no keystore {self.path}", hint="`fogp2p up` makes one")
        store = _read(data, "keystore", self.path)
        header = _header(store[2])
        plain = store[3]
        if store[2] is not None:
            if passphrase is None:
                raise KeystoreError(
                    f"{self.path} is locked", hint="give its passphrase in FOGP2P_PASSPHRASE"
                )
            plain = _unlock(passphrase, store[2], store[3], self.path)
        secrets = _read(plain, "secrets", self.path)
        if not hmac.compare_digest(secrets[1], hashlib.sha256(header).digest()):
            raise _damaged(self.path)
        epochs = tuple(EpochKeys(e[1], e[2], e[3]) for e in secrets[6])  # ours: authenticated
        return Identity(secrets[2], secrets[3], secrets[4], secrets[5], epochs)

    def is_encrypted(self) -> bool:
        """Whether a passphrase protects the file. Raises KeystoreError as `load`."""
        data = self._disk.read(self.path, max_bytes=_MAX_FILE_BYTES)
        if data is None:
            raise KeystoreError(f"there is no keystore {self.path}")
        return _read(data, "keystore", self.path)[2] is not None

    def save(
        self,
        identity: Identity,
        *,
        passphrase: str | None,
        ops: int = DEFAULT_OPS,
        memory: int = DEFAULT_MEMORY,
    ) -> None:
        """Replace the file: after a crash it holds the old keys or the new ones, whole."""
        kdf = None
        if passphrase is not None:
            kdf = new_kdf(self._random, ops=ops, memory=memory)
        plain = identity._secrets(hashlib.sha256(_header(kdf)).digest())
        body = plain
        if kdf is not None:
            box = secret.SecretBox(derive_key(passphrase or "", kdf))
            body = bytes(box.encrypt(plain, self._random.randbytes(secret.SecretBox.NONCE_SIZE)))
        data = encode({1: 1, 2: kdf, 3: body})
        killpoint("keystore.save.before")
        self._disk.replace(self.path, data, mode=0o600)
        killpoint("keystore.save.after")

    def _check_rights(self) -> None:
        for path in (self.path.parent, self.path):
            found = self._disk.mode(path)
            if found is None:
                continue
            mode, owner = found
            if mode & _OTHERS or owner != os.geteuid():
                raise KeystoreError(
                    f"{path} can be used by others (mode {mode:04o}, owner {owner})",
                    hint=f"chmod {'700' if path == self.path.parent else '600'} {path}",
                )


def _peer_id(key_type: KeyType, private: bytes) -> PeerId:
    if key_type == "ed25519":
        return PeerId.from_ed25519(bytes(SigningKey(private).verify_key))
    point = (
        _secp256k1(private)
        .public_key()
        .public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    )
    return PeerId.from_key_protobuf(b"\x08\x02\x12\x21" + point)


def _secp256k1(private: bytes) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(private), ec.SECP256K1())


def _low(signature: bytes) -> bytes:
    """Of the two forms of an ECDSA signature the one with the smaller s.

    libsecp256k1, which other libp2p implementations verify with, takes no other.
    """
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, min(s, _SECP256K1_ORDER - s))


def _header(kdf: Any) -> bytes:
    return encode({1: 1, 2: kdf})


def _read(data: bytes, rule: str, path: Path) -> Any:
    try:
        return decode(data, schema=Schema.load("identity/v1.cddl", rule), max_bytes=_MAX_FILE_BYTES)
    except RemoteProtocolError as exc:
        newer = rule == "keystore" and data[:2] in (b"\xa3\x01", b"\xa4\x01", b"\xa5\x01")
        if newer and 2 <= data[2] <= 0x17:
            raise KeystoreError(
                f"{path} has version {data[2]}, this program reads version 1",
                hint="use the newer fogp2p that wrote it",
            ) from exc
        raise _damaged(path) from exc


def new_kdf(
    source: random.Random, *, ops: int = DEFAULT_OPS, memory: int = DEFAULT_MEMORY
) -> dict[int | str, Any]:
    """The `kdf` of a new file: how its passphrase becomes a key."""
    return {1: "argon2id", 2: ops, 3: memory, 4: source.randbytes(16)}


def derive_key(passphrase: str, kdf: Any) -> bytes:
    """The 32-byte key of a file. Hold `kdf` to its schema before: that bounds time and memory.

    Raises ValueError for parameters that libsodium refuses.
    """
    try:
        return bytes(
            pwhash.argon2id.kdf(
                secret.SecretBox.KEY_SIZE,
                passphrase.encode("utf-8"),
                kdf[4],
                opslimit=kdf[2],
                memlimit=kdf[3],
            )
        )
    except CryptoError:
        raise ValueError("libsodium refuses these parameters") from None


def _unlock(passphrase: str, kdf: Any, sealed: bytes, path: Path) -> bytes:
    try:
        return bytes(secret.SecretBox(derive_key(passphrase, kdf)).decrypt(sealed))
    except (CryptoError, ValueError):
        # From None: the chain would show the frames that hold the passphrase.
        raise KeystoreError(
            f"wrong passphrase for {path}, or the file is damaged",
            hint="try again; a damaged file has to come back from a backup",
        ) from None


def _damaged(path: Path) -> KeystoreError:
    return KeystoreError(
        f"{path} is damaged", hint="restore it from a backup; it is never made anew over an old one"
    )
