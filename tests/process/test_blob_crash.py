"""Blobs after kill -9: what was acknowledged is there, everything else is whole or absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fogp2p.environment import real_environment
from fogp2p.killpoints import KILLPOINTS
from fogp2p.protocols.blob import BlobStore, Cid

pytestmark = pytest.mark.process

# How often each place is passed: adding, beginning, three times putting, removing.
_PASSES = {
    "blob.manifest.written": 2,
    "blob.index.with": 2,
    "blob.content.written": 4,
    "blob.have.written": 4,
    "blob.index.without": 1,
}
_PLACES = [(name, skip) for name, count in _PASSES.items() for skip in range(count)]


def test_every_place_is_known() -> None:
    assert set(_PASSES) == {name for name in KILLPOINTS if name.startswith("blob.")}


@pytest.mark.parametrize(("name", "skip"), _PLACES)
async def test_killed_at_every_place(
    tmp_path: Path, killer: Any, kill_child: Any, name: str, skip: int
) -> None:
    said = killer.kill("blobs", tmp_path, name, skip)
    put = {int(what) for word, what in said if word == "put"}
    words = {word: Cid.parse(what) for word, what in said if word != "put"}
    store = await BlobStore.open(tmp_path / "blobs", real_environment(), kill_child.BLOBS_QUOTA)
    assert store.problem == "" and "removed" not in words
    if "added" in words:
        if name == "blob.index.without":
            assert store.find(words["added"]) is None, "it was being removed"
        else:
            assert await store.content(words["added"]) == kill_child.FIRST_BLOB
    if "begun" in words:
        present = store.present(words["begun"])
        assert put <= present
        chunks = kill_child.chunks_of(kill_child.SECOND_BLOB)
        for index in present:
            assert await store.chunk(words["begun"], index) == chunks[index]
    _nothing_else_is_there(tmp_path / "blobs", store)


def _nothing_else_is_there(folder: Path, store: BlobStore) -> None:
    known = {str(kept.cid) for kept in store.blobs()}
    for part in ("contents", "have", "manifests"):
        assert {each.name for each in (folder / part).glob("*")} <= known
    assert store.used_bytes == sum(_present_bytes(store, kept.cid) for kept in store.blobs())


def _present_bytes(store: BlobStore, cid: Cid) -> int:
    manifest = store.manifest(cid)
    assert manifest is not None
    return sum(map(manifest.chunk_bytes, store.present(cid)))
