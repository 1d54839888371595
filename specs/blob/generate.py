"""Print the vectors of specs/blob.

Run `python specs/blob/generate.py DIRECTORY`; CI compares the result with the files kept here.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from fogp2p.codec import encode
from fogp2p.errors import RemoteProtocolError
from fogp2p.protocols.blob import Cid, decode_manifest, file_name, make_manifest, seal_pieces
from fogp2p.protocols.blob.config import CHUNK_BYTES
from fogp2p.protocols.blob.messages import (
    Request,
    bitmap_of,
    decode_request,
    indices_of,
    read_reply,
)
from fogp2p.transports.mdns.messages import content_label

# name -> (repeated pattern, size): contents that a reader can make.
CONTENTS: Final = {
    "empty": ("00", 0),
    "five bytes": ("68656c6c6f", 5),
    "one chunk exactly": ("ab", CHUNK_BYTES),
    "one byte more": ("000102030405060708090a0b0c0d0e0f", CHUNK_BYTES + 1),
    "three chunks, two of them alike": ("00", 3 * CHUNK_BYTES - 7),
}
NAMES: Final = ("notes.md", "../../etc/passwd", "C:\\boot.ini", "...", ".ssh", "a\u202eb\n.txt")


def main(target: Path) -> None:
    """Write the vectors into `target`."""
    target.mkdir(parents=True, exist_ok=True)
    valid = [_content(name, bytes.fromhex(p), size) for name, (p, size) in CONTENTS.items()]
    valid += [{"kind": "name", "offered": name, "kept": file_name(name)} for name in NAMES]
    valid += [_sealed(), *_requests()]
    text = json.dumps({"valid": valid, "invalid": _refusals()}, indent=1, sort_keys=True) + "\n"
    (target / "blobs.json").write_text(text, encoding="ascii")


def _content(name: str, pattern: bytes, size: int) -> dict[str, Any]:
    content = (pattern * (size // len(pattern) + 1))[:size]
    chunks = [content[at : at + CHUNK_BYTES] for at in range(0, size, CHUNK_BYTES)]
    cid, encoded, _ = make_manifest(size, [hashlib.sha256(chunk).digest() for chunk in chunks])
    return {
        "kind": "content",
        "name": name,
        "pattern": pattern.hex(),
        "size": size,
        "manifest": encoded.hex(),
        "cid": cid.raw.hex(),
        "text": str(cid),
        "label": content_label(cid.raw),
    }


def _sealed() -> dict[str, Any]:
    key = bytes(range(32))
    pieces = [b"the first piece", b"the second"]
    sealed = [each.hex() for each in seal_pieces(key, pieces, 2)]
    return {
        "kind": "sealed",
        "key": key.hex(),
        "pieces": [each.hex() for each in pieces],
        "sealed": sealed,
    }


def _requests() -> list[dict[str, Any]]:
    cid = make_manifest(0, [])[0]
    made = [
        Request("have", cid),
        Request("manifest", cid, 1),
        Request("chunk", cid, 300),
        Request("offer", cid, name="notes.md"),
    ]
    return [{"kind": "request", "ask": each.kind, "bytes": each.to_bytes().hex()} for each in made]


def _refusals() -> list[dict[str, Any]]:
    cid, encoded, _ = make_manifest(5, [hashlib.sha256(b"hello").digest()])
    lying = encode({1: 1, 2: 2**33, 3: CHUNK_BYTES, 4: "sha2-256", 5: bytes(32)})
    have = Request("have", cid).to_bytes()
    cases: list[tuple[str, bytes, Callable[[], object]]] = [
        ("manifest of another CID", encoded, lambda: decode_manifest(encoded + b"\0", cid)),
        ("lying manifest", lying, lambda: decode_manifest(lying, Cid.of_manifest(lying))),
        ("capital letters", b"", lambda: Cid.parse(str(cid).upper())),
        ("CID of another kind", b"\x01\x55", lambda: Cid.from_bytes(b"\x01\x55" + bytes(34))),
        ("chunk without number", b"", lambda: decode_request(encode({1: "chunk", 2: cid.raw}))),
        ("have with a name", b"", lambda: decode_request(encode({1: "have", 2: cid.raw, 4: "x"}))),
        ("request with a byte more", b"", lambda: decode_request(have + b"\0")),
        ("bitmap with a spare bit", b"\x04", lambda: indices_of(b"\x04", 2)),
        ("bitmap that is too short", b"\x01", lambda: indices_of(b"\x01", 9)),
        ("unknown status", b"\x07", lambda: read_reply(b"\x07")),
        ("a refusal with a body", b"\x01x", lambda: read_reply(b"\x01x")),
        ("an empty answer", b"", lambda: read_reply(b"")),
    ]
    assert bitmap_of(9, [0, 8]) == b"\x01\x01"
    return [{"name": name, "bytes": data.hex(), "code": _code(act)} for name, data, act in cases]


def _code(act: Callable[[], object]) -> str:
    try:
        act()
    except RemoteProtocolError as exc:
        return exc.code
    raise AssertionError("it was accepted")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
