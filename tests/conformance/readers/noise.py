"""specs/noise: revision 34, six patterns, 25519 ChaChaPoly SHA256; every published transcript."""

import hashlib
import hmac
import json
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from nacl.bindings import crypto_scalarmult, crypto_scalarmult_base

# pattern -> what both know before, and the tokens of each message; the initiator begins.
PATTERNS = {
    "N": (["", "s"], ["e es"]),
    "X": (["", "s"], ["e es s ss"]),
    "KK": (["s", "s"], ["e es ss", "e ee se"]),
    "NK": (["", "s"], ["e es", "e ee"]),
    "XX": (["", ""], ["e", "e ee s es", "s se"]),
    "IK": (["", "s"], ["e es s ss", "e ee se"]),
}


def hkdf(chain, secret):
    key = hmac.digest(chain, secret, "sha256")
    one = hmac.digest(key, b"\x01", "sha256")
    return one, hmac.digest(key, one + b"\x02", "sha256")


def seal(key, number, aad, text):
    return ChaCha20Poly1305(key).encrypt(bytes(4) + number.to_bytes(8, "little"), text, aad)


class Writer:
    """Both sides at once: it knows all keys, and writes what each of them sends."""

    def __init__(self, case):
        name = case["protocol_name"].encode()
        self.before, self.tokens = PATTERNS[case["protocol_name"].split("_")[1]]
        self.keys = {
            (side, kind): bytes.fromhex(case[f"{role}_{field}"])
            for side, role in enumerate(("init", "resp"))
            for kind, field in (("s", "static"), ("e", "ephemeral"))
            if f"{role}_{field}" in case
        }
        self.h = self.chain = name.ljust(32, b"\0")  # exactly 32 bytes, or one less
        self.key, self.number = None, 0
        self.mix_hash(bytes.fromhex(case["init_prologue"]))
        for side in (0, 1):
            if self.before[side]:
                self.mix_hash(self.public(side, "s"))

    def public(self, side, kind):
        return crypto_scalarmult_base(self.keys[side, kind])

    def mix_hash(self, data):
        self.h = hashlib.sha256(self.h + data).digest()

    def encrypt(self, text):
        out = text if self.key is None else seal(self.key, self.number, self.h, text)
        self.number += self.key is not None
        self.mix_hash(out)
        return out

    def message(self, side, tokens, payload):
        out = b""
        for token in tokens.split():
            if token == "e":
                out += self.public(side, "e")
                self.mix_hash(self.public(side, "e"))
            elif token == "s":
                out += self.encrypt(self.public(side, "s"))
            else:
                shared = crypto_scalarmult(self.keys[0, token[0]], self.public(1, token[1]))
                self.chain, self.key = hkdf(self.chain, shared)
                self.number = 0
        return out + self.encrypt(payload)


def check(folder: Path) -> int:
    done = 0
    for name in ("bitchat-xx", "cacophony", "snow"):
        for case in json.loads((folder / f"{name}.json").read_text("utf-8"))["transcript"]:
            writer = Writer(case)
            pairs = [(bytes.fromhex(m["payload"]), m["ciphertext"]) for m in case["messages"]]
            for side, tokens in enumerate(writer.tokens):
                payload, sent = pairs.pop(0)
                assert writer.message(side % 2, tokens, payload).hex() == sent
            assert writer.h.hex() == case.get("handshake_hash", writer.h.hex())
            keys, numbers = hkdf(writer.chain, b""), [0, 0]
            one_way = len(writer.tokens) == 1
            side = 0 if one_way else len(writer.tokens) % 2
            for payload, sent in pairs:
                assert seal(keys[side], numbers[side], b"", payload).hex() == sent
                numbers[side] += 1
                side = 0 if one_way else 1 - side
            done += 1
    return done
