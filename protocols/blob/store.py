"""Blobs on the disk: manifests, chunks named by their hash, and an index.

A chunk file is written under another name and renamed, so that after kill -9 it is whole or absent.
It is not flushed, which would cost a turn of the disk for each 256 KiB: its name is its hash, it is
checked whenever it is read, and one that a power cut spoilt counts as missing.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import trio

from fogp2p.codec import Schema, decode, encode
from fogp2p.environment import Environment
from fogp2p.errors import FogError, LimitExceeded, RemoteProtocolError

from .config import CHUNK_BYTES, MAX_BLOBS, MAX_MANIFEST_BYTES
from .errors import UnknownBlob
from .files import chunks_of, hash_file
from .messages import Cid, Manifest, decode_manifest, file_name, make_manifest

__all__ = ["BlobStore", "Kept"]

# An entry has about 50 bytes and a name of up to 255.
_MAX_INDEX_BYTES: Final = MAX_BLOBS * 320


@dataclass(frozen=True, slots=True)
class Kept:
    """A blob of the index. `present`: how many of its chunks are here."""

    cid: Cid
    size: int
    chunks: int
    present: int
    pinned: bool
    used_at: int
    name: str

    @property
    def is_whole(self) -> bool:
        """Whether every chunk is here."""
        return self.present == self.chunks


@dataclass(slots=True)
class _Blob:
    manifest: Manifest
    present: set[int]
    pinned: bool
    used_at: int
    name: str


class BlobStore:
    """Made by `open`; one at a time on a directory. Not for several tasks on one blob at once."""

    def __init__(self, folder: Path, environment: Environment, quota_bytes: int) -> None:
        self._folder = folder
        self._environment = environment
        self._quota = quota_bytes
        self._blobs: dict[Cid, _Blob] = {}
        # How many blobs need a chunk that is here, and what all of these take on the disk.
        self._needed: Counter[bytes] = Counter()
        self._used = 0
        self._busy: Counter[Cid] = Counter()
        self._saving = trio.Lock()
        # Contents repeat chunks: two tasks must not write the same file.
        self._writing = trio.Lock()
        self.problem = ""
        """What of the directory was not usable, for people; empty when all is well."""

    @classmethod
    async def open(cls, folder: Path, environment: Environment, quota_bytes: int) -> BlobStore:
        """Read what is there. Chunk files that no blob names are removed. Raises DiskError."""
        store = cls(folder, environment, quota_bytes)
        entries = await environment.executor.in_thread(store._load)
        for cid, blob in entries:
            store._blobs[cid] = blob
            for index in blob.present:
                store._count(blob.manifest, index)
        await environment.executor.in_thread(store._sweep)
        return store

    @property
    def used_bytes(self) -> int:
        """What the chunks take."""
        return self._used

    @property
    def quota_bytes(self) -> int:
        """What they may take."""
        return self._quota

    @property
    def loose_bytes(self) -> int:
        """About what could make room: of blobs that are neither pinned nor in use."""
        return sum(
            sum(map(blob.manifest.chunk_bytes, blob.present))
            for cid, blob in self._blobs.items()
            if not blob.pinned and not self._busy[cid]
        )

    def blobs(self) -> tuple[Kept, ...]:
        """Everything, the most recently used first."""
        found = [self._kept(cid, blob) for cid, blob in self._blobs.items()]
        return tuple(sorted(found, key=lambda kept: (-kept.used_at, kept.cid)))

    def find(self, cid: Cid) -> Kept | None:
        """One blob, if it is in the index."""
        blob = self._blobs.get(cid)
        return self._kept(cid, blob) if blob is not None else None

    def manifest(self, cid: Cid) -> Manifest | None:
        """Its manifest, if it is in the index."""
        blob = self._blobs.get(cid)
        return blob.manifest if blob is not None else None

    def present(self, cid: Cid) -> frozenset[int]:
        """The chunks that are here."""
        blob = self._blobs.get(cid)
        return frozenset(blob.present) if blob is not None else frozenset()

    # --- putting in ------------------------------------------------------------------------------

    async def add_manifest(self, cid: Cid, encoded: bytes, *, name: str, pinned: bool) -> Manifest:
        """Begin a blob, or go on with it. Raises as `decode_manifest`, LimitExceeded, DiskError."""
        manifest = decode_manifest(encoded, cid)
        known = self._blobs.get(cid)
        if known is None and len(self._blobs) >= MAX_BLOBS:
            raise LimitExceeded(f"at most {MAX_BLOBS} blobs are kept", hint="fogp2p blobs remove")
        now = int(self._environment.clock.wall())
        if known is None:
            disk, path = self._environment.disk, self._manifest_path(cid)
            await self._environment.executor.in_thread(disk.replace, path, encoded)
            self._blobs[cid] = _Blob(manifest, set(), pinned, now, name)
        else:
            known.pinned, known.used_at, known.name = (
                known.pinned or pinned,
                now,
                name or known.name,
            )
        await self.save()
        return manifest

    async def put(self, cid: Cid, index: int, data: bytes) -> None:
        """Store a chunk of a blob begun before; it must have been checked.

        Raises LimitExceeded when there is no room even without everything that is not pinned.
        """
        blob = self._blobs.get(cid)
        if blob is None:
            raise UnknownBlob(f"{cid} was removed meanwhile", hint="fogp2p blobs")
        if index in blob.present:
            return
        name = blob.manifest.hashes[index]
        async with self._writing:
            if not self._needed[name]:
                await self._make_room(len(data), keep=cid)
                path = self._chunk_path(name)
                await self._environment.executor.in_thread(self._write_chunk, path, data)
            if index not in blob.present:
                blob.present.add(index)
                self._count(blob.manifest, index)

    async def add_bytes(self, content: bytes, *, name: str = "", pinned: bool = True) -> Cid:
        """Put in a whole small content. Raises as `add_manifest` and `put`."""
        chunks = [content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES)]
        hashes = [hashlib.sha256(chunk).digest() for chunk in chunks]
        cid, encoded, _ = make_manifest(len(content), hashes)
        await self.add_manifest(cid, encoded, name=name, pinned=pinned)
        with self.using(cid):
            for index, chunk in enumerate(chunks):
                await self.put(cid, index, chunk)
        return cid

    async def add_file(
        self,
        path: Path,
        *,
        pinned: bool = True,
        key: bytes | None = None,
        progress: Callable[[int, int], None] = lambda done, size: None,
    ) -> Cid:
        """Put in a file of the owner, read twice: once for its name, once for its chunks.

        With `key` (32 random bytes for this one content) its pieces are sealed. `progress` is told
        the bytes put in, and all. Raises as `add_manifest` and `put`, and UnknownBlob when the file
        cannot be read or changes meanwhile.
        """
        in_thread = self._environment.executor.in_thread
        size, hashes = await in_thread(hash_file, path, key)
        cid, encoded, manifest = make_manifest(size, hashes)
        is_new = cid not in self._blobs
        await self.add_manifest(cid, encoded, name=file_name(path.name), pinned=pinned)
        chunks = chunks_of(path, key)
        try:
            with self.using(cid):
                for index in range(len(manifest.hashes)):
                    chunk = await in_thread(next, chunks, b"")
                    _check(manifest, index, chunk, path)
                    await self.put(cid, index, chunk)
                    progress(min(size, (index + 1) * CHUNK_BYTES), size)
        except FogError:
            if is_new and cid in self._blobs:  # nobody could ever complete it
                await self.remove(cid)
            raise
        return cid

    # --- taking out ------------------------------------------------------------------------------

    async def chunk(self, cid: Cid, index: int) -> bytes | None:
        """The chunk, checked; None when it is not here. A spoilt one is removed and missing."""
        blob = self._blobs.get(cid)
        if blob is None or index not in blob.present:
            return None
        path = self._chunk_path(blob.manifest.hashes[index])
        data = await self._environment.executor.in_thread(self._read, path, CHUNK_BYTES)
        if data is not None:
            try:
                blob.manifest.check(index, data)
            except RemoteProtocolError:
                data = None
        if data is None:
            await self._lost(blob.manifest.hashes[index])
        return data

    async def encoded_manifest(self, cid: Cid) -> bytes | None:
        """The manifest as it is sent."""
        if cid not in self._blobs:
            return None
        path = self._manifest_path(cid)
        return await self._environment.executor.in_thread(self._read, path, MAX_MANIFEST_BYTES)

    async def content(self, cid: Cid) -> bytes:
        """A whole small content in memory. Raises UnknownBlob."""
        kept = self.find(cid)
        if kept is None or not kept.is_whole:
            raise UnknownBlob(f"{cid} is not here as a whole", hint=f"fogp2p get {cid}")
        parts = [await self.chunk(cid, index) for index in range(kept.chunks)]
        found = [part for part in parts if part is not None]
        if len(found) != kept.chunks:
            raise UnknownBlob(f"{cid} was damaged on the disk", hint=f"fogp2p get {cid}")
        return b"".join(found)

    # --- keeping house ---------------------------------------------------------------------------

    def using(self, cid: Cid) -> _Use:
        """A context in which the blob is not evicted."""
        return _Use(self._busy, cid)

    async def pin(self, cid: Cid, pinned: bool) -> None:
        """Keep the blob whatever happens, or no longer. Raises UnknownBlob."""
        blob = self._blobs.get(cid)
        if blob is None:
            raise UnknownBlob(f"{cid} is not here", hint="fogp2p blobs")
        blob.pinned = pinned
        await self.save()

    async def remove(self, cid: Cid) -> None:
        """Forget the blob, and its chunks that no other needs. Raises UnknownBlob."""
        if cid not in self._blobs:
            raise UnknownBlob(f"{cid} is not here", hint="fogp2p blobs")
        await self._drop(cid)
        await self.save()

    async def save(self) -> None:
        """Write the index. Raises DiskError."""
        async with self._saving:
            listed = [
                {1: cid.raw, 2: blob.pinned, 3: blob.used_at, 4: blob.name}
                for cid, blob in sorted(self._blobs.items())
            ]
            data = encode({1: 1, 2: listed})
            disk = self._environment.disk
            await self._environment.executor.in_thread(disk.replace, self._folder / "index", data)

    async def _make_room(self, size: int, *, keep: Cid) -> None:
        while self._used + size > self._quota:
            loose = [
                (blob.used_at, cid)
                for cid, blob in self._blobs.items()
                if not blob.pinned and cid != keep and not self._busy[cid] and blob.present
            ]
            if not loose:
                raise LimitExceeded(
                    f"blobs take {self._used} of {self._quota} bytes and all are pinned or in use",
                    hint="unpin or remove some, or raise blobs.quota_mib",
                )
            await self._drop(min(loose)[1])
            await self.save()

    async def _drop(self, cid: Cid) -> None:
        blob = self._blobs.pop(cid)
        gone = [self._manifest_path(cid)]
        for index in blob.present:
            name = blob.manifest.hashes[index]
            self._needed[name] -= 1
            if not self._needed[name]:
                del self._needed[name]
                self._used -= blob.manifest.chunk_bytes(index)
                gone.append(self._chunk_path(name))
        await self._environment.executor.in_thread(self._remove, gone)

    async def _lost(self, name: bytes) -> None:
        """The file of a chunk is spoilt or gone: every blob that has it misses it now."""
        size = 0
        for blob in self._blobs.values():
            for index in [i for i in blob.present if blob.manifest.hashes[i] == name]:
                blob.present.discard(index)
                size = blob.manifest.chunk_bytes(index)
        if self._needed.pop(name, 0):
            self._used -= size
        await self._environment.executor.in_thread(self._remove, [self._chunk_path(name)])

    def _count(self, manifest: Manifest, index: int) -> None:
        name = manifest.hashes[index]
        if not self._needed[name]:
            self._used += manifest.chunk_bytes(index)
        self._needed[name] += 1

    def _kept(self, cid: Cid, blob: _Blob) -> Kept:
        total, here = len(blob.manifest.hashes), len(blob.present)
        return Kept(cid, blob.manifest.size, total, here, blob.pinned, blob.used_at, blob.name)

    # --- on a thread -----------------------------------------------------------------------------

    def _manifest_path(self, cid: Cid) -> Path:
        return self._folder / "manifests" / str(cid)

    def _chunk_path(self, name: bytes) -> Path:
        text = name.hex()
        return self._folder / "chunks" / text[:2] / text

    def _read(self, path: Path, most: int) -> bytes | None:
        return self._environment.disk.read(path, max_bytes=most)

    def _write_chunk(self, path: Path, data: bytes) -> None:
        self._environment.disk.replace(path, data, durable=False)

    def _remove(self, paths: Iterable[Path]) -> None:
        for path in paths:
            self._environment.disk.remove(path)

    def _load(self) -> list[tuple[Cid, _Blob]]:
        data = self._read(self._folder / "index", _MAX_INDEX_BYTES)
        if data is None:
            return []
        try:
            schema = Schema.load("blob/v1.cddl", "index")
            listed = decode(
                data, schema=schema, max_bytes=_MAX_INDEX_BYTES, max_items=MAX_BLOBS * 6
            )
        except RemoteProtocolError as exc:
            self.problem = f"the index of blobs was damaged and begins anew: {exc}"
            self._environment.disk.replace(self._folder / "index.damaged", data)
            return []
        found = []
        for entry in listed[2]:
            cid = Cid.from_bytes(entry[1])
            encoded = self._read(self._manifest_path(cid), MAX_MANIFEST_BYTES)
            try:
                manifest = decode_manifest(encoded or b"", cid)
            except RemoteProtocolError:
                self.problem = f"the manifest of {cid} is missing or damaged: it is forgotten"
                continue
            blob = _Blob(manifest, set(), entry[2], entry[3], entry[4])
            found.append((cid, replace(blob, present=self._on_disk(manifest))))
        return found

    def _on_disk(self, manifest: Manifest) -> set[int]:
        disk = self._environment.disk
        return {
            index
            for index, name in enumerate(manifest.hashes)
            if disk.mode(self._chunk_path(name)) is not None
        }

    def _sweep(self) -> None:
        """Remove the chunk files that no blob names: left by a crash, or by a damaged index."""
        disk, root = self._environment.disk, self._folder / "chunks"
        named = {name.hex() for name in self._needed}
        for part in disk.names(root):
            for name in disk.names(root / part):
                if name not in named:
                    disk.remove(root / part / name)


def _check(manifest: Manifest, index: int, chunk: bytes, path: Path) -> None:
    try:
        manifest.check(index, chunk)
    except RemoteProtocolError as exc:
        raise UnknownBlob(f"{path} changed while it was read", hint="try again") from exc


class _Use:
    def __init__(self, busy: Counter[Cid], cid: Cid) -> None:
        self._busy = busy
        self._cid = cid

    def __enter__(self) -> None:
        self._busy[self._cid] += 1

    def __exit__(self, *_: object) -> None:
        self._busy[self._cid] -= 1
        if not self._busy[self._cid]:
            del self._busy[self._cid]
