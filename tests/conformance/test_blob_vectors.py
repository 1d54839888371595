"""specs/blob: an independent reading of the vectors, and what is refused."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import cbor2
import pytest
from nacl import bindings as sodium

from fogp2p.errors import RemoteProtocolError
from fogp2p.protocols.blob import Cid, decode_manifest, file_name, make_manifest, open_pieces
from fogp2p.protocols.blob.messages import (
    Request,
    decode_request,
    indices_of,
    read_reply,
)
from fogp2p.testing import load_vectors
from fogp2p.transports.mdns.messages import content_label

VECTORS = load_vectors("blob")["blobs"]
CHUNK = 262_144


def _cases(kind: str) -> list[dict[str, Any]]:
    found = [case for case in VECTORS.valid if case["kind"] == kind]
    assert found
    return found


@pytest.mark.parametrize("case", _cases("content"), ids=lambda case: str(case["name"]))
def test_contents_have_these_names(case: dict[str, Any]) -> None:
    """Without our code: hashlib, cbor2 and base64 alone."""
    pattern, size = bytes.fromhex(case["pattern"]), case["size"]
    content = (pattern * (size // len(pattern) + 1))[:size]
    hashes = b"".join(
        hashlib.sha256(content[at : at + CHUNK]).digest() for at in range(0, size, CHUNK)
    )
    manifest = cbor2.dumps({1: 1, 2: size, 3: CHUNK, 4: "sha2-256", 5: hashes}, canonical=True)
    assert manifest.hex() == case["manifest"]
    cid = b"\x01\x51\x12\x20" + hashlib.sha256(manifest).digest()
    text = "b" + base64.b32encode(cid).decode().rstrip("=").lower()
    assert (cid.hex(), text) == (case["cid"], case["text"])
    label = base64.b32encode(hashlib.sha256(cid).digest()[:20]).decode().lower()
    assert label == case["label"] == content_label(cid)
    ours = decode_manifest(manifest, Cid.parse(text))
    assert (ours.size, b"".join(ours.hashes)) == (size, hashes)
    assert make_manifest(size, ours.hashes)[1] == manifest


@pytest.mark.spec("BLO-030")
def test_sealed_pieces_open_under_their_key_number_and_count() -> None:
    (case,) = _cases("sealed")
    key, sealed = bytes.fromhex(case["key"]), [bytes.fromhex(each) for each in case["sealed"]]
    for index, (piece, chunk) in enumerate(zip(case["pieces"], sealed, strict=True)):
        plain = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
            chunk, b"fog-blob-piece/1" + (2).to_bytes(8), index.to_bytes(24), key
        )
        assert plain.hex() == piece
    assert [each.hex() for each in open_pieces(key, sealed, 2)] == case["pieces"]
    for wrong in (
        (bytes(32), sealed, 2),
        (key, sealed[::-1], 2),
        (key, sealed, 3),
        (key, [b"short"], 2),
    ):
        with pytest.raises(RemoteProtocolError) as caught:
            list(open_pieces(*wrong))
        assert caught.value.code == "blob-sealed"


@pytest.mark.spec("BLO-021")
@pytest.mark.parametrize("case", _cases("name"), ids=lambda case: repr(case["offered"]))
def test_names_are_labels(case: dict[str, Any]) -> None:
    kept = file_name(case["offered"])
    assert (
        kept == case["kept"] and "/" not in kept and "\\" not in kept and not kept.startswith(".")
    )


@pytest.mark.parametrize("case", _cases("request"), ids=lambda case: str(case["ask"]))
def test_requests(case: dict[str, Any]) -> None:
    request = decode_request(bytes.fromhex(case["bytes"]))
    assert request.kind == case["ask"] and request.to_bytes().hex() == case["bytes"]
    assert cbor2.loads(bytes.fromhex(case["bytes"]))[1] == case["ask"]


def _code(case: str) -> str:
    return next(each["code"] for each in VECTORS.invalid if each["name"] == case)


@pytest.mark.spec("BLO-001", "BLO-002", "BLO-003", "BLO-010", "BLO-012", "BLO-013")
def test_what_is_refused() -> None:
    cid, encoded, _ = make_manifest(5, [hashlib.sha256(b"hello").digest()])
    lying = next(each["bytes"] for each in VECTORS.invalid if each["name"] == "lying manifest")
    named = Cid.of_manifest(bytes.fromhex(lying))
    cases = {
        "manifest of another CID": lambda: decode_manifest(encoded, named),
        "lying manifest": lambda: decode_manifest(bytes.fromhex(lying), named),
        "capital letters": lambda: Cid.parse(str(cid).upper()),
        "CID of another kind": lambda: Cid.from_bytes(b"\x01\x55" + bytes(34)),
        "chunk without number": lambda: decode_request(cbor2.dumps({1: "chunk", 2: cid.raw})),
        "have with a name": lambda: decode_request(cbor2.dumps({1: "have", 2: cid.raw, 4: "x"})),
        "bitmap with a spare bit": lambda: indices_of(b"\x04", 2),
        "bitmap that is too short": lambda: indices_of(b"\x01", 9),
        "unknown status": lambda: read_reply(b"\x07"),
        "a refusal with a body": lambda: read_reply(b"\x01x"),
    }
    for name, act in cases.items():
        with pytest.raises(RemoteProtocolError) as caught:
            act()
        assert caught.value.code == _code(name), name
    last = str(cid)[-1]
    spare = str(cid)[:-1] + chr(ord(last) + 1)  # sets a bit behind the last byte
    with pytest.raises(RemoteProtocolError):
        Cid.parse(spare)
    assert Request("have", cid).to_bytes() == cbor2.dumps({1: "have", 2: cid.raw})
