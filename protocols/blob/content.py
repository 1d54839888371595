"""The bytes of blobs on the disk: one file each, and a bitmap of what of it is there.

Blocking: for a thread. A chunk is written first and its bit after it, so that after kill -9 every
bit that is set is true. Nothing is flushed, which would cost a turn of the disk for each chunk:
after a power cut bits may be wrong, so a chunk is checked before it is first given out, and again
when the file was changed by others. (BitTorrent programs trust a file's time and size like that.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Final

from fogp2p.environment import Disk
from fogp2p.errors import RemoteProtocolError
from fogp2p.killpoints import killpoint

from .config import CHUNK_BYTES, MAX_CHUNKS
from .messages import Chunk, Cid, Manifest, indices_of

__all__ = ["ContentFiles", "Part", "Stamp"]

Part = tuple[int, Chunk]
"""A chunk's number, and its bytes."""
Stamp = tuple[int, int]
Bits = Mapping[int, int]
"""Bytes of a bitmap, by their number (`messages.bitmap_bytes`)."""
_MAX_BITMAP_BYTES: Final = MAX_CHUNKS // 8


class ContentFiles:
    """Two files for each blob below `folder`. All methods raise DiskError."""

    def __init__(self, disk: Disk, folder: Path) -> None:
        self._disk = disk
        self._contents = folder / "contents"
        self._have = folder / "have"

    def stamp(self, cid: Cid) -> Stamp | None:
        """Changes when the content does."""
        return self._disk.stamp(self._contents / str(cid))

    def load(self, cid: Cid, count: int) -> set[int]:
        """The chunks that are there, as the bitmap says; none when it makes no sense."""
        bitmap = self._disk.read(self._have / str(cid), max_bytes=_MAX_BITMAP_BYTES)
        if bitmap is None or self.stamp(cid) is None:
            return set()
        try:
            # It ends with the last byte that was ever written.
            return set(indices_of(bitmap.ljust(-(-count // 8), b"\0"), count))
        except RemoteProtocolError:
            return set()

    def write(
        self, cid: Cid, parts: Iterable[Part], bits: Bits
    ) -> tuple[Stamp | None, Stamp | None]:
        """Write chunks that were checked, and then `bits`, which say so.

        Returns the content's stamps before and after.
        """
        before = self.stamp(cid)
        for first, run in _runs(parts):
            self._disk.write_at(self._contents / str(cid), first * CHUNK_BYTES, run)
        killpoint("blob.content.written")
        self.mark(cid, bits)
        killpoint("blob.have.written")
        return before, self.stamp(cid)

    def mark(self, cid: Cid, bits: Bits) -> None:
        """Write bytes of the bitmap: a few, however large the blob is."""
        for number, byte in bits.items():
            self._disk.write_at(self._have / str(cid), number, [bytes((byte,))])

    def read(
        self,
        cid: Cid,
        manifest: Manifest,
        index: int,
        trusted: Stamp | None,
        at_once: bool = False,
    ) -> bytes | None:
        """A chunk; None when it is spoilt or gone. It is checked unless the file has the stamp
        `trusted`, at which it was found good.

        `at_once`: for the event loop; None as well when it is not in memory.
        """
        read_at = self._disk.read_at_once if at_once else self._disk.read_at
        is_known = trusted is not None and self.stamp(cid) == trusted
        size = manifest.chunk_bytes(index)
        data = read_at(self._contents / str(cid), index * CHUNK_BYTES, size)
        if data is None or not (is_known or manifest.is_chunk(index, data)):
            return None
        return data

    def remove(self, cid: Cid) -> None:
        """Delete both files."""
        for folder in self.folders:
            self._disk.remove(folder / str(cid))

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where a blob has a file each."""
        return self._have, self._contents


def _runs(parts: Iterable[Part]) -> Iterator[tuple[int, list[Chunk]]]:
    """Neighbours together: the number of the first one, and all of them."""
    first, run = 0, list[Chunk]()
    for index, data in sorted(parts, key=itemgetter(0)):
        if run and index != first + len(run):
            yield first, run
            run = []
        if not run:
            first = index
        run.append(data)
    if run:
        yield first, run
