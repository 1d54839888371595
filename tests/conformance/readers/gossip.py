"""specs/gossip: messages of gossipsub by hand, without a protobuf library."""

import json
from pathlib import Path

import base58
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte, at = data[at], at + 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data: bytes):
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        value, at = varint(data, at)
        if tag & 7 == 2:
            at += value
            yield tag >> 3, data[at - value : at]
        else:
            assert tag & 7 == 0, "wire type"
            yield tag >> 3, value


def judge(raw: bytes) -> tuple[str, dict[int, bytes], bytes]:
    found = dict(fields(raw))
    if not found.get(1) or not found.get(5):
        return "gossip-message", found, b""
    known = set(found) <= {1, 2, 3, 4, 5, 6} and found.get(6) != b"" and 2 in found
    sizes = len(found.get(3, b"")) == 8 and 1 <= len(found.get(4, b"")) <= 256
    if not (known and sizes and len(found[2]) <= 65_536):
        return "unusable", found, b""
    try:
        found[4].decode()
    except UnicodeDecodeError:
        return "unusable", found, b""
    author = found[1]
    if author[:6] != b"\x00\x24\x08\x01\x12\x20":
        return "unverifiable", found, b""
    # What is signed is the beginning of the encoding: fields 1 to 4 stand before the signature.
    signed = b"libp2p-pubsub:" + raw[: raw.rindex(b"\x2a\x40" + found[5])]
    if 6 in found and found[6] != author[2:]:
        return "forged", found, signed
    try:
        VerifyKey(author[6:]).verify(signed, found[5])
    except BadSignatureError:
        return "forged", found, signed
    return "", found, signed


def says(raw: bytes) -> dict[str, list]:
    told: dict[str, list] = {}
    for number, value in fields(raw):
        if number == 1:
            wanted, topic = (dict(fields(value))[n] for n in (1, 2))
            told.setdefault("subscribe" if wanted else "unsubscribe", []).append(topic.decode())
        for kind, part in fields(value) if number == 3 else ():
            parts = list(fields(part))
            ids = [each.hex() for n, each in parts if n == (2 if kind == 1 else 1) and kind != 4]
            name = ("ihave", "iwant", "graft", "prune", "idontwant")[kind - 1]
            if kind == 1:
                told.setdefault(name, []).append([parts[0][1].decode(), *ids])
            elif kind == 3:
                told.setdefault(name, []).append(parts[0][1].decode())
            elif kind == 4:
                told.setdefault(name, []).append([parts[0][1].decode(), dict(parts)[3]])
            else:
                told.setdefault(name, []).extend(ids)
    return told


def check(folder: Path) -> int:
    document = json.loads((folder / "messages.json").read_text("ascii"))
    for case in document["valid"]:
        code, found, signed = judge(bytes.fromhex(case["encoded"]))
        assert code == "", (case["name"], code)
        got = [base58.b58encode(found[1]).decode(), int.from_bytes(found[3], "big")]
        got += [found[4].decode(), found[2].hex(), (found[1] + found[3]).hex(), signed.hex()]
        wanted = ("author", "number", "topic", "data", "id", "signed")
        assert got == [case[name] for name in wanted], case["name"]
    for case in document["invalid"]:
        assert judge(bytes.fromhex(case["encoded"]))[0] == case["code"], case["name"]
    for case in document["rpcs"]:
        assert says(bytes.fromhex(case["encoded"])) == case["says"], case["name"]
    return sum(len(document[kind]) for kind in ("valid", "invalid", "rpcs"))
