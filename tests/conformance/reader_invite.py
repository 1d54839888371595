"""specs/invite written again from its text, sharing nothing with the library but `spake2`.

Reads codes.json and transcripts.json: reads each code, computes each password, key, transcript and
tag; exits 1 for any difference.
"""

import base64
import hashlib
import hmac
import ipaddress
import json
import re
import sys
import unicodedata
from pathlib import Path

import base58
import cbor2
from spake2 import SPAKE2_A, SPAKE2_B

DOMAIN = "fog/invite/1"


def read_code(text: str) -> dict:
    text = unicodedata.normalize("NFKC", text).strip()
    if text[:7].upper() != "FOGP2P:":
        number, *words = [part for part in re.split(r"[\s\-_.,]+", text.lower()) if part]
        password = cbor2.dumps([DOMAIN, "words", int(number), words], canonical=True)
        return {"kind": "words", "nameplate": int(number), "words": words, "password": password}
    body = "".join(text[7:].split()).upper()
    data = base64.b32decode(body + "=" * (-len(body) % 8))
    head, data, check = data[0], data[:-1], data[-1:]
    assert head >> 5 == 1 and hashlib.sha256(DOMAIN.encode() + data).digest()[:1] == check
    nameplate, secret = int.from_bytes(data[1:3], "big"), data[3:19]
    size = 33 if head & 16 else 32
    key, rest = data[19 : 19 + size], data[19 + size :]
    protobuf = bytes([8, 2 if head & 16 else 1, 18, size]) + key
    addresses = []
    for kind in (head >> 2 & 3, head & 3):
        length = {0: 0, 1: 6, 2: 18}[kind]
        packed, rest = rest[:length], rest[length:]
        if packed:
            ip = ipaddress.ip_address(packed[:-2])
            port = int.from_bytes(packed[-2:], "big")
            addresses.append(f"/ip{ip.version}/{ip}/tcp/{port}")
    assert not rest
    return {
        "kind": "link",
        "nameplate": nameplate,
        "secret": secret.hex(),
        "peer": base58.b58encode(bytes([0, len(protobuf)]) + protobuf).decode(),
        "addresses": addresses,
        "password": cbor2.dumps([DOMAIN, "link", nameplate, secret], canonical=True),
    }


def frames(data: bytes) -> list[bytes]:
    found = []
    while data:
        length, shift, at = 0, 0, 0
        while True:
            length |= (data[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if data[at - 1] < 128:
                break
        found.append(data[at : at + length])
        data = data[at + length :]
    return found


def hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    secret = hmac.digest(salt, key, "sha256")
    return hmac.digest(secret, info + b"\x01", "sha256")


def check_run(run: dict) -> None:
    said = [(s["from"], frame) for s in run["said"] for frame in frames(bytes.fromhex(s["bytes"]))]
    raw = {side: base58.b58decode(run[side]["peer"]) for side in ("joiner", "inviter")}
    sides = {}
    for side, kind, code in (("joiner", SPAKE2_A, "typed"), ("inviter", SPAKE2_B, "made")):
        entropy = bytes.fromhex(run[side]["entropy"])
        password = read_code(run[code]["text"])["password"]
        assert password.hex() == run[code]["password"]
        sides[side] = kind(
            password, idA=raw["joiner"], idB=raw["inviter"], entropy_f=lambda n, e=entropy: e[:n]
        )
    pakes = {who: cbor2.loads(frame)[1] for who, frame in said[2:4]}
    keys = {}
    for side, other in (("joiner", "inviter"), ("inviter", "joiner")):
        assert sides[side].start() == pakes[side], f"{side}'s message of SPAKE2"
        keys[side] = sides[side].finish(pakes[other])
    digest = hashlib.sha256(b"fog/invite/1 ")
    for _, frame in said[:4]:
        digest.update(len(frame).to_bytes(4, "big") + frame)
    transcript = digest.digest()
    right = run["typed"]["text"] == run["made"]["text"]
    assert (keys["joiner"] == keys["inviter"]) is right
    for who, frame in said[4:]:
        message = cbor2.loads(frame)
        if message[0] == 3:
            assert not right and message[1] == "wrong-guess"
            return
        what = {5: "confirms", 6: "card", 7: "stored"}[message[0]]
        data = message[1] if what == "card" else b""
        tag = message[2] if what == "card" else message[1]
        key = hkdf(keys[who], transcript, f"fog/invite/1 {who} {what}".encode())
        assert hmac.digest(key, transcript + data, "sha256") == tag, f"{who} {what}"
    assert right and len(said) == 10


def main(folder: str) -> None:
    codes = json.loads(Path(folder, "codes.json").read_text("ascii"))
    for case in codes["valid"]:
        read = read_code(case["text"])
        read["password"] = read["password"].hex()
        assert read == {name: case[name] for name in read}, case["name"]
    for run in json.loads(Path(folder, "transcripts.json").read_text("ascii"))["transcript"]:
        check_run(run)


if __name__ == "__main__":
    main(sys.argv[1])
