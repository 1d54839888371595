"""Backup and restore: whole or not at all, from files that anybody may have made."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from fogp2p.backup import (
    BackupError,
    Contents,
    RestoreUnfinished,
    _Writer,
    check_restored,
    restore,
    save,
)
from fogp2p.codec import encode
from fogp2p.environment import real_environment
from fogp2p.identity import Keystore
from fogp2p.killpoints import KILLPOINTS
from fogp2p.paths import Paths, home_paths
from fogp2p.process import LockedError, hold
from fogp2p.store import Quota, StoreDamaged, open_store

pytestmark = pytest.mark.process

BIG = Quota(10_000, 10**8)
# The cheapest that libsodium allows: the tests are about the file.
CHEAP: dict[str, int] = {"ops": 1, "memory": 8192}


async def make_home(home: Path, words: str) -> Paths:
    paths = home_paths(home)
    Keystore(paths.keystore, real_environment()).create()
    real_environment().disk.replace(paths.config, f"# {words}\n".encode())
    async with open_store(paths.store, real_environment()) as store:
        journal = store.journal("chat", BIG)
        await store.write(lambda t: [journal.add(t, "text", w.encode()) for w in words.split()])
    return paths


async def words_in(paths: Paths) -> str:
    async with open_store(paths.store, real_environment()) as store:
        assert store.status().state == "ok", store.status()
        entries = await store.journal("chat", BIG).read()
        return " ".join(entry.payload.decode() for entry in entries)


def names_in(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


def write(paths: Paths, target: Path, passphrase: str | None = None) -> Contents:
    environment = real_environment()
    return save(paths, target, environment, program="fogp2p test", passphrase=passphrase, **CHEAP)


def read(paths: Paths, source: Path, passphrase: str | None = None, **how: bool) -> Contents:
    return restore(paths, source, real_environment(), passphrase=passphrase, **how)


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
async def test_a_home_comes_back(tmp_path: Path, passphrase: str | None) -> None:
    paths = await make_home(tmp_path / "one", "all is well")
    made = write(paths, tmp_path / "backup", passphrase)
    assert made.is_encrypted == (passphrase is not None)
    assert [name for name, _ in made.files] == ["store", "config", "identity"]
    content = (tmp_path / "backup").read_bytes()
    assert (b"all is well" in content) == (passphrase is None)
    assert (tmp_path / "backup").stat().st_mode & 0o777 == 0o600
    assert names_in(tmp_path) == ["backup", "one"]
    other = home_paths(tmp_path / "two")
    back = read(other, tmp_path / "backup", passphrase)
    assert (back.files, back.created, back.aside) == (made.files, made.created, ())
    assert await words_in(other) == "all is well"
    assert other.config.read_text() == "# all is well\n"
    stores = [Keystore(each.keystore, real_environment()).load() for each in (paths, other)]
    assert stores[0] == stores[1]
    check_restored(other)


@pytest.mark.spec("BAK-004")
async def test_a_running_peer_is_saved_and_not_overwritten(tmp_path: Path) -> None:
    paths = await make_home(tmp_path / "one", "before")
    with hold(paths.lock):
        async with open_store(paths.store, real_environment()) as store:
            journal = store.journal("chat", BIG)

            async def go_on() -> None:
                for number in range(200):
                    await journal.append("text", b"%d" % number)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(go_on)
                await journal.append("text", b"acknowledged")
                await trio.to_thread.run_sync(write, paths, tmp_path / "backup")
        with pytest.raises(LockedError):
            read(paths, tmp_path / "backup", force=True)
    other = home_paths(tmp_path / "two")
    read(other, tmp_path / "backup")
    words = (await words_in(other)).split()
    whole = (await words_in(paths)).split()
    assert "acknowledged" in words and words == whole[: len(words)]


@pytest.mark.spec("BAK-004")
async def test_a_home_that_is_not_empty_is_kept(tmp_path: Path) -> None:
    paths = await make_home(tmp_path / "one", "from the backup")
    write(paths, tmp_path / "backup")
    other = await make_home(tmp_path / "two", "of the old peer")
    before = other.keystore.read_bytes()
    with pytest.raises(BackupError, match="there is a peer already") as caught:
        read(other, tmp_path / "backup")
    assert "--force" in caught.value.hint and caught.value.number == "FOG-BAK-001"
    assert await words_in(other) == "of the old peer"
    kept = read(other, tmp_path / "backup", force=True).aside
    assert await words_in(other) == "from the backup"
    assert set(kept) == {
        f"{name}.before-restore-1" for name in ("store.db", "config.toml", "identity")
    }
    assert (other.data / "identity.before-restore-1").read_bytes() == before
    async with open_store(other.data / "store.db.before-restore-1", real_environment()) as store:
        entries = await store.journal("chat", BIG).read()
        assert b" ".join(entry.payload for entry in entries) == b"of the old peer"
    assert len(read(other, tmp_path / "backup", force=True).aside) == 3  # under other numbers


@pytest.mark.spec("BAK-001")
@pytest.mark.parametrize("passphrase", [None, "correct horse"])
async def test_a_changed_backup_replaces_nothing(tmp_path: Path, passphrase: str | None) -> None:
    paths = await make_home(tmp_path / "one", "one two three")
    good = tmp_path / "backup"
    write(paths, good, passphrase)
    data = good.read_bytes()
    source = random.Random(5)
    other = home_paths(tmp_path / "two")
    bad = tmp_path / "bad"
    for _ in range(60):
        changed = bytearray(data)
        if source.random() < 0.3:
            del changed[source.randrange(len(data)) :]
        else:
            changed[source.randrange(len(data))] ^= 1 << source.randrange(8)
        bad.write_bytes(bytes(changed))
        with pytest.raises(BackupError):
            read(other, bad, passphrase)
        assert [each.name for each in (tmp_path / "two").rglob("*") if each.is_file()] == ["lock"]
    bad.write_bytes(data + b"x")
    with pytest.raises(BackupError):
        read(other, bad, passphrase)
    read(other, good, passphrase)


async def test_passphrases_are_asked_for_and_held_to(tmp_path: Path) -> None:
    paths = await make_home(tmp_path / "one", "x")
    write(paths, tmp_path / "backup", "right")
    with pytest.raises(BackupError, match="is encrypted"):
        read(home_paths(tmp_path / "two"), tmp_path / "backup")
    with pytest.raises(BackupError, match="wrong passphrase") as caught:
        read(home_paths(tmp_path / "two"), tmp_path / "backup", "wrong")
    assert caught.value.__cause__ is None
    with pytest.raises(BackupError, match="exists already"):
        write(paths, tmp_path / "backup")


def _forged(target: Path, files: list[dict[int | str, Any]], content: bytes) -> None:
    with target.open("wb") as file:
        writer = _Writer(file, None, None)
        writer.chunk(encode({1: 1, 2: "forger", 3: files}))
        if content:
            writer.chunk(content)
        writer.finish()


@pytest.mark.spec("BAK-002")
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("../../.ssh/authorized_keys", 4),
        ("/etc/passwd", 4),
        ("identity.before-restore-1", 4),
        ("lock", 4),
        ("config", 2**33),
        ("identity", 17_000),
    ],
)
def test_names_and_sizes_in_a_backup_are_not_trusted(tmp_path: Path, name: str, size: int) -> None:
    _forged(tmp_path / "bad", [{1: name, 2: size, 3: hashlib.sha256(b"evil").digest()}], b"evil")
    with pytest.raises(BackupError, match="does not expect"):
        read(home_paths(tmp_path / "home"), tmp_path / "bad")
    files = [each.relative_to(tmp_path) for each in tmp_path.rglob("*") if each.is_file()]
    assert sorted(map(str, files)) == ["bad", "home/data/lock"]


@pytest.mark.spec("BAK-001")
@pytest.mark.parametrize("name", ["store", "identity"])
def test_files_that_are_not_what_they_should_be_are_refused(tmp_path: Path, name: str) -> None:
    entry: dict[int | str, Any] = {1: name, 2: 4, 3: hashlib.sha256(b"evil").digest()}
    _forged(tmp_path / "bad", [entry], b"evil")
    with pytest.raises(BackupError, match="cannot be used"):
        read(home_paths(tmp_path / "home"), tmp_path / "bad")
    _forged(tmp_path / "bad", [entry, entry], b"evil")
    with pytest.raises(BackupError, match="damaged"):
        read(home_paths(tmp_path / "home"), tmp_path / "bad")
    assert [each.name for each in (tmp_path / "home").rglob("*") if each.is_file()] == ["lock"]


@pytest.mark.spec("BAK-003")
@pytest.mark.parametrize("kdf", [{2: 11, 3: 8192}, {2: 1, 3: 2**30 + 1}, {2: 1, 3: 2**40}])
def test_a_backup_cannot_choose_our_memory(tmp_path: Path, kdf: dict[int | str, Any]) -> None:
    header = encode({1: 1, 2: {1: "argon2id", 4: bytes(16), **kdf}, 3: bytes(24)})
    (tmp_path / "bad").write_bytes(b"fogp2p backup\n" + len(header).to_bytes(4) + header)
    with pytest.raises(BackupError, match="damaged"):
        read(home_paths(tmp_path / "home"), tmp_path / "bad", "x")
    # Nor by a frame that says it is large.
    (tmp_path / "bad").write_bytes(b"fogp2p backup\n" + b"\xff\xff\xff\xff")
    with pytest.raises(BackupError, match="damaged"):
        read(home_paths(tmp_path / "home"), tmp_path / "bad", "x")


def test_a_newer_backup_is_refused_with_its_version(tmp_path: Path) -> None:
    header = encode({1: 3, 2: None, 3: None})
    (tmp_path / "bad").write_bytes(b"fogp2p backup\n" + len(header).to_bytes(4) + header)
    with pytest.raises(BackupError, match="has version 3, this program reads version 1"):
        read(home_paths(tmp_path / "home"), tmp_path / "bad")


@pytest.mark.attack(96)
async def test_a_damaged_store_is_not_saved_as_if_it_were_whole(tmp_path: Path) -> None:
    paths = await make_home(tmp_path / "one", "x " * 300)
    data = bytearray(paths.store.read_bytes())
    data[-4096:] = bytes(4096)
    paths.store.write_bytes(bytes(data))
    with pytest.raises(StoreDamaged):
        write(paths, tmp_path / "backup")
    assert names_in(tmp_path) == ["one"]
    with pytest.raises(BackupError, match="there is no peer"):
        write(home_paths(tmp_path / "nothing"), tmp_path / "backup")


@pytest.mark.parametrize("name", [each for each in KILLPOINTS if each.startswith("backup.")])
async def test_a_killed_backup_is_whole_or_absent(tmp_path: Path, server: Any, name: str) -> None:
    await make_home(tmp_path / "home", "safe and sound")
    server.start("save", tmp_path, name, 0)
    assert server.ended() == -signal.SIGKILL
    target = tmp_path / "backup"
    assert target.exists() == (name == "backup.done")
    if not target.exists():
        write(home_paths(tmp_path / "home"), target)
    read(home_paths(tmp_path / "other"), target)
    assert await words_in(home_paths(tmp_path / "other")) == "safe and sound"


_RESTORE_POINTS = [
    (name, skip)
    for name in KILLPOINTS
    if name.startswith("restore.")
    # Three files are set aside and placed: before, between and after.
    for skip in ((0, 1, 2) if name in ("restore.aside", "restore.placed") else (0,))
]


@pytest.mark.parametrize(("name", "skip"), _RESTORE_POINTS)
async def test_a_killed_restore_is_old_or_new_or_says_so(
    tmp_path: Path, server: Any, name: str, skip: int
) -> None:
    await make_home(tmp_path / "home", "the new peer")
    write(home_paths(tmp_path / "home"), tmp_path / "backup")
    other = await make_home(tmp_path / "other", "the old one")
    old = Keystore(other.keystore, real_environment()).load()
    server.start("restore", tmp_path, name, skip)
    assert server.ended() == -signal.SIGKILL
    try:
        check_restored(other)
    except RestoreUnfinished as exc:
        assert exc.number == "FOG-BAK-002" and "again" in exc.hint
        assert name in ("restore.marked", "restore.aside", "restore.placed")
        # There is always a keystore: a peer that starts here makes no new identity.
        Keystore(other.keystore, real_environment()).load()
        read(other, tmp_path / "backup")
        check_restored(other)
    else:
        same = Keystore(other.keystore, real_environment()).load() == old
        assert same == (name != "restore.done")
        assert await words_in(other) == ("the old one" if same else "the new peer")
        read(other, tmp_path / "backup", force=True)
    assert await words_in(other) == "the new peer"


async def test_the_commands(tmp_path: Path) -> None:
    def run(home: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environ = {k: v for k, v in os.environ.items() if not k.startswith("FOGP2P_")}
        line = [sys.executable, "-m", "fogp2p", "--home", str(tmp_path / home), *words]
        environ |= variables
        return subprocess.run(line, capture_output=True, text=True, timeout=60, env=environ)

    await make_home(tmp_path / "one", "by hand")
    file = str(tmp_path / "backup")
    made = run("one", "--json", "backup", file, FOGP2P_BACKUP_PASSPHRASE="secret words")
    answer = json.loads(made.stdout)
    assert answer["schema"] == "backup/1" and answer["encrypted"] and made.stderr == ""
    refused = run("two", "restore", file)
    assert refused.returncode == 1 and "FOG-BAK-001" in refused.stderr
    done = run("two", "--json", "restore", file, FOGP2P_BACKUP_PASSPHRASE="secret words")
    assert json.loads(done.stdout)["schema"] == "restore/1", done.stderr
    assert await words_in(home_paths(tmp_path / "two")) == "by hand"
    plain = run("one", "backup", file + "-plain")
    assert plain.returncode == 0 and "NOT encrypted" in plain.stderr
    forced = run("two", "restore", "--force", file + "-plain")
    assert forced.returncode == 0 and "store.db.before-restore-1" in forced.stdout
