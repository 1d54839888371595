"""specs/blob: contents and their names, sealed pieces, labels, requests, and what is refused."""

import base64
import hashlib
import json
import re
from pathlib import Path

import cbor2
from nacl import bindings as sodium

CHUNK = 262_144
PREFIX = b"\x01\x51\x12\x20"


def content(case):
    pattern, size = bytes.fromhex(case["pattern"]), case["size"]
    data = (pattern * (size // len(pattern) + 1))[:size]
    chunks = [data[at : at + CHUNK] for at in range(0, size, CHUNK)]
    hashes = b"".join(hashlib.sha256(chunk).digest() for chunk in chunks)
    manifest = cbor2.dumps({1: 1, 2: size, 3: CHUNK, 4: "sha2-256", 5: hashes}, canonical=True)
    cid = PREFIX + hashlib.sha256(manifest).digest()
    text = "b" + base64.b32encode(cid).decode().rstrip("=").lower()
    assert (manifest.hex(), cid.hex(), text) == (case["manifest"], case["cid"], case["text"])
    label = base64.b32encode(hashlib.sha256(cid).digest()[:20]).decode().lower()
    assert label == case["label"]


def sealed(case):
    key, count = bytes.fromhex(case["key"]), len(case["pieces"])
    for number, (piece, chunk) in enumerate(zip(case["pieces"], case["sealed"], strict=True)):
        plain = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
            bytes.fromhex(chunk), b"fog-blob-piece/1" + count.to_bytes(8), number.to_bytes(24), key
        )
        assert plain.hex() == piece


def name(case):
    assert re.search(r"[/\\\x00-\x1f]|^\.", case["kept"]) is None, "a label, not a path"
    last = re.split(r"[/\\]", case["offered"])[-1]
    assert case["kept"] == "file" or set(case["kept"]) <= set(last)


def request(case):
    said = cbor2.loads(bytes.fromhex(case["bytes"]))
    assert cbor2.dumps(said, canonical=True).hex() == case["bytes"]
    assert said[1] == case["ask"] and said[2][:4] == PREFIX and len(said[2]) == 36
    assert (3 in said) == (said[1] in ("chunk", "manifest")) and (4 in said) == (said[1] == "offer")


def check(folder: Path) -> int:
    vectors = json.loads((folder / "blobs.json").read_text("ascii"))
    kinds = {"content": content, "sealed": sealed, "name": name, "request": request}
    for case in vectors["valid"]:
        kinds[case["kind"]](case)
    return len(vectors["valid"])
