"""kill -9 at every named place outside the store: what was said is there, and nothing twice.

For each kind of work a first child counts how often it passes each place; then one child for each
passing is killed there. (The places of the store, of backups and of migrations are those of
test_store_crash.py and test_backup.py.)
"""

from __future__ import annotations

import importlib.util
import json
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType

import pytest
import trio

from fogp2p.config import load_config
from fogp2p.environment import real_environment, within
from fogp2p.identity import Keystore
from fogp2p.killpoints import KILLPOINTS
from fogp2p.protocols.blob import BlobStore, Cid
from fogp2p.protocols.gossip.numbers import first_number
from fogp2p.protocols.invite import Kind
from fogp2p.protocols.registry.sequence import OwnSequence

pytestmark = pytest.mark.process

_CHILD = Path(__file__).with_name("kill_child.py")
# Work -> the beginnings of the places it has to pass.
_PLACES = {
    "blob": ("blob.",),
    "file": ("file.", "config."),
    "log": ("log.",),
    "invite": ("invite.",),
    "get": ("get.",),
}
_ELSEWHERE = ("store.", "journal.", "outbox.", "backup.", "restore.")
Said = list[list[str]]
Check = Callable[[Path, Said, ModuleType], Awaitable[None]]


@pytest.fixture(scope="module")
def child() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kill_child", _CHILD)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_place_is_passed_by_some_test() -> None:
    ours = tuple(beginning for each in _PLACES.values() for beginning in each)
    assert all(name.startswith((*ours, *_ELSEWHERE)) for name in KILLPOINTS)
    assert len(KILLPOINTS) >= 60


@pytest.mark.parametrize("work", _PLACES)
async def test_killed_at_every_place(tmp_path: Path, child: ModuleType, work: str) -> None:
    assert await _children(tmp_path, [f"{work}/count"]) == [0]
    passed: dict[str, int] = json.loads((tmp_path / work / "count" / "passed").read_text())
    wanted = {name for name in KILLPOINTS if name.startswith(_PLACES[work])}
    assert wanted <= set(passed)
    places = [f"{work}/{name}:{n}" for name in sorted(wanted) for n in range(passed[name])]
    assert await _children(tmp_path, places) == [-signal.SIGKILL] * len(places)
    for place in (f"{work}/count", *places):
        folder = tmp_path / place
        said = [line.split(" ") for line in (folder / "said").read_text().splitlines()]
        await _CHECKS[work](folder, said, child)


async def _children(root: Path, places: list[str]) -> list[int]:
    """Run one for each place; their exit codes."""
    with trio.fail_after(60):
        ended = await trio.run_process(
            [sys.executable, str(_CHILD), str(root), *places], capture_stdout=True
        )
    return [int(code) for code in ended.stdout.split()]


# --- blobs ---------------------------------------------------------------------------------------


async def _blobs(directory: Path, said: Said, child: ModuleType) -> None:
    store = await BlobStore.open(directory / "blobs", real_environment(), child.QUOTA)
    assert store.problem == ""
    words = {word: Cid.parse(cid) for word, cid, *_ in said}
    if "removed" in words:
        assert store.find(words["removed"]) is None
    elif "added" in words and store.find(words["added"]) is not None:
        assert await store.content(words["added"]) == child.FIRST
    elif "added" in words:
        assert len([word for word, *_ in said if word == "put"]) == 3, "it was being removed"
    put = {int(index) for word, _, *indices in said if word == "put" for index in indices}
    if "begun" in words:
        present = store.present(words["begun"])
        assert put <= present
        chunks = child.chunks_of(child.SECOND)
        for index in present:
            assert await store.chunk(words["begun"], index) == chunks[index]
    known = {str(kept.cid) for kept in store.blobs()}
    for part in ("contents", "have", "manifests"):
        assert {each.name for each in (directory / "blobs" / part).glob("*")} <= known
    assert store.used_bytes == sum(_present_bytes(store, cid) for cid in known)


def _present_bytes(store: BlobStore, name: str) -> int:
    manifest = store.manifest(Cid.parse(name))
    assert manifest is not None
    return sum(map(manifest.chunk_bytes, store.present(Cid.parse(name))))


# --- small files ---------------------------------------------------------------------------------


async def _files(directory: Path, said: Said, child: ModuleType) -> None:
    environment = real_environment()
    words = {word: value for word, value in said}
    keystore = Keystore(directory / "data" / "keystore", environment)
    if "key" in words:
        kept = keystore.load()
        assert str(kept.peer_id) == words["key"]
        assert "rotated" not in words or kept.epochs
    elif keystore.exists():
        keystore.load()  # whole, though nobody was told
    else:
        keystore.create()
    settings = load_config(directory / "config.toml", disk=environment.disk, environ={}).config
    acknowledged = int(words.get("config", 0))
    assert settings.network.target_peers in (acknowledged, acknowledged + 1, 8)
    assert acknowledged == 0 or settings.network.target_peers != 8
    sequence = OwnSequence(directory / "registry", environment)
    used = [int(number) for word, number in said if word == "sequence"]
    assert used == sorted(set(used)) and await sequence.take() > max(used, default=0)
    used = [int(number) for word, number in said if word == "gossip"]
    assert await first_number(directory / "gossip", environment) > max(used, default=0)


# --- group logs ----------------------------------------------------------------------------------


async def _log(directory: Path, said: Said, child: ModuleType) -> None:
    wrote = [bytes.fromhex(value) for word, value in said if word == "wrote"]
    marked = max((int(value) for word, value in said if word == "marked"), default=0)
    async with child.opened_logs(directory, real_environment()) as logs:
        if not any(word == "group" for word, _ in said):
            assert len(logs.groups) <= 1
            return
        (group,) = logs.groups
        texts = await _texts(group)
        # In their order, each once; one more at the most, which nobody was told of.
        assert texts in ([b"0", b"1", b"2"][: len(wrote)], [b"0", b"1", b"2"][: len(wrote) + 1])
        assert await group.marked("screen") >= marked
        await group.append(b"after")  # the next position, none that was signed before
        assert await _texts(group) == [*texts, b"after"]
        assert not group.forks() and group.status().problem == ""


async def _texts(group: object) -> list[bytes]:
    count = len(group.replica)  # type: ignore[attr-defined]
    texts = []
    with trio.fail_after(10):
        async for each in group.deliveries():  # type: ignore[attr-defined]
            if each.text is not None:
                texts.append(each.text)
            if each.number == count:
                break
    return texts


# --- invites -------------------------------------------------------------------------------------


async def _invite(directory: Path, said: Said, child: ModuleType) -> None:
    """Neither side believes what the other could not have done, and the two can pair anew."""
    code = next(value for word, *value in said if word == "invited")[0]
    async with child.opened_invites(directory) as (hers, his):
        if ["joined"] in said:
            assert [each.peer for each in hers.contacts()] == [child.BOB.peer_id]
            assert [each.peer for each in his.contacts()] == [child.ADA.peer_id]
            return
        (made,) = hers.invites()
        assert str(made.code or code) == code
        again = await hers.invite(Kind.LINK)
        await his.join(str(again.code), deadline=within(20))
        assert [each.peer for each in hers.contacts()] == [child.BOB.peer_id]
        assert [each.peer for each in his.contacts()] == [child.ADA.peer_id]


# --- get -----------------------------------------------------------------------------------------


async def _get(directory: Path, said: Said, child: ModuleType) -> None:
    target = directory / "got"
    if ["got"] in said:
        assert target.read_bytes() == child.FIRST
        return
    assert not target.exists(), "half a file never has the name"
    child.get(directory)
    assert target.read_bytes() == child.FIRST


_CHECKS: dict[str, Check] = {
    "blob": _blobs,
    "file": _files,
    "log": _log,
    "invite": _invite,
    "get": _get,
}
