"""Manifests, their names, and what is asked of a peer (specs/blob sections 2 and 3). Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import unicodedata
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

from fogp2p.codec import Schema, decode, encode
from fogp2p.errors import LocalProtocolError, RemoteProtocolError
from fogp2p.framing import encode_frame

from .config import (
    CHUNK_BYTES,
    MAX_BLOB_BYTES,
    MAX_MANIFEST_BYTES,
    MAX_NAME_BYTES,
    MAX_REPLY_BYTES,
    MAX_REQUEST_BYTES,
)

__all__ = [
    "Chunk",
    "Cid",
    "Kind",
    "Manifest",
    "Request",
    "Status",
    "bitmap_bytes",
    "bitmap_of",
    "decode_manifest",
    "decode_request",
    "file_name",
    "indices_of",
    "make_manifest",
    "read_reply",
    "reply_frame",
]

Kind = Literal["have", "manifest", "chunk", "offer"]
Chunk = bytes | memoryview
"""The bytes of a chunk, or a view into those of the frame it came in: chunks are large."""
HASH_BYTES: Final = 32
# CIDv1, multicodec cbor, multihash sha2-256 of 32 bytes.
_PREFIX: Final = b"\x01\x51\x12\x20"
_TEXT_CHARS: Final = 59


@dataclass(frozen=True, slots=True, order=True)
class Cid:
    """The name of a blob: 36 bytes, or `b` and 58 base32 digits. Equal names, equal content."""

    raw: bytes

    @classmethod
    def of_manifest(cls, encoded: bytes) -> Cid:
        """Name the blob with this encoded manifest."""
        return cls(_PREFIX + hashlib.sha256(encoded).digest())

    @classmethod
    def from_bytes(cls, raw: bytes) -> Cid:
        """Read a binary CID of ours. Raises RemoteProtocolError("blob-cid")."""
        if len(raw) != len(_PREFIX) + HASH_BYTES or not raw.startswith(_PREFIX):
            raise RemoteProtocolError("not the CID of a blob", code="blob-cid")
        return cls(bytes(raw))

    @classmethod
    def parse(cls, text: str) -> Cid:
        """Read the text form. Raises RemoteProtocolError("blob-cid")."""
        hint = "it begins with bafirei and has 59 characters"
        raw = b""
        if len(text) == _TEXT_CHARS and text.startswith("b") and text.isascii():
            with suppress(binascii.Error):
                raw = base64.b32decode(text[1:].upper() + "======")
        found = cls.from_bytes(raw) if raw else None
        if found is None or str(found) != text:  # small letters, no spare bits
            raise RemoteProtocolError("not the CID of a blob", code="blob-cid", hint=hint)
        return found

    def __str__(self) -> str:
        return "b" + base64.b32encode(self.raw).decode("ascii").rstrip("=").lower()


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a blob consists of: `hashes[i]` is the SHA-256 of chunk i."""

    size: int
    hashes: tuple[bytes, ...]

    def chunk_bytes(self, index: int) -> int:
        """The size of chunk `index`: 256 KiB but for the last one."""
        return min(CHUNK_BYTES, self.size - index * CHUNK_BYTES)

    def is_chunk(self, index: int, data: Chunk) -> bool:
        """Whether `data` is chunk `index`."""
        right = len(data) == self.chunk_bytes(index)
        return right and hashlib.sha256(data).digest() == self.hashes[index]

    def check(self, index: int, data: Chunk) -> None:
        """Return if `data` is chunk `index`. Raises RemoteProtocolError("blob-chunk")."""
        if not self.is_chunk(index, data):
            raise RemoteProtocolError(
                f"chunk {index} is not what the blob names", code="blob-chunk"
            )


def make_manifest(size: int, hashes: Iterable[bytes]) -> tuple[Cid, bytes, Manifest]:
    """The manifest of a content of `size` bytes whose chunks have these hashes, and its CID.

    Raises LocalProtocolError("blob-size") above 8 GiB or when the hashes are not as many as needed.
    """
    manifest = Manifest(size, tuple(hashes))
    if size > MAX_BLOB_BYTES or len(manifest.hashes) != _chunks(size):
        raise LocalProtocolError(f"a blob has at most {MAX_BLOB_BYTES} bytes", code="blob-size")
    fields = {1: 1, 2: size, 3: CHUNK_BYTES, 4: "sha2-256", 5: b"".join(manifest.hashes)}
    encoded = encode(fields)
    return Cid.of_manifest(encoded), encoded, manifest


def decode_manifest(encoded: bytes, cid: Cid) -> Manifest:
    """Read a manifest as received; it is what `cid` names, or refused.

    Raises RemoteProtocolError: "blob-manifest" for a wrong hash or impossible sizes, or as
    `codec.decode`.
    """
    if not hmac.compare_digest(hashlib.sha256(encoded).digest(), cid.raw[len(_PREFIX) :]):
        raise RemoteProtocolError("the manifest is not what the CID names", code="blob-manifest")
    schema = Schema.load("blob/v1.cddl", "manifest")
    fields: dict[int, Any] = decode(encoded, schema=schema, max_bytes=MAX_MANIFEST_BYTES)
    size, joined = fields[2], fields[5]
    if len(joined) != _chunks(size) * HASH_BYTES:
        raise RemoteProtocolError("a lying manifest: size and hashes differ", code="blob-manifest")
    hashes = (joined[at : at + HASH_BYTES] for at in range(0, len(joined), HASH_BYTES))
    return Manifest(size, tuple(hashes))


def _chunks(size: int) -> int:
    return -(-size // CHUNK_BYTES)


@dataclass(frozen=True, slots=True)
class Request:
    """`number`: of a chunk, or of a part of the manifest. `name`: of the file that is offered."""

    kind: Kind
    cid: Cid
    number: int = 0
    name: str = ""

    def to_bytes(self) -> bytes:
        """The encoded request. Raises LocalProtocolError for a name that is too long."""
        fields: dict[int, int | str | bytes] = {1: self.kind, 2: self.cid.raw}
        if self.kind in ("chunk", "manifest"):
            fields[3] = self.number
        if self.kind == "offer":
            fields[4] = self.name
        encoded = encode(fields)
        if len(encoded) > MAX_REQUEST_BYTES:
            raise LocalProtocolError("the name is too long", code="blob-name")
        return encoded


def decode_request(data: bytes) -> Request:
    """Raises RemoteProtocolError: "blob-request", "blob-cid", or as `codec.decode`."""
    schema = Schema.load("blob/v1.cddl", "request")
    fields: dict[int, Any] = decode(data, schema=schema, max_bytes=MAX_REQUEST_BYTES)
    kind: Kind = fields[1]
    if (3 in fields) != (kind in ("chunk", "manifest")) or (4 in fields) != (kind == "offer"):
        raise RemoteProtocolError("a request has the fields of its kind", code="blob-request")
    return Request(kind, Cid.from_bytes(fields[2]), fields.get(3, 0), fields.get(4, ""))


class Status:
    """The first byte of a reply; the rest follows it."""

    OK: Final = 0
    UNKNOWN: Final = 1
    BUSY: Final = 2
    REFUSED: Final = 3


_REASONS: Final = {
    Status.UNKNOWN: "the peer does not have it",
    Status.BUSY: "the peer is busy",
    Status.REFUSED: "the peer does not want it",
}


def reply_frame(status: int, body: Chunk = b"") -> bytes:
    """A reply as it goes on the wire."""
    return encode_frame(bytes((status,)), body, max_bytes=MAX_REPLY_BYTES)


def read_reply(frame: bytes) -> tuple[int, memoryview]:
    """Status, and the body as a view. Raises RemoteProtocolError("blob-reply")."""
    if not frame or frame[0] > Status.REFUSED or (frame[0] != Status.OK and len(frame) > 1):
        raise RemoteProtocolError("not a reply", code="blob-reply")
    return frame[0], memoryview(frame)[1:]


def reason(status: int) -> str:
    """What a status other than OK means, for people."""
    return _REASONS[status]


def bitmap_of(count: int, present: Iterable[int]) -> bytes:
    """`count` bits, chunk 0 the lowest bit of the first byte."""
    bits = bytearray(-(-count // 8))
    for index in present:
        bits[index >> 3] |= 1 << (index & 7)
    return bytes(bits)


def bitmap_bytes(changed: Iterable[int], is_here: Callable[[int], bool]) -> dict[int, int]:
    """Those bytes of the bitmap that say something of the `changed` chunks, by their number."""
    return {
        number: sum(1 << bit for bit in range(8) if is_here(8 * number + bit))
        for number in sorted({index >> 3 for index in changed})
    }


def indices_of(bitmap: Chunk, count: int) -> frozenset[int]:
    """The chunks named by a peer's bitmap. Raises RemoteProtocolError("blob-bitmap")."""
    if len(bitmap) != -(-count // 8) or (count & 7 and bitmap[-1] >> (count & 7)):
        raise RemoteProtocolError("a bitmap of another size", code="blob-bitmap")
    return frozenset(i for i in range(count) if bitmap[i >> 3] >> (i & 7) & 1)


def file_name(offered: str) -> str:
    """A name that is safe to show and to give to a file in a directory of ours; never a path.

    The last part behind any separator, without control characters, leading dots and what Windows
    forbids; `file` when nothing is left. At most 255 bytes.
    """
    last = unicodedata.normalize("NFC", offered).replace("\\", "/").rpartition("/")[2]
    kept = "".join(c for c in last if c.isprintable() and c not in '<>:"|?*')
    kept = kept.strip(" .")
    while len(kept.encode("utf-8")) > MAX_NAME_BYTES:
        kept = kept[:-1]
    return kept or "file"
