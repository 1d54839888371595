"""Files of the owner as chunks, as they are or sealed. Blocking: for a thread."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from fogp2p.errors import LimitExceeded

from .config import CHUNK_BYTES, MAX_BLOB_BYTES
from .errors import UnknownBlob
from .seal import PIECE_BYTES, seal_pieces

__all__ = ["chunks_of", "hash_file"]


def hash_file(path: Path, key: bytes | None) -> tuple[int, list[bytes]]:
    """The size of what `chunks_of` gives, and the hash of each chunk. Raises as it does."""
    hashes, size = [], 0
    for chunk in chunks_of(path, key):
        hashes.append(hashlib.sha256(chunk).digest())
        size += len(chunk)
    return size, hashes


def chunks_of(path: Path, key: bytes | None) -> Iterator[bytes]:
    """The chunks of a file, each sealed when there is a `key`.

    Raises UnknownBlob when it is no regular file or cannot be read, LimitExceeded above 8 GiB.
    """
    piece = CHUNK_BYTES if key is None else PIECE_BYTES
    try:
        size = path.stat().st_size
        if not path.is_file():  # a pipe or a device has no end
            raise UnknownBlob(f"{path} is no file", hint="a directory has to be packed first")
        count = -(-size // piece)
        if count * CHUNK_BYTES > MAX_BLOB_BYTES:
            raise LimitExceeded(f"{path} is larger than {MAX_BLOB_BYTES} bytes", hint="split it")
        pieces = _pieces(path, piece, count)
        yield from pieces if key is None else seal_pieces(key, pieces, count)
    except OSError as exc:
        raise UnknownBlob(
            f"cannot read {path}: {exc.strerror}", hint="check its name and its rights"
        ) from exc


def _pieces(path: Path, size: int, count: int) -> Iterator[bytes]:
    """As many as there were when it was looked at, so that a growing file has an end."""
    with path.open("rb") as file:
        for _ in range(count):
            yield file.read(size)
