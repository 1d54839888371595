"""specs/echo: what a receiver answers to a stream, in both versions."""

import hashlib
import json
from pathlib import Path

import cbor2


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def messages(data: bytes):
    at = 0
    while at < len(data):
        value = shift = 0
        while True:
            byte, at = data[at], at + 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        assert value <= 65_536, "frame-size"
        yield data[at : at + value]
        at += value


def answers(data: bytes, minor: int) -> bytes:
    out, digest, count = b"", hashlib.sha256(), 0
    for message in messages(data):
        digest.update(message)
        count += len(message)
        answer = message
        if minor == 1:
            answer = cbor2.dumps({1: message, 2: count, 3: digest.digest()}, canonical=True)
        out += varint(len(answer)) + answer
    return out


def check(folder: Path) -> int:
    vectors = json.loads((folder / "streams.json").read_text("ascii"))
    for case in vectors["valid"]:
        minor = int(case["protocol"].split("/")[3].split(".")[1])
        assert answers(bytes.fromhex(case["sent"]), minor).hex() == case["answered"], case["name"]
    for case in vectors["invalid"]:
        try:
            answers(bytes.fromhex(case["sent"]), 0)
        except AssertionError as refused:
            assert str(refused) == case["code"], case["name"]
        else:
            raise AssertionError(case["name"])
    return len(vectors["valid"]) + len(vectors["invalid"])
