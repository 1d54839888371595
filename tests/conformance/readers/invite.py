"""specs/invite: each code, and each pairing's password, key, transcript and tags."""

import hashlib
import hmac
import json
from pathlib import Path

import base58
import cbor2
from echo import messages
from invite_codes import read_code
from spake2 import SPAKE2_A, SPAKE2_B


def hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    secret = hmac.digest(salt, key, "sha256")
    return hmac.digest(secret, info + b"\x01", "sha256")


def check_run(run: dict) -> None:
    said = [
        (s["from"], frame) for s in run["said"] for frame in messages(bytes.fromhex(s["bytes"]))
    ]
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


def check(folder: Path) -> int:
    codes = json.loads((folder / "codes.json").read_text("ascii"))["valid"]
    for case in codes:
        read = read_code(case["text"])
        read["password"] = read["password"].hex()
        assert read == {name: case[name] for name in read}, case["name"]
    runs = json.loads((folder / "transcripts.json").read_text("ascii"))["transcript"]
    for run in runs:
        check_run(run)
    return len(codes) + len(runs)
