"""kill -9 between two steps of every small file; and that no kill point is left untested."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner

import fogp2p
from fogp2p.cli.config_file import rollback, set_value
from fogp2p.cli.main import cli
from fogp2p.config import Config
from fogp2p.environment import real_environment
from fogp2p.identity import Keystore
from fogp2p.killpoints import KILLPOINTS
from fogp2p.process import hold
from fogp2p.protocols.gossip.numbers import RESERVED
from fogp2p.transports.peerbook import open_known_peers

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[2]


def _of(prefix: str) -> list[str]:
    return [name for name in KILLPOINTS if name.startswith(prefix)]


# --- the names -----------------------------------------------------------------------------------


def test_every_kill_point_is_passed_somewhere_and_tested() -> None:
    called: set[str] = set()
    for folder in ("fogp2p", "protocols", "transports"):
        for path in (ROOT / folder).rglob("*.py"):
            for call in re.findall(r"\bkillpoint\(([^)]*)\)", path.read_text("utf-8")):
                called.update(re.findall(r'"([a-z.]+)"', call))
    assert called == set(KILLPOINTS)
    tested: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        if "KILLPOINTS" in path.read_text("utf-8"):
            tested.update(_parameters(path))
    assert set(KILLPOINTS) - tested == set()


def _parameters(path: Path) -> Iterator[str]:
    """Every text among the parameters of a file's tests."""
    spec = importlib.util.spec_from_file_location(f"looked_at_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for found in vars(module).values():
        for mark in getattr(found, "pytestmark", ()) if callable(found) else ():
            if mark.name == "parametrize":
                for value in mark.args[1]:
                    yield from (each for each in _flat(value) if isinstance(each, str))


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, (tuple, list)):
        for each in value:
            yield from _flat(each)
    else:
        yield value


# --- files, lock and keys ------------------------------------------------------------------------


@pytest.mark.parametrize("name", _of("disk."))
def test_a_file_is_old_or_new(tmp_path: Path, killer: Any, kill_child: Any, name: str) -> None:
    disk, path = real_environment().disk, tmp_path / "file"
    disk.replace(path, kill_child.OLD)
    assert killer.kill("file", tmp_path, name) == []
    is_new = name in ("disk.replace.renamed", "disk.replace.done")
    expected = kill_child.NEW if is_new else kill_child.OLD
    assert disk.read(path, max_bytes=10**6) == expected
    disk.replace(path, kill_child.NEW)
    assert disk.read(path, max_bytes=10**6) == kill_child.NEW
    # And where there was none, none or a whole one.
    disk.remove(path)
    killer.kill("file", tmp_path, name)
    assert disk.read(path, max_bytes=10**6) == (kill_child.NEW if is_new else None)


@pytest.mark.parametrize("name", _of("lock."))
def test_a_lock_is_free_again(tmp_path: Path, killer: Any, name: str) -> None:
    path = tmp_path / "lock"
    with hold(path):
        pass
    assert killer.kill("lock", tmp_path, name) == []
    with hold(path):
        assert path.read_text() == f"{os.getpid()}\n"


@pytest.mark.spec("IDN-003")
@pytest.mark.parametrize("change", ["create", "rotate"])
@pytest.mark.parametrize("name", _of("keystore."))
def test_keys_are_old_or_new(tmp_path: Path, killer: Any, name: str, change: str) -> None:
    said = killer.kill("keys", tmp_path, name, int(change == "rotate"))
    store = Keystore(tmp_path / "identity", real_environment())
    is_saved = name == "keystore.save.after"
    if change == "create":
        # Nobody knew the keys that are gone: others take their place.
        assert said == [] and store.exists() == is_saved
        assert (store.load() if is_saved else store.create()).epochs == ()
    else:
        assert said == [("made", str(store.load().peer_id))]
        assert [keys.number for keys in store.load().epochs] == ([1, 2] if is_saved else [])


@pytest.mark.parametrize("change", ["set", "rollback"])
@pytest.mark.parametrize("name", _of("config."))
def test_a_changed_setting_can_always_be_taken_back(
    tmp_path: Path, killer: Any, name: str, change: str
) -> None:
    disk, path = real_environment().disk, tmp_path / "config.toml"
    texts = [
        b"# mine\n",
        b'# mine\n\n[log]\nlevel = "error"\n',
        b'# mine\n\n[log]\nlevel = "debug"\n',
    ]
    disk.replace(path, texts[0])
    set_value(path, disk, "log.level", "error")
    is_rollback = change == "rollback"
    said = killer.kill("settings", tmp_path, name, int(is_rollback))
    assert said == ([("set", "-")] if is_rollback else [])
    is_done = name != "config.kept"
    # Whether the change was made or not, what was there before it is there still.
    if is_rollback:
        now, before = (texts[1], texts[2]) if is_done else (texts[2], texts[1])
    else:
        now, before = (texts[2], texts[1]) if is_done else (texts[1], texts[0])
    assert path.read_bytes() == now
    rollback(path, disk)
    assert path.read_bytes() == before
    rollback(path, disk)
    assert path.read_bytes() == now
    assert sorted(disk.names(tmp_path)) == ["config.toml", "config.toml.bak", "said"]


def test_finishing_a_change_is_finished_after_a_crash_too(tmp_path: Path, killer: Any) -> None:
    disk, path = real_environment().disk, tmp_path / "config.toml"
    disk.replace(path, b"# mine\n")
    assert killer.kill("settings", tmp_path, "config.replaced") == []
    assert killer.kill("settings", tmp_path, "config.turned") == []
    rollback(path, disk)
    assert path.read_bytes() == b"# mine\n"
    assert sorted(disk.names(tmp_path)) == ["config.toml", "config.toml.bak", "said"]


@pytest.mark.parametrize("name", _of("draft."))
def test_an_edit_is_done_once_and_an_old_draft_is_not_silently_taken(
    tmp_path: Path, killer: Any, kill_child: Any, name: str
) -> None:
    disk, path, draft = (
        real_environment().disk,
        tmp_path / "config.toml",
        tmp_path / "config.toml.draft",
    )
    before, after = b'[log]\nlevel = "info"\n', b'[log]\nlevel = "debug"\n'
    disk.replace(path, before)
    assert killer.kill("editor", tmp_path, name) == []
    is_placed = name == "draft.placed"
    assert path.read_bytes() == draft.read_bytes() == (after if is_placed else before)
    set_value(path, disk, "network.target_peers", "3")
    words = ["--home", str(tmp_path), "config", "edit"]
    done = CliRunner().invoke(cli, words, env={"EDITOR": kill_child.EDITOR, "VISUAL": ""})
    assert done.exit_code == 0 and path.read_bytes() == after
    assert f"{draft} of an edit that did not end" in done.stderr
    assert sorted(disk.names(tmp_path)) == ["config.toml", "config.toml.bak", "said"]


async def test_what_a_killed_write_left_goes_with_the_next_start(
    tmp_path: Path, killer: Any
) -> None:
    disk, data = real_environment().disk, tmp_path / "data"
    for name in ("disk.replace.made", "disk.replace.written"):
        assert killer.kill("home", tmp_path, name) == []
    assert len(disk.names(data)) == 2
    (data / ".mine.7.new").write_bytes(b"")
    (data / ".identity.new").write_bytes(b"")
    quiet = replace(Config().discovery, mdns=False, dht="off")
    network = replace(Config().network, listen=("/ip4/127.0.0.1/tcp/0",))
    async with fogp2p.open_peer(tmp_path, config=Config(network=network, discovery=quiet)):
        pass
    left = [name for name in disk.names(data) if name.endswith(".new")]
    assert left == [".identity.new", ".mine.7.new"]  # nobody knows whose these are
    Keystore(data / "identity", real_environment()).load()


@pytest.mark.spec("GOS-001")
@pytest.mark.parametrize("skip", [0, 1])
@pytest.mark.parametrize("name", _of("gossip."))
async def test_no_two_lives_share_a_message_number(
    tmp_path: Path, killer: Any, kill_child: Any, name: str, skip: int
) -> None:
    said = [int(first) for _, first in killer.kill("messages", tmp_path, name, skip)]
    assert len(said) == skip
    # Each life may have used all that was reserved for it; the clock helps nobody.
    free = said[-1] + RESERVED if said else 0
    if name == "gossip.reserve.after":
        free += RESERVED  # of the life that was killed
    assert await kill_child.begin_life(tmp_path, 0.0) >= free
    assert await kill_child.begin_life(tmp_path, 0.0) >= free + RESERVED


# --- what is set aside ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", _of("known."))
async def test_a_damaged_peerbook_is_kept_whatever_happens(
    tmp_path: Path, killer: Any, name: str
) -> None:
    path = tmp_path / "known-peers"
    path.write_bytes(b"what was it")
    assert killer.kill("peerbook", tmp_path, name) == []
    async with open_known_peers(path, real_environment()) as book:
        assert len(book) == 0
        assert ("set aside" in book.problem()) == (name == "known.aside.kept")
    assert (tmp_path / "known-peers.damaged").read_bytes() == b"what was it"
    assert not path.exists()


# --- the API, what `get` writes, the sandbox's caches --------------------------------------------


@pytest.mark.parametrize("name", _of("api."))
async def test_the_api_serves_again(
    tmp_path: Path, killer: Any, kill_child: Any, name: str
) -> None:
    token = tmp_path / "api.token"
    token.write_text("of a dead process\n")
    assert killer.kill("api", tmp_path, name) == []
    old = token.read_text().strip() if token.exists() else ""
    assert (old == "") == (name == "api.token.removed")
    assert (old == "of a dead process") == (name == "api.bound")
    async with kill_child.open_api(tmp_path) as context:
        new = token.read_text().strip()
        assert context.tokens.scope_of(new, context.now()) is not None
        assert context.tokens.scope_of(old, context.now()) is None
        stream = await trio.open_unix_socket(tmp_path / "api.sock")
        async with stream:
            await stream.send_all(b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
    assert real_environment().disk.names(tmp_path) == ("said",)


@pytest.mark.parametrize("name", _of("get."))
def test_a_fetched_file_is_whole_or_absent(
    tmp_path: Path, killer: Any, kill_child: Any, name: str
) -> None:
    assert killer.kill("fetch", tmp_path, name) == []
    target = tmp_path / "fetched"
    assert target.exists() == (name == "get.named")
    if not target.exists():
        assert killer.kill("fetch", tmp_path, "get.named") == []
    assert target.read_bytes() == kill_child.NEW


@pytest.mark.parametrize("name", _of("sandbox."))
def test_compiled_code_is_whole_or_absent(
    tmp_path: Path, killer: Any, kill_child: Any, name: str
) -> None:
    assert killer.kill("compile", tmp_path, name) == []
    cache = tmp_path / "cache"
    assert len(list(cache.glob("*.cwasm"))) == int(name == "sandbox.kept")
    (passing,) = [each for each in cache.iterdir() if each.is_dir()]
    # What may still be another process's work stays; what is as old as this is nobody's.
    kill_child.compile_code(tmp_path)
    assert passing.is_dir()
    os.utime(passing, (0, 0))
    next(cache.glob("*.cwasm")).unlink()
    kill_child.compile_code(tmp_path)
    (compiled,) = cache.iterdir()
    assert compiled.suffix == ".cwasm" and compiled.stat().st_size > 0


@pytest.mark.parametrize("name", _of("runner."))
def test_a_runner_is_built_or_built_again(
    tmp_path: Path, killer: Any, kill_child: Any, name: str
) -> None:
    assert killer.kill("runner", tmp_path, name) == []
    (record,) = (tmp_path / "cache").glob("*.sha256")
    runner = record.with_suffix(".wasm")
    assert runner.exists() == (name == "runner.placed")
    if not runner.exists():
        assert killer.kill("runner", tmp_path, "runner.placed") == []
    assert hashlib.sha256(runner.read_bytes()).hexdigest() == record.read_text().strip()
