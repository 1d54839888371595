"""specs/registry: which descriptors are accepted, with which values, and which are refused."""

import hashlib
import json
import re
from pathlib import Path

import base58
import cbor2
from echo import varint
from envelope import Refused, need, parts
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

U53 = 2**53 - 1


def names(found: list, most: int) -> None:
    need(len(found) <= most)
    for name in found:
        need(isinstance(name, str) and re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,31}", name) is not None)


def items(value: object) -> int:
    if isinstance(value, list):
        return 1 + sum(map(items, value))
    if isinstance(value, dict):
        return 1 + sum(items(key) + items(each) for key, each in value.items())
    return 1


def number(value: object) -> None:
    need(type(value) is int and 0 <= value <= U53)


def data(value: object, least: int, most: int) -> None:
    need(isinstance(value, bytes) and least <= len(value) <= most)


def read(envelope: bytes, now: int) -> dict:
    need(len(envelope) <= 4096)
    key, kind, payload, signature = parts(envelope)
    need(key[:4] == b"\x08\x01\x12\x20" and len(key) == 36)
    need(kind == b"/fog/node-descriptor")
    try:
        said = cbor2.loads(payload)
    except cbor2.CBORDecodeError as exc:
        raise Refused from exc
    need(isinstance(said, dict) and cbor2.dumps(said, canonical=True) == payload)
    need(items(said) <= 1024)
    need(all(member in said for member in range(1, 11)))
    need(said[1] == b"\x00\x24" + key)
    for member in (2, 3, 4, 8):
        number(said[member])
    need(said[3] < said[4] <= said[3] + 3600 and said[3] <= now + 120 and now < said[4])
    need(len(said[5]) <= 8)
    for address in said[5]:
        data(address, 1, 256)
    names(said[6], 16)
    need(said[6] == sorted(set(said[6])))
    names(list(said[7]), 8)
    for name, public in said[7].items():
        exact = name in ("mix", "mix-next", "noise-fingerprint")
        data(public, 32 if exact else 1, 32 if exact else 1600)
    names(list(said[9]), 16)
    for amount in said[9].values():
        number(amount)
    need(isinstance(said[10], str) and len(said[10].encode()) <= 64)
    if 11 in said:
        data(said[11], 1, 1024)
    names(list(said.get(12, {})), 16)
    signed = b"".join(varint(len(p)) + p for p in (b"fog-node-descriptor", kind, payload))
    try:
        VerifyKey(key[4:]).verify(signed, signature)
    except (BadSignatureError, ValueError) as exc:
        raise Refused from exc
    return said


def check(folder: Path) -> int:
    document = json.loads((folder / "descriptors.json").read_text("ascii"))
    now = document["now"]
    for role, key in document["roles"].items():
        digest = hashlib.sha256(f"fog-registry/role/{role}".encode()).hexdigest()
        assert key == "1220" + digest, role
    for case in document["valid"]:
        said = read(bytes.fromhex(case["encoded"]), now)
        assert base58.b58encode(said[1]).decode() == case["peer"], case["name"]
        got = (said[2], said[3], said[4], said[6], said[8], said[9], said[10])
        wanted = ("sequence", "issued", "expires", "roles", "epoch", "capacity", "software")
        assert got == tuple(case[name] for name in wanted), case["name"]
        assert {name: key.hex() for name, key in said[7].items()} == case["keys"], case["name"]
    for case in document["invalid"]:
        try:
            read(bytes.fromhex(case["encoded"]), now)
        except Refused:
            continue
        raise AssertionError(f"accepted: {case['name']}")
    return len(document["valid"]) + len(document["invalid"])
