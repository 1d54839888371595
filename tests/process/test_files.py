"""Files between real peers: kill -9 on either side, two sources, and what ends in a directory."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from fogp2p.environment import real_environment
from fogp2p.protocols.blob import CHUNK_BYTES
from fogp2p.protocols.blob.config import PIPELINE, PUT_AT_ONCE, WRITE_BEHIND
from fogp2p.testnet.peers import LocalPeer

pytestmark = pytest.mark.process
SIZE = 64 * 1024 * 1024
# What a kill finds on its way to the disk: asked for, arrived, being stored, and one between.
ON_THE_WAY = (PIPELINE + WRITE_BEHIND + PUT_AT_ONCE + 1) * CHUNK_BYTES


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("noise") / "noise.bin"
    path.write_bytes(hashlib.shake_256(b"files").digest(SIZE))
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def _peers(home: Path, *names: str) -> AsyncIterator[list[LocalPeer]]:
    """Peers on ports of their own that stay; the later ones know the earlier ones' addresses."""
    known: list[str] = []
    peers: list[LocalPeer] = []
    try:
        for name in names:
            settings = [
                f"network.listen=/ip4/127.0.0.1/tcp/{_free_port()}",
                "discovery.mdns=false",
            ]
            if known:
                settings.append(f"discovery.bootstrap={','.join(known)}")
            peer = LocalPeer(name, home / name, tuple(settings), real_environment())
            peers.append(peer)
            await peer.start()
            known += (await peer.get("status"))["addresses"][:1]
        for peer in peers:
            await _until(lambda p=peer: _sees(p, len(peers) - 1))
        yield peers
    finally:
        with trio.CancelScope(shield=True):
            for peer in peers:
                await peer.kill()


async def _sees(peer: LocalPeer, count: int) -> bool:
    return len(await peer.connected()) == count


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    with trio.fail_after(40):
        while not await condition():  # noqa: ASYNC110 - other processes' states
            await trio.sleep(0.02)


async def _added(peer: LocalPeer, path: Path) -> str:
    done = await _ended(peer, await peer.post("blobs", {"path": str(path)}))
    assert done["state"] == "done", done
    return str(done["cid"])


async def _ended(peer: LocalPeer, transfer: dict[str, Any]) -> dict[str, Any]:
    with trio.fail_after(60):
        while transfer["state"] == "running":
            transfer = await peer.get(f"transfers/{transfer['id']}")
    return transfer


async def _until_part(peer: LocalPeer, transfer: dict[str, Any], part: float) -> dict[str, Any]:
    with trio.fail_after(60):
        while transfer["done_bytes"] < part * SIZE:
            transfer = await peer.get(f"transfers/{transfer['id']}")
    assert transfer["state"] == "running", "too quick to be interrupted"
    return transfer


def _types(peer: LocalPeer, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "fogp2p", "--home", str(peer.home), *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=90)


async def _typed(peer: LocalPeer, *words: str) -> subprocess.CompletedProcess[str]:
    return await trio.to_thread.run_sync(lambda: _types(peer, *words))


def _names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def test_a_getter_killed_midway_goes_on_with_what_it_had(tmp_path: Path, noise: Path) -> None:
    async with _peers(tmp_path, "ada", "bob") as (source, getter):
        cid = await _added(source, noise)
        transfer = await getter.post(f"blobs/{cid}/fetch")
        await _until_part(getter, transfer, 0.3)
        await getter.kill()
        await getter.start()
        had = (await getter.get(f"blobs/{cid}"))["present"] * CHUNK_BYTES
        assert had >= 0.3 * SIZE
        target = tmp_path / "out.bin"
        done = await _typed(getter, "--json", "get", cid, "-o", str(target), "--timeout", "40")
        assert done.returncode == 0, done.stderr
        assert _hash(target) == _hash(noise)
        served = (await source.get("blobs"))["summary"]["sent_bytes"]
        assert SIZE <= served <= SIZE + ON_THE_WAY
        (one,) = json.loads(done.stdout)["sources"]
        assert one["chunks"] * CHUNK_BYTES == SIZE - had
        assert _names(tmp_path) == ["ada", "bob", "out.bin"]
        again = await _typed(getter, "get", cid, "-o", str(target))
        assert again.returncode == 7 and "--force" in again.stderr


async def test_the_only_source_killed_midway_comes_back_and_the_rest_follows(
    tmp_path: Path, noise: Path
) -> None:
    async with _peers(tmp_path, "ada", "bob") as (source, getter):
        cid = await _added(source, noise)
        transfer = await getter.post(f"blobs/{cid}/fetch")
        await _until_part(getter, transfer, 0.3)
        await source.kill()
        had = (await getter.get(f"blobs/{cid}"))["present"] * CHUNK_BYTES
        assert had < SIZE
        await source.start()
        done = await _ended(getter, transfer)  # nobody asked again
        assert done["state"] == "done", done
        assert await getter.sha256(f"blobs/{cid}/content") == _hash(noise)
        served = (await source.get("blobs"))["summary"]["sent_bytes"]
        assert served <= SIZE - had + ON_THE_WAY


async def test_two_sources_one_killed_half_way(tmp_path: Path, noise: Path) -> None:
    async with _peers(tmp_path, "ada", "bob", "cleo") as (one, other, getter):
        cid = await _added(one, noise)
        assert await _added(other, noise) == cid
        transfer = await getter.post(f"blobs/{cid}/fetch")
        await _until_part(getter, transfer, 0.4)
        await one.kill()
        done = await _ended(getter, transfer)
        assert done["state"] == "done", done
        shares = {each["peer_id"]: each["chunks"] for each in done["sources"]}
        assert set(shares) == {one.peer_id, other.peer_id}
        assert sum(shares.values()) * CHUNK_BYTES == SIZE and min(shares.values()) > 0
        assert await getter.sha256(f"blobs/{cid}/content") == _hash(noise)


async def test_a_sealed_file_is_sent_and_opens_with_its_key_only(tmp_path: Path) -> None:
    secret = tmp_path / "letter.txt"
    secret.write_bytes(b"nobody else reads this " * 50_000)
    async with _peers(tmp_path, "ada", "bob") as (ada, bob):
        sent = await _typed(ada, "--json", "send", str(secret), bob.peer_id, "--seal")
        assert sent.returncode == 0, sent.stderr
        answer = json.loads(sent.stdout)
        assert answer["state"] == "done" and answer["peer_id"] == bob.peer_id
        link = f"{answer['cid']}#{answer['key']}"
        where = tmp_path / "inbox"
        where.mkdir()
        got = await _typed(bob, "get", link, "-o", str(where))
        assert got.returncode == 0, got.stderr
        assert (where / "letter.txt").read_bytes() == secret.read_bytes()
        other = answer["key"][:-2] + ("AA" if answer["key"][-2:] != "AA" else "EA")
        wrong = await _typed(bob, "get", f"{answer['cid']}#{other}", "-o", str(where / "x"))
        assert wrong.returncode != 0 and "does not open" in wrong.stderr
        assert _names(where) == ["letter.txt"]
        for file in (bob.home / "data" / "blobs").rglob("*"):
            assert not file.is_file() or b"nobody else" not in file.read_bytes()
