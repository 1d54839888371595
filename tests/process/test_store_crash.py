"""kill -9 of a process that writes: at every kill point, and at random moments.

`make crash` runs 300 random kills (STORE_KILLS); the suite runs as many as fit in a few seconds.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fogp2p.environment import real_environment
from fogp2p.killpoints import KILLPOINTS
from fogp2p.store import Journal, Store, open_store

pytestmark = pytest.mark.process

_POINTS = [name for name in KILLPOINTS if name.startswith(("store.", "journal.", "outbox."))]
_KILLS = int(os.environ.get("STORE_KILLS", "25"))


async def _made_before(directory: Path, child: Any) -> None:
    """A store of the older version with something in it."""
    async with open_store(
        directory / "store.db", real_environment(), parts=[child.BEFORE]
    ) as store:
        await store.write(lambda t: t.run("INSERT INTO pair (left, right) VALUES ('old', 'old')"))
        journal = store.journal("chat", child.QUOTA)
        await journal.append("text", child.payload_of("old"), key="old")


def _said(directory: Path) -> dict[str, dict[str, int]]:
    """What children acknowledged: word -> key -> number."""
    found: dict[str, dict[str, int]] = {}
    path = directory / "said"
    if path.exists():
        for line in path.read_text().split("\n")[:-1]:
            # A kill cannot cut a line: it is one write of a few bytes to a file.
            word, number, key = line.split(" ")
            found.setdefault(word, {})[key] = int(number)
    return found


async def _all(journal: Journal, child: Any) -> Iterator[tuple[str | None, int, bool]]:
    found, after = [], 0
    while entries := await journal.read(after):
        for entry in entries:
            assert entry.key is None or entry.payload == child.payload_of(entry.key)
            found.append((entry.key, entry.number, entry.is_done))
        after = entries[-1].number
    return iter(found)


async def _hold_to_its_word(store: Store, child: Any, said: dict[str, dict[str, int]]) -> None:
    """Nothing acknowledged is lost or doubled; what was not is whole or absent."""
    status = store.status()
    assert (status.state, status.why) == ("ok", "")
    for name, word in (("chat", "acked"), ("out", "acked-out")):
        entries = list(await _all(store.journal(name, child.QUOTA), child))
        keys = [key for key, _, _ in entries]
        assert len(set(keys)) == len(keys)
        numbers = {key: number for key, number, _ in entries if key is not None}
        for key, number in said.get(word, {}).items():
            assert numbers[key] == number
        if name == "out":
            # Published only after it was durable; not yet marked means: published again.
            assert set(said.get("sent", {})) <= set(numbers)
            done = {key for key, _, is_done in entries if is_done}
            assert done <= set(said.get("sent", {}))
    pairs = await store.read(lambda t: list(t.rows("SELECT left, right FROM pair")))
    assert all(left == right for left, right in pairs)
    assert len(set(pairs)) == len(pairs) and ("never", "never") not in pairs
    assert set(said.get("paired", {})) <= {left for left, _ in pairs}


@pytest.mark.parametrize("name", _POINTS)
async def test_killed_at_every_point(
    tmp_path: Path, server: Any, store_child: Any, name: str
) -> None:
    child = store_child
    await _made_before(tmp_path, child)
    skips = (0, 1, 2, 3) if name == "store.migrate.statement" else (0,)
    for skip in skips:
        server.start("kill", tmp_path, name, skip)
        assert server.ended() == -signal.SIGKILL
        if skip != skips[-1]:
            # Not migrated by halves: the older program still finds its own.
            async with open_store(
                tmp_path / "store.db", real_environment(), parts=[child.BEFORE]
            ) as store:
                assert store.status().state == "ok"
                row = await store.read(lambda t: t.row("SELECT * FROM pair"))
                assert row == (1, "old", "old")
    async with open_store(tmp_path / "store.db", real_environment(), parts=[child.AFTER]) as store:
        said = _said(tmp_path)
        said.setdefault("acked", {})["old"] = 1
        await _hold_to_its_word(store, child, said)
        assert await store.read(lambda t: t.row("SELECT count(*) FROM pair WHERE at = 2")) == (1,)


async def test_killed_and_started_again_until_it_ends(
    tmp_path: Path, server: Any, store_child: Any
) -> None:
    """The same work done again after each kill has its effect once."""
    child = store_child
    for skip in (3, 9, 17, 25, 33):
        server.start("kill", tmp_path, "store.commit.after", skip)
        assert server.ended() == -signal.SIGKILL
    server.start("kill", tmp_path, "store.close.after", 0)
    assert server.ended() == -signal.SIGKILL
    said = _said(tmp_path)
    assert len(said["acked"]) == 12 and len(said["acked-out"]) == len(said["sent"]) == 6
    async with open_store(tmp_path / "store.db", real_environment(), parts=[child.AFTER]) as store:
        await _hold_to_its_word(store, child, said)
        assert len(list(await _all(store.journal("chat", child.QUOTA), child))) == 12
        assert len(list(await _all(store.journal("out", child.QUOTA), child))) == 6


async def test_random_kills_lose_nothing(tmp_path: Path, server: Any, store_child: Any) -> None:
    child = store_child
    source = random.Random(20261125)
    for turn in range(_KILLS):
        pid = server.start("forever", tmp_path, turn)
        # From opening on, through groups, answers and checkpoints.
        assert not server.ends_within(source.uniform(0.01, 0.15))
        os.kill(pid, signal.SIGKILL)
        assert server.ended() == -signal.SIGKILL
        if turn % 10 == 9 or turn == _KILLS - 1:
            async with open_store(
                tmp_path / "store.db", real_environment(), parts=[child.AFTER]
            ) as store:
                said = _said(tmp_path)
                await _hold_to_its_word(store, child, said)
                keys = {key for key, _, _ in await _all(store.journal("chat", child.QUOTA), child)}
                assert keys <= set(said["tried"])
    acknowledged = len(said["acked"]) + len(said["paired"])
    print(f"{_KILLS} kills, {acknowledged} acknowledged writes, 0 lost")  # noqa: T201
    assert acknowledged > 10 * _KILLS
