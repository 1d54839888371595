"""Blobs after kill -9: what was acknowledged is there, everything else is whole or absent."""

from __future__ import annotations

import importlib.util
import signal
import sys
from pathlib import Path
from types import ModuleType

import pytest
import trio

from fogp2p.environment import real_environment
from fogp2p.killpoints import KILLPOINTS
from fogp2p.protocols.blob import BlobStore, Cid

pytestmark = pytest.mark.process

_CHILD = Path(__file__).with_name("blob_child.py")
# How often each place is passed: adding, beginning, three times putting, removing.
_PASSES = {
    "blob.manifest.written": 2,
    "blob.index.with": 2,
    "blob.content.written": 4,
    "blob.have.written": 4,
    "blob.index.without": 1,
}


@pytest.fixture(scope="module")
def child() -> ModuleType:
    spec = importlib.util.spec_from_file_location("blob_child", _CHILD)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", _PASSES)
async def test_killed_at_every_point(tmp_path: Path, child: ModuleType, name: str) -> None:
    assert name in KILLPOINTS
    places = [f"{name}:{skip}" for skip in range(_PASSES[name])]
    line = [sys.executable, str(_CHILD), str(tmp_path), *places]
    with trio.fail_after(60):
        ended = await trio.run_process(line, capture_stdout=True)
    assert ended.stdout.split() == [b"%d" % -signal.SIGKILL] * len(places)
    for place in places:
        await _holds_to_its_word(tmp_path / place, child)


async def _holds_to_its_word(directory: Path, child: ModuleType) -> None:
    said = [line.split(" ") for line in (directory / "said").read_text().splitlines()]
    store = await BlobStore.open(directory / "blobs", real_environment(), child.QUOTA)
    assert store.problem == ""
    words = {word: Cid.parse(cid) for word, cid, *_ in said}
    removed = store.find(words["removed"]) if "removed" in words else None
    assert removed is None
    if "added" in words and store.find(words["added"]) is not None:
        assert await store.content(words["added"]) == child.FIRST
    elif "added" in words:
        assert "put" in words  # it was being removed
    put = {int(index) for word, _, *indices in said if word == "put" for index in indices}
    if "begun" in words:
        present = store.present(words["begun"])
        assert put <= present
        chunks = child.second_chunks()
        for index in present:
            assert await store.chunk(words["begun"], index) == chunks[index]
    _nothing_else_is_there(directory / "blobs", store)


def _nothing_else_is_there(folder: Path, store: BlobStore) -> None:
    known = {str(kept.cid) for kept in store.blobs()}
    for part in ("contents", "have", "manifests"):
        assert {each.name for each in (folder / part).glob("*")} <= known
    assert store.used_bytes == sum(_present_bytes(store, cid) for cid in known)


def _present_bytes(store: BlobStore, name: str) -> int:
    manifest = store.manifest(Cid.parse(name))
    assert manifest is not None
    return sum(map(manifest.chunk_bytes, store.present(Cid.parse(name))))
