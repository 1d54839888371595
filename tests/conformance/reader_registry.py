"""specs/registry written again from its text, sharing nothing with the library.

Reads descriptors.json: accepts what is valid with the values named there, refuses what is not;
exits 1 for any difference.
"""

import hashlib
import json
import re
import sys
from pathlib import Path

import base58
import cbor2
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

U53 = 2**53 - 1


class Refused(Exception):
    pass


def need(condition: bool) -> None:
    if not condition:
        raise Refused


def shortest(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def parts(data: bytes) -> list[bytes]:
    """Cut by trying: the whole must be what these four fields make (REG-002)."""
    found, at = [], 0
    for tag in b"\x0a\x12\x1a\x2a":
        need(at < len(data) and data[at] == tag)
        length, shift, at = 0, 0, at + 1
        while True:
            need(at < len(data) and shift < 63)
            length |= (data[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if data[at - 1] < 128:
                break
        need(at + length <= len(data))
        found.append(data[at : at + length])
        at += length
    again = b"".join(
        bytes([t]) + shortest(len(p)) + p for t, p in zip(b"\x0a\x12\x1a\x2a", found, strict=True)
    )
    need(again == data)
    return found


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
    except Exception as exc:
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
    signed = b"".join(shortest(len(p)) + p for p in (b"fog-node-descriptor", kind, payload))
    try:
        VerifyKey(key[4:]).verify(signed, signature)
    except (BadSignatureError, ValueError) as exc:
        raise Refused from exc
    return said


def main(path: str) -> None:
    document = json.loads(Path(path).read_text("ascii"))
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
    assert not any(name.startswith("fogp2p") for name in sys.modules)
    sys.stdout.write(f"{len(document['valid'])} + {len(document['invalid'])} agree\n")


if __name__ == "__main__":
    main(sys.argv[1])
