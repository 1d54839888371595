"""specs/bitchat: packets with their signatures, compression and ids; the sync filter's code."""

import hashlib
import json
import zlib
from pathlib import Path

from nacl.signing import VerifyKey

RECIPIENT, SIGNED, COMPRESSED, ROUTE, RSR = 1, 2, 4, 8, 16


def fields(data):
    """(version, type, ttl, time, flags, sender, recipient, route, payload as it travels, rest)."""
    version, kind, ttl, flags = data[0], data[1], data[2], data[11]
    width = 2 if version == 1 else 4
    at = 12 + width
    length = int.from_bytes(data[12:at], "big")
    sender, at = data[at : at + 8].hex(), at + 8
    recipient, route = None, []
    if flags & RECIPIENT:
        recipient, at = data[at : at + 8].hex(), at + 8
    if flags & ROUTE and version == 2:
        count, at = data[at], at + 1
        route = [data[at + 8 * n : at + 8 * n + 8].hex() for n in range(count)]
        at += 8 * count
    return version, kind, ttl, data[3:11], flags, sender, recipient, route, at, length


def packet(case):
    data = bytes.fromhex(case["encoded"])
    version, kind, ttl, time, flags, sender, recipient, route, at, length = fields(data)
    got = [version, kind, ttl, int.from_bytes(time, "big"), sender, recipient, route]
    names = ("version", "type", "ttl", "timestamp_ms", "sender", "recipient", "route")
    assert got == [case[name] for name in names]
    assert bool(flags & COMPRESSED) is case["compressed"]
    payload, end = data[at : at + length], at + length
    if flags & COMPRESSED:
        width = 2 if version == 1 else 4
        size = int.from_bytes(payload[:width], "big")
        payload = zlib.decompress(payload[width:], wbits=-15)
        assert len(payload) == size
    assert payload.hex() == case["payload"]
    identifier = hashlib.sha256(bytes([kind]) + bytes.fromhex(sender) + time + payload).digest()
    assert identifier[:16].hex() == case["packet_id"]
    bare = bytearray(data[:end])
    bare[2], bare[11] = 0, flags & ~(SIGNED | RSR)
    size = next((s for s in (256, 512, 1024, 2048) if s - len(bare) >= 16), len(bare))
    missing = size - len(bare)
    preimage = bytes(bare) + (bytes([missing]) * missing if missing <= 255 else b"")
    assert preimage.hex() == case["preimage"]
    if flags & SIGNED:
        VerifyKey(bytes.fromhex(case["signing_key"])).verify(preimage, data[end : end + 64])


def golomb(data, p, modulus):
    bits = "".join(f"{byte:08b}" for byte in data)
    values, at, last = [], 0, 0
    while True:
        quotient = 0
        while at < len(bits) and bits[at] == "1":
            quotient, at = quotient + 1, at + 1
        if at + 1 + p > len(bits):
            return values
        last += (quotient << p) + int(bits[at + 1 : at + 1 + p], 2) + 1
        at += 1 + p
        if last >= modulus:
            return values
        values.append(last)


def wanted(identifier, modulus):
    first = int.from_bytes(hashlib.sha256(bytes.fromhex(identifier)).digest()[:8], "big")
    return (first & (2**63 - 1)) % modulus or 1


def check(folder: Path) -> int:
    packets = json.loads((folder / "packets.json").read_text("utf-8"))
    named = packets["identity"]
    digest = hashlib.sha256(bytes.fromhex(named["noise_key"])).hexdigest()
    assert (digest, digest[:16]) == (named["fingerprint"], named["peer_id"])
    for case in packets["valid"]:
        packet(case)
    filters = json.loads((folder / "sync.json").read_text("utf-8"))["valid"]
    for case in filters:
        values = golomb(bytes.fromhex(case["data"]), case["p"], case["modulus"])
        assert values[: case["held"]] == case["values"], case
        held = sorted({wanted(each, case["modulus"]) for each in case["ids"]})
        assert held == case["values"] or case["modulus"] == 1
    return 1 + len(packets["valid"]) + len(filters)
