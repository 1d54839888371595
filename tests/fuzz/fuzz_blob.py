"""Blobs: what peers send (requests, manifests, replies, bitmaps), names, and the swarm fed by them.

Invariants: only RemoteProtocolError comes out; what is accepted encodes again to the same bytes; a
name is one part of a path; whatever sources claim and send, a chunk counts only with its own hash,
and no source is asked for what it does not have. Run by hand: `make fuzz TARGET=blob`.
"""

from __future__ import annotations

import hashlib
import random
import sys

import atheris

with atheris.instrument_imports():
    from fogp2p.errors import RemoteProtocolError
    from fogp2p.protocols.blob import Cid, Manifest, Swarm, decode_manifest, file_name
    from fogp2p.protocols.blob.messages import (
        bitmap_of,
        decode_request,
        indices_of,
        make_manifest,
        read_reply,
    )

CHUNKS = [bytes([n]) * 10 for n in range(16)]


class _Small(Manifest):
    def chunk_bytes(self, index: int) -> int:
        return 10


MANIFEST = _Small(160, tuple(hashlib.sha256(chunk).digest() for chunk in CHUNKS))


def one_input(data: bytes) -> None:
    if not data:
        return
    kind, body = data[0] % 6, data[1:]
    try:
        if kind == 0:
            assert decode_request(body).to_bytes() == body
        elif kind == 1:
            read_manifest(body)
        elif kind == 2:
            read_reply(body)
        elif kind == 3:
            count = len(body) * 8
            assert bitmap_of(count, indices_of(body, count)) == body
        elif kind == 4:
            read_texts(body.decode("utf-8", "surrogatepass"))
        else:
            feed_swarm(body)
    except (RemoteProtocolError, UnicodeDecodeError):
        return


def read_manifest(data: bytes) -> None:
    found = decode_manifest(data, Cid.of_manifest(data))
    assert make_manifest(found.size, found.hashes)[1] == data


def read_texts(text: str) -> None:
    kept = file_name(text)
    assert kept not in ("", ".", "..") and not set(kept) & set("/\\\0")
    assert len(kept.encode("utf-8")) <= 255
    assert str(Cid.parse(text)) == text


def feed_swarm(data: bytes) -> None:
    """Pairs of bytes: who, and what it does."""
    swarm = Swarm(MANIFEST, (), random.Random(1))
    claims: dict[int, frozenset[int]] = {}
    good: set[int] = set()
    for who, what in zip(data[::2], data[1::2], strict=False):
        source = who % 4
        if what < 64:
            claims[source] = indices_of(bytes((what, who)), 16)
            swarm.join(source, claims[source])
        elif what < 80:
            swarm.leave(source)
            claims.pop(source, None)
        elif what < 160:
            index = swarm.next_for(source)
            assert index is None or (index in claims.get(source, ()) and index not in good)
        else:
            index = what % 16
            sent = CHUNKS[index] if who & 128 else CHUNKS[(index + 1) % 16]
            try:
                if swarm.took(source, index, sent):
                    assert sent == CHUNKS[index] and index not in good
                    good.add(index)
            except RemoteProtocolError:
                assert sent != CHUNKS[index] and swarm.is_banned(source)
        assert swarm.missing == 16 - len(good) and swarm.is_done == (len(good) == 16)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
