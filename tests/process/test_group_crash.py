"""kill -9 at every step of a group's entries: signed, numbered, stored, shown, sent, dealt with.

Both members live in the process that is killed, each with its store. Whatever was the last step, a
restart has what was acknowledged, once, the same on both sides, and no author has two histories.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fogp2p.killpoints import KILLPOINTS
from fogp2p.protocols.log import Delivery, Group, Kind, Logs
from fogp2p.protocols.log.entries import decode_entry
from fogp2p.testing import Trace, run_simulation

pytestmark = pytest.mark.process

# (name, times passed before). The order is: founded, epoch, "one", ben admitted, epoch, eve
# admitted, epoch, all of it to ben, "two" by ben, that to ada, ben removed, epoch, "three", these
# to ben.
_KILLS = [
    *(("log.signed", skip) for skip in (0, 1, 2, 7, 8, 10)),
    *(("log.placed", skip) for skip in (0, 2, 7, 9)),
    *(("log.stored", skip) for skip in (0, 2, 7, 9, 12)),
    *(("log.shown", skip) for skip in (2, 7, 8, 13)),
    *(("log.epoch", skip) for skip in (0, 3)),
    *(("log.admitted", skip) for skip in (0, 1)),
    ("log.removed", 0),
    ("log.group.kept", 0),
    ("log.mark.before", 0),
    ("log.mark.after", 0),
    *(("log.push.before", skip) for skip in (0, 2)),
    *(("log.push.after", skip) for skip in (0, 2, 3)),
]


def _stored(path: Path) -> dict[bytes, bytes]:
    """Id -> author of the entries in a store, read without changing it."""
    if not path.exists():
        return {}
    with sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name='log_entry'").fetchone():
            return {}
        rows = connection.execute("SELECT id, data FROM log_entry").fetchall()
    connection.close()
    return {name: decode_entry(data).author for name, data in rows}


async def _read(group: Group) -> list[Delivery]:
    """Everything there is, in order."""
    found: list[Delivery] = []
    async for each in group.deliveries():
        found.append(each)
        if len(found) == group.last:
            break
    assert [each.number for each in found] == [*range(1, group.last + 1)]
    return found


async def _hold_to_their_word(
    adas: Logs, bens: Logs, name: str, said: list[tuple[str, str]]
) -> None:
    """What programs were told is so, before the two have talked again."""
    # A group is there with its founding entry or not at all.
    assert len(adas.groups) <= 1 and all(group.replica.name for group in adas.groups)
    if not adas.groups:
        assert not said and not bens.groups
        return
    (mine,) = adas.groups
    entries = await _read(mine)
    found = {"ada": _texts(entries)}
    if bens.groups:
        found["ben"] = _texts(await _read(bens.groups[0]))
    for texts in found.values():
        assert set(texts.values()) <= {1} and set(texts) <= {b"one", b"two", b"three"}
    kinds = Counter(each.kind for each in entries)
    is_member = len(mine.members()) == 3
    for word, what in said:
        match word:
            case "group":
                assert mine.id.hex() == what
            case "wrote":
                assert found["ben" if what == "two" else "ada"][what.encode()] == 1
            case "admitted":
                assert kinds[Kind.ADMIT] == 2
            case "opened":
                assert [group.id for group in bens.groups] == [mine.id]
            case "marked":
                assert await mine.marked("screen") == int(what)
            case "removed":
                assert kinds[Kind.REMOVE] == 1 and not is_member
    if not any(word == "marked" for word, _ in said):
        assert await mine.marked("screen") == (8 if name == "log.mark.after" else 0)


def _texts(entries: list[Delivery]) -> Counter[bytes]:
    """What can be read of it, and how often it is there."""
    return Counter(each.text for each in entries if each.text is not None)


async def _go_on(adas: Logs, bens: Logs, child: Any) -> None:
    """Both write on: the same on both sides, in one history of each, for members' eyes only."""
    mine = adas.groups[0] if adas.groups else await adas.create("boat trip")
    his = await bens.open(mine.id)
    await child.level(mine, his)
    members = {each.peer for each in mine.members()}
    assert members == {each.peer for each in his.members()}
    written = [(mine, b"after", b"after")]
    if child.KEYS[1].peer_id in members:
        written.append((his, b"his", b"after"))
    for group, text, _ in written:
        await group.append(text)
        await child.level(mine, his)
    ours, theirs = await _read(mine), await _read(his)
    assert {each.id for each in ours} == {each.id for each in theirs}
    assert not mine.forks() and not his.forks()
    assert [each.text for each in ours].count(b"after") == 1
    read = [each.text for each in theirs]
    assert read.count(b"after") == len(written) - 1  # not by whoever is no member
    assert read.count(b"his") == len(written) - 1


@pytest.mark.spec("LOG-010", "LOG-013")
@pytest.mark.parametrize(("name", "skip"), _KILLS)
def test_a_group_goes_on_whatever_step_was_the_last(
    tmp_path: Path, killer: Any, kill_child: Any, name: str, skip: int
) -> None:
    assert name in KILLPOINTS
    said = killer.kill("talk", tmp_path, name, skip)
    adas, bens = _stored(tmp_path / "ada.db"), _stored(tmp_path / "ben.db")
    # Nobody has of another what its author has not.
    ada, ben = (keys.peer_id.ed25519 for keys in kill_child.KEYS[:2])
    assert {each for each, author in bens.items() if author == ada} <= set(adas)
    assert {each for each, author in adas.items() if author == ben} <= set(bens)

    async def run(trace: Trace) -> None:
        async with kill_child.open_circle(tmp_path) as (adas, bens):
            await _hold_to_their_word(adas, bens, name, said)
            await _go_on(adas, bens, kill_child)

    run_simulation(1, run)
