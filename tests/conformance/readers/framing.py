"""specs/framing: an unsigned varint and so many bytes."""

import json
from pathlib import Path


def frames(data: bytes, limit: int) -> tuple[list[str], str]:
    found, at = [], 0
    while at < len(data):
        value = 0
        for index in range(9):
            if at + index >= len(data):
                return found, "frame-cut"
            byte = data[at + index]
            value |= (byte & 127) << 7 * index
            if byte < 128:
                break
        else:
            return found, "varint"
        if byte == 0 and index > 0:
            return found, "varint"
        if value > limit:
            return found, "frame-size"
        at += index + 1
        if len(data) - at < value:
            return found, "frame-cut"
        found.append(data[at : at + value].hex())
        at += value
    return found, ""


def check(folder: Path) -> int:
    vectors = json.loads((folder / "frames.json").read_text("ascii"))
    for case in vectors["valid"]:
        got = frames(bytes.fromhex(case["stream"]), 256 * 1024)
        assert got == (case["frames"], ""), case["name"]
    for case in vectors["invalid"]:
        _, code = frames(bytes.fromhex(case["stream"]), case["limit"])
        assert code == case["code"], case["name"]
    return len(vectors["valid"]) + len(vectors["invalid"])
