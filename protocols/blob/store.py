"""Blobs on the disk: manifests, contents (`content.py`), and an index."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import trio

from fogp2p.codec import Schema, decode, encode
from fogp2p.counting import counted
from fogp2p.environment import Environment
from fogp2p.errors import FogError, LimitExceeded, RemoteProtocolError
from fogp2p.killpoints import killpoint

from .config import CHUNK_BYTES, MAX_BLOBS, MAX_MANIFEST_BYTES, PUT_AT_ONCE
from .content import ContentFiles, Part, Stamp
from .errors import UnknownBlob
from .files import chunks_of, hash_file
from .messages import (
    Cid,
    Manifest,
    bitmap_bytes,
    decode_manifest,
    file_name,
    make_manifest,
)

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
    shared: bool
    """Whether it is announced, also after a restart."""

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
    shared: bool = False
    # The stamp of the file when the chunks of `checked` were good.
    stamp: Stamp | None = None
    checked: set[int] = field(default_factory=set)
    lock: trio.Lock = field(default_factory=trio.Lock)
    """Held by who changes the files."""

    @property
    def used(self) -> int:
        """Bytes on the disk."""
        return sum(map(self.manifest.chunk_bytes, self.present))


class BlobStore:
    """Made by `open`; one at a time on a directory."""

    def __init__(self, folder: Path, environment: Environment, quota_bytes: int) -> None:
        self._folder = folder
        self._environment = environment
        self._files = ContentFiles(environment.disk, folder)
        self._quota = quota_bytes
        self._blobs: dict[Cid, _Blob] = {}
        self._used = 0
        # For chunks that are being written.
        self._reserved = 0
        self._busy: Counter[Cid] = Counter()
        self._saving = trio.Lock()
        # Held while a blob comes or goes, so that the same one does not come meanwhile. Taken
        # before a blob's own lock.
        self._changing = trio.Lock()
        self.on_gone: Callable[[Cid], None] = lambda cid: None
        """Called when a blob was removed or made room."""
        self.problem = ""
        """What of the directory was not usable, for people; empty when all is well."""

    @classmethod
    async def open(cls, folder: Path, environment: Environment, quota_bytes: int) -> BlobStore:
        """Read what is there. Files that belong to no blob are removed. Raises DiskError."""
        store = cls(folder, environment, quota_bytes)
        store._blobs = dict(await environment.executor.in_thread(store._load))
        store._used = sum(blob.used for blob in store._blobs.values())
        await environment.executor.in_thread(store._sweep)
        if store.problem:  # the index does not say what is there
            await store.save()
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
            blob.used
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
        if cid not in self._blobs and len(self._blobs) >= MAX_BLOBS:
            raise LimitExceeded(f"at most {MAX_BLOBS} blobs are kept", hint="fogp2p blobs remove")
        async with self._changing:
            known = self._blobs.get(cid)
            now = int(self._environment.clock.wall())
            if known is None:
                disk, path = self._environment.disk, self._manifest_path(cid)
                await self._environment.executor.in_thread(disk.replace, path, encoded)
                killpoint("blob.manifest.written")
                self._blobs[cid] = _Blob(manifest, set(), pinned, now, name)
            else:
                known.pinned, known.used_at = known.pinned or pinned, now
                known.name = name or known.name
            await self.save()
        killpoint("blob.index.with")
        return manifest

    async def put(self, cid: Cid, parts: Sequence[Part]) -> None:
        """Store chunks of a blob begun before; they must have been checked.

        Raises UnknownBlob, DiskError, and LimitExceeded when there is no room even without
        everything that is not pinned.
        """
        blob = self._blobs.get(cid)
        if blob is None:
            raise UnknownBlob(f"{cid} was removed meanwhile", hint="fogp2p blobs")
        with self.using(cid):
            room = sum(len(data) for index, data in parts if index not in blob.present)
            await self._make_room(room, keep=cid)
            self._reserved += room
            try:
                async with blob.lock:
                    await self._put(cid, blob, parts)
            finally:
                self._reserved -= room

    async def _put(self, cid: Cid, blob: _Blob, parts: Sequence[Part]) -> None:
        if self._blobs.get(cid) is not blob:
            raise UnknownBlob(f"{cid} was removed meanwhile", hint="fogp2p blobs")
        new = {index: data for index, data in parts if index not in blob.present}
        bits = bitmap_bytes(new, lambda index: index in new or index in blob.present)
        before, after = await self._environment.executor.in_thread(
            self._files.write, cid, new.items(), bits
        )
        if before != blob.stamp:  # somebody else wrote into the file
            blob.checked.clear()
        blob.stamp = after
        blob.present.update(new)
        blob.checked.update(new)
        self._used += sum(map(len, new.values()))

    async def add_bytes(self, content: bytes, *, name: str = "", pinned: bool = True) -> Cid:
        """Put in a whole small content. Raises as `add_manifest` and `put`."""
        chunks = [content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES)]
        hashes = [hashlib.sha256(chunk).digest() for chunk in chunks]
        cid, encoded, _ = make_manifest(len(content), hashes)
        async with self._adding(cid, encoded, name, pinned):
            await self.put(cid, list(enumerate(chunks)))
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
        chunks = chunks_of(path, key)
        async with self._adding(cid, encoded, file_name(path.name), pinned):
            for first in range(0, len(hashes), PUT_AT_ONCE):
                parts = await in_thread(_next_parts, chunks, manifest, first)
                if not parts:
                    raise UnknownBlob(f"{path} changed while it was read", hint="try again")
                await self.put(cid, parts)
                progress(min(size, (first + len(parts)) * CHUNK_BYTES), size)
        return cid

    @asynccontextmanager
    async def _adding(
        self, cid: Cid, encoded: bytes, name: str, pinned: bool
    ) -> AsyncIterator[None]:
        """Begin a blob of the owner. It is forgotten when its content does not come in: nobody
        else could complete it."""
        is_new = cid not in self._blobs
        await self.add_manifest(cid, encoded, name=name, pinned=pinned)
        try:
            with self.using(cid):
                yield
        except FogError:
            if is_new and cid in self._blobs:
                await self.remove(cid)
            raise

    # --- taking out ------------------------------------------------------------------------------

    async def chunk(self, cid: Cid, index: int) -> bytes | None:
        """The chunk; None when it is not here. A spoilt one is noticed and missing from then on."""
        blob = self._blobs.get(cid)
        if blob is None or index not in blob.present:
            return None
        stamp = blob.stamp
        trusted = stamp if index in blob.checked else None
        await trio.lowlevel.checkpoint()
        data = self._files.read(cid, blob.manifest, index, trusted, at_once=True)
        if data is None:
            data = await self._environment.executor.in_thread(
                self._files.read, cid, blob.manifest, index, trusted
            )
        if data is None:
            await self._lost(cid, blob, index)
        elif index in blob.present and blob.stamp == stamp:
            blob.checked.add(index)
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

    def using(self, cid: Cid) -> AbstractContextManager[None]:
        """A context in which the blob is not evicted."""
        return counted(self._busy, cid)

    async def pin(self, cid: Cid, pinned: bool) -> None:
        """Keep the blob whatever happens, or no longer. Raises UnknownBlob."""
        self._known(cid).pinned = pinned
        await self.save()

    async def set_shared(self, cid: Cid, shared: bool) -> None:
        """Note whether the blob is announced. Raises UnknownBlob."""
        self._known(cid).shared = shared
        await self.save()

    async def remove(self, cid: Cid) -> None:
        """Forget the blob. Raises UnknownBlob."""
        await self._drop(cid, self._known(cid))

    def _known(self, cid: Cid) -> _Blob:
        blob = self._blobs.get(cid)
        if blob is None:
            raise UnknownBlob(f"{cid} is not here", hint="fogp2p blobs")
        return blob

    async def save(self) -> None:
        """Write the index. Raises DiskError."""
        async with self._saving:
            listed = [
                {1: cid.raw, 2: blob.pinned, 3: blob.used_at, 4: blob.name, 5: blob.shared}
                for cid, blob in sorted(self._blobs.items())
            ]
            data = encode({1: 1, 2: listed})
            disk = self._environment.disk
            await self._environment.executor.in_thread(disk.replace, self._folder / "index", data)

    async def _make_room(self, size: int, *, keep: Cid) -> None:
        while self._used + self._reserved + size > self._quota:
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
            victim = min(loose)[1]
            await self._drop(victim, self._blobs[victim])

    async def _drop(self, cid: Cid, blob: _Blob) -> None:
        """The index goes first: what a crash leaves then is swept at the next start."""
        async with self._changing, blob.lock:
            if self._blobs.get(cid) is not blob:
                return
            del self._blobs[cid]
            self._used -= blob.used
            self.on_gone(cid)
            await self.save()
            await self._environment.executor.in_thread(self._delete, cid)

    async def _lost(self, cid: Cid, blob: _Blob, index: int) -> None:
        """A chunk is spoilt or gone: the blob misses it now."""
        async with blob.lock:
            if index in blob.present and self._blobs.get(cid) is blob:
                blob.present.discard(index)
                blob.checked.discard(index)
                self._used -= blob.manifest.chunk_bytes(index)
                bits = bitmap_bytes((index,), blob.present.__contains__)
                await self._environment.executor.in_thread(self._files.mark, cid, bits)

    def _kept(self, cid: Cid, blob: _Blob) -> Kept:
        total, here = len(blob.manifest.hashes), len(blob.present)
        size, name = blob.manifest.size, blob.name
        return Kept(cid, size, total, here, blob.pinned, blob.used_at, name, blob.shared)

    # --- on a thread -----------------------------------------------------------------------------

    def _manifest_path(self, cid: Cid) -> Path:
        return self._folder / "manifests" / str(cid)

    def _read(self, path: Path, most: int) -> bytes | None:
        return self._environment.disk.read(path, max_bytes=most)

    def _delete(self, cid: Cid) -> None:
        killpoint("blob.index.without")
        self._files.remove(cid)
        self._environment.disk.remove(self._manifest_path(cid))

    def _load(self) -> list[tuple[Cid, _Blob]]:
        found = []
        for entry in self._load_index():
            cid = Cid.from_bytes(entry[1])
            encoded = self._read(self._manifest_path(cid), MAX_MANIFEST_BYTES)
            try:
                manifest = decode_manifest(encoded or b"", cid)
            except RemoteProtocolError:
                self.problem = f"the manifest of {cid} is missing or damaged: it is forgotten"
                continue
            present = self._files.load(cid, len(manifest.hashes))
            blob = _Blob(manifest, present, entry[2], entry[3], entry[4], entry[5])
            blob.stamp = self._files.stamp(cid)
            found.append((cid, blob))
        return found

    def _load_index(self) -> list[dict[int, Any]]:
        data = self._read(self._folder / "index", _MAX_INDEX_BYTES)
        if data is None:
            return []
        try:
            schema = Schema.load("blob/v1.cddl", "index")
            index = decode(data, schema=schema, max_bytes=_MAX_INDEX_BYTES, max_items=MAX_BLOBS * 7)
        except RemoteProtocolError as exc:
            self._environment.disk.replace(self._folder / "index.damaged", data)
            return self._index_of_manifests(str(exc))
        entries: list[dict[int, Any]] = index[2]
        return entries

    def _index_of_manifests(self, why: str) -> list[dict[int, Any]]:
        """Everything that is there, kept until its owner says otherwise."""
        now = int(self._environment.clock.wall())
        names = self._environment.disk.names(self._folder / "manifests")[:MAX_BLOBS]
        cids = []
        for name in names:
            with suppress(RemoteProtocolError):
                cids.append(Cid.parse(name))
        self.problem = (
            f"the index of blobs was damaged ({why}): made anew from {len(cids)} blobs that are "
            "there, without their names and all pinned"
        )
        return [{1: cid.raw, 2: True, 3: now, 4: "", 5: False} for cid in cids]

    def _sweep(self) -> None:
        """Delete what belongs to no blob: left by a crash between the steps of a removal."""
        disk, known = self._environment.disk, {str(cid) for cid in self._blobs}
        for folder in (*self._files.folders, self._folder / "manifests"):
            for name in disk.names(folder):
                if name not in known:
                    disk.remove(folder / name)


def _next_parts(chunks: Iterator[bytes], manifest: Manifest, first: int) -> list[Part]:
    """The next chunks, or none when one of them is not the one that was hashed."""
    parts: list[Part] = list(enumerate(itertools.islice(chunks, PUT_AT_ONCE), first))
    last = min(first + PUT_AT_ONCE, len(manifest.hashes))
    is_same = len(parts) == last - first and all(manifest.is_chunk(*part) for part in parts)
    return parts if is_same else []
