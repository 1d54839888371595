"""specs/log section 7: keys sealed to members, and sealed bodies."""

import hashlib
import hmac
import json
from pathlib import Path

import cbor2
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from nacl import bindings as sodium


def hkdf(chaining: bytes, secret: bytes) -> tuple:
    temporary = hmac.digest(chaining, secret, "sha256")
    first = hmac.digest(temporary, b"\1", "sha256")
    return first, hmac.digest(temporary, first + b"\2", "sha256")


def open_sealed(group: bytes, public: bytes, seed: bytes, box: bytes) -> bytes:
    """Noise N, responder's side, by the Noise specification."""
    secret = sodium.crypto_sign_ed25519_sk_to_curve25519(sodium.crypto_sign_seed_keypair(seed)[1])
    static = sodium.crypto_scalarmult_base(secret)
    digest = chaining = b"Noise_N_25519_ChaChaPoly_SHA256".ljust(32, b"\0")
    for data in (cbor2.dumps(["fog/log/1 epoch", group, public]), static, box[:32]):
        digest = hashlib.sha256(digest + data).digest()
    _, key = hkdf(chaining, sodium.crypto_scalarmult(secret, box[:32]))
    return ChaCha20Poly1305(key).decrypt(bytes(12), box[32:], digest)


def read_sealed(folder: Path) -> None:
    kept = json.loads((folder / "sealed.json").read_text("ascii"))
    group, key = bytes.fromhex(kept["group"]), bytes.fromhex(kept["key"])
    committed = hmac.digest(key, b"fog/log/1 commitment\0" + group, "sha256")
    assert committed.hex() == kept["commitment"]
    for public, box in kept["sealed"]:
        seed = bytes.fromhex(kept["secrets"][public])
        assert open_sealed(group, bytes.fromhex(public), seed, bytes.fromhex(box)) == key
    body = kept["body"]
    bound = cbor2.dumps(
        [
            "fog/log/1 body",
            group,
            bytes.fromhex(body["epoch"]),
            bytes.fromhex(body["author"]),
            body["position"],
        ]
    )
    sealed, nonce = bytes.fromhex(body["sealed"]), bytes.fromhex(body["nonce"])
    assert sealed[:24] == nonce
    plain = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed[24:], bound, nonce, key)
    assert plain.hex() == body["plain"]
