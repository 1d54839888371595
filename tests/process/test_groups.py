"""Groups of real peers: what was acknowledged survives kill -9 and reaches the others in order."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from fogp2p.environment import real_environment
from fogp2p.testnet import open_testnet
from fogp2p.testnet.peers import LocalPeer

pytestmark = pytest.mark.process


async def _history(peer: LocalPeer, group: str) -> list[dict[str, Any]]:
    page = await peer.get(f"groups/{group}/entries")
    assert not page["more"]
    return list(page["entries"])


def _texts(entries: list[dict[str, Any]]) -> list[str]:
    return [each["text"] for each in entries if each["text"] is not None]


async def _shows(peer: LocalPeer, group: str, texts: list[str]) -> bool:
    return _texts(await _history(peer, group)) == texts


async def _has_members(peer: LocalPeer, group: str, count: int) -> bool:
    return bool((await peer.get(f"groups/{group}"))["members"] == count)


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    with trio.fail_after(30):
        while not await condition():  # noqa: ASYNC110 - other processes' states
            await trio.sleep(0.05)


def _types(peer: LocalPeer, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "fogp2p", "--home", str(peer.home), *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=60)


async def _typed(peer: LocalPeer, *words: str) -> str:
    done = await trio.to_thread.run_sync(lambda: _types(peer, *words))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.attack(138)
async def test_what_was_said_survives_a_kill_and_reaches_the_others_in_order(
    tmp_path: Path,
) -> None:
    async with open_testnet(tmp_path, real_environment(), 3) as net:
        ada, bob, cleo = net.peers
        group = (await _typed(ada, "group", "create", "tea")).strip()
        for peer in (bob, cleo):
            await _typed(ada, "group", "admit", "tea", peer.peer_id)
            await _typed(peer, "group", "open", group)

        async def members(count: int) -> None:
            for peer in net.peers:
                await _until(lambda p=peer: _has_members(p, group, count))

        await members(3)
        said = [f"word {number}" for number in range(5)]
        for text in said:
            await bob.post(f"groups/{group}/entries", {"text": text})
        await bob.kill()  # acknowledged a moment ago
        await bob.start()
        assert _texts(await _history(bob, group)) == said
        await bob.post(f"groups/{group}/entries", {"text": "back"})
        for peer in (ada, cleo):
            await _until(lambda p=peer: _shows(p, group, [*said, "back"]))

        # All see one order, with names, and nothing that moves a cursor.
        hostile = "red \x1b[31m ink\nsecond line"
        await _typed(cleo, "group", "say", "tea", hostile)
        await _until(lambda: _shows(ada, group, [*said, "back", hostile]))
        shown = await _typed(ada, "group", "read", "tea")
        assert "\x1b" not in shown and "\ufffd[31m ink" in shown and "word 4" in shown
        lines = [
            json.loads(x)
            for x in (await _typed(cleo, "--json", "group", "read", "tea")).splitlines()
        ]
        assert _texts(lines)[:6] == [*said, "back"]
        assert {each["schema"] for each in lines} == {"group-entry/1"}

        await _typed(ada, "group", "remove", "tea", cleo.peer_id, "--yes")
        await members(2)
        refused = await trio.to_thread.run_sync(lambda: _types(cleo, "group", "say", "tea", "me?"))
        assert refused.returncode == 6 and "FOG-LOG-001" in refused.stderr
        events = await _typed(cleo, "--json", "events", "--types", "group.")
        kinds = {json.loads(line)["type"] for line in events.splitlines()}
        assert kinds == {"group.grown", "group.changed"}
