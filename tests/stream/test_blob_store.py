"""What a blob store promises about its files, on a disk in memory and on a real one."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from fogp2p.environment import real_environment
from fogp2p.errors import FogError, LimitExceeded
from fogp2p.protocols.blob import (
    CHUNK_BYTES,
    PIECE_BYTES,
    BlobStore,
    UnknownBlob,
    make_manifest,
    open_pieces,
)
from fogp2p.testing import Fault, MemoryDisk, Trace, run_simulation, sim_environment

FOLDER = Path("/blobs")
CONTENT = random.Random(7).randbytes(5 * CHUNK_BYTES + 1_000)
CHUNKS = [CONTENT[at : at + CHUNK_BYTES] for at in range(0, len(CONTENT), CHUNK_BYTES)]


def _simulate(scenario: Callable[[], Awaitable[None]]) -> None:
    async def run(trace: Trace) -> None:
        await scenario()

    run_simulation(1, run)


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
@pytest.mark.parametrize("key", [None, bytes(range(32))])
async def test_a_file_of_the_owner_is_put_in_as_it_is_or_sealed(
    tmp_path: Path, size: int, key: bytes | None
) -> None:
    path = tmp_path / "letter"
    content = random.Random(size).randbytes(size)
    path.write_bytes(content)
    store = await BlobStore.open(tmp_path / "blobs", real_environment(), 10 * CHUNK_BYTES)
    steps: list[tuple[int, int]] = []
    cid = await store.add_file(path, key=key, progress=lambda *step: steps.append(step))
    stored = await store.content(cid)
    if key is None:
        assert stored == content
    else:
        chunks = [stored[at : at + CHUNK_BYTES] for at in range(0, len(stored), CHUNK_BYTES)]
        assert b"".join(open_pieces(key, chunks, len(chunks))) == content
        assert size == 0 or stored != content
    assert [done for done, _ in steps[-1:]] == ([len(stored)] if size else [])


async def test_what_is_no_file_or_has_no_room_leaves_nothing_behind(tmp_path: Path) -> None:
    store = await BlobStore.open(tmp_path / "blobs", real_environment(), CHUNK_BYTES)
    pipe, large = tmp_path / "pipe", tmp_path / "large"
    os.mkfifo(pipe)
    large.write_bytes(bytes(range(256)) * 8 * 256)  # two chunks, unlike one another
    with large.open("ab") as file:
        file.write(b"tail")
    for path in (pipe, tmp_path, tmp_path / "absent"):
        with pytest.raises(UnknownBlob):
            await store.add_file(path)
    with pytest.raises(LimitExceeded):
        await store.add_file(large)
    assert store.blobs() == () and store.used_bytes == 0


async def _store(quota: int = 10 * CHUNK_BYTES) -> tuple[BlobStore, MemoryDisk, Any]:
    environment = sim_environment(1, "store")
    assert isinstance(environment.disk, MemoryDisk)
    store = await BlobStore.open(FOLDER, environment, quota)
    return store, environment.disk, environment


def test_what_was_not_used_for_longest_goes_first_and_pins_stay() -> None:
    async def scenario() -> None:
        store, disk, environment = await _store(3 * CHUNK_BYTES)
        contents = [bytes([n]) * CHUNK_BYTES for n in range(5)]
        pinned = await store.add_bytes(contents[0], pinned=True)
        old = await store.add_bytes(contents[1], pinned=False)
        await trio.sleep(10)
        young = await store.add_bytes(contents[2], pinned=False)
        await store.add_bytes(contents[3], pinned=True)
        assert store.find(old) is None and store.find(young) is not None
        await store.add_bytes(contents[4], pinned=True)
        assert store.find(young) is None and store.find(pinned) is not None
        with pytest.raises(LimitExceeded, match="pinned or in use"):
            await store.add_bytes(b"one more", pinned=True)
        assert store.used_bytes == 3 * CHUNK_BYTES
        for part in ("contents", "have", "manifests"):
            assert len(disk.names(FOLDER / part)) == 3
        reopened = await BlobStore.open(FOLDER, environment, 3 * CHUNK_BYTES)
        assert reopened.used_bytes == 3 * CHUNK_BYTES

    _simulate(scenario)


def test_blobs_alike_in_part_do_not_share_their_fate() -> None:
    async def scenario() -> None:
        store, _, _ = await _store()
        shared = bytes(CHUNK_BYTES)
        one = await store.add_bytes(shared + b"one")
        other = await store.add_bytes(shared + b"other")
        assert store.used_bytes == 2 * CHUNK_BYTES + 8
        await store.remove(one)
        assert await store.content(other) == shared + b"other"
        await store.remove(other)
        assert store.used_bytes == 0
        with pytest.raises(UnknownBlob):
            await store.remove(other)

    _simulate(scenario)


@pytest.mark.parametrize("fault", [Fault.FULL, Fault.IO_ERROR, Fault.CRASH_BEFORE])
def test_a_disk_that_refuses_loses_nothing_that_was_there(fault: Fault) -> None:
    async def scenario() -> None:
        store, disk, environment = await _store()
        good = await store.add_bytes(b"good")
        disk.fault = fault
        with pytest.raises(FogError):
            await store.add_bytes(b"bad")
        reopened = await BlobStore.open(FOLDER, environment, 10 * CHUNK_BYTES)
        assert await reopened.content(good) == b"good"

    _simulate(scenario)


def test_a_damaged_index_is_made_anew_and_loses_nothing() -> None:
    async def scenario() -> None:
        store, disk, environment = await _store()
        cid = await store.add_bytes(b"something", name="a", pinned=False)
        disk.flip(FOLDER / "index", 5)
        reopened = await BlobStore.open(FOLDER, environment, 10 * CHUNK_BYTES)
        assert "damaged" in reopened.problem and "from 1 blobs" in reopened.problem
        assert disk.mode(FOLDER / "index.damaged") is not None
        (kept,) = reopened.blobs()
        assert kept.cid == cid and kept.pinned and kept.name == ""
        assert await reopened.content(cid) == b"something"
        assert (await BlobStore.open(FOLDER, environment, CHUNK_BYTES)).problem == ""

    _simulate(scenario)


def test_a_bitmap_that_lies_after_a_power_cut_is_found_out_when_it_is_read() -> None:
    async def scenario() -> None:
        store, disk, environment = await _store()
        cid = await store.add_bytes(CONTENT)
        # What power cuts leave: bits without their chunks, a bitmap cut off, no content at all.
        disk.put_block(FOLDER / "contents" / str(cid), 2, b"")
        reopened = await BlobStore.open(FOLDER, environment, 10 * CHUNK_BYTES)
        assert reopened.present(cid) == {0, 1, 2, 3, 4, 5}
        assert await reopened.chunk(cid, 2) is None
        assert reopened.present(cid) == {0, 1, 3, 4, 5}
        again = await BlobStore.open(FOLDER, environment, 10 * CHUNK_BYTES)
        assert again.present(cid) == {0, 1, 3, 4, 5}
        disk.replace(FOLDER / "have" / str(cid), b"\xff\xff")
        assert (await BlobStore.open(FOLDER, environment, CHUNK_BYTES)).present(cid) == frozenset()
        disk.replace(FOLDER / "have" / str(cid), b"\x3f")
        disk.remove(FOLDER / "contents" / str(cid))
        assert (await BlobStore.open(FOLDER, environment, CHUNK_BYTES)).present(cid) == frozenset()

    _simulate(scenario)


def test_what_others_write_into_a_content_is_not_trusted_and_not_served() -> None:
    async def scenario() -> None:
        store, disk, _ = await _store()
        cid, encoded, _ = make_manifest(
            len(CONTENT), [hashlib.sha256(chunk).digest() for chunk in CHUNKS]
        )
        await store.add_manifest(cid, encoded, name="", pinned=True)
        await store.put(cid, list(enumerate(CHUNKS))[:3])
        disk.flip(FOLDER / "contents" / str(cid), 8 * CHUNK_BYTES)
        # Our own write in between does not make the spoilt chunk good.
        await store.put(cid, list(enumerate(CHUNKS))[3:])
        assert [await store.chunk(cid, index) for index in (0, 2, 5)] == [
            CHUNKS[0],
            CHUNKS[2],
            CHUNKS[5],
        ]
        assert await store.chunk(cid, 1) is None
        await store.put(cid, [(1, CHUNKS[1])])
        assert await store.content(cid) == CONTENT

    _simulate(scenario)
