"""kill -9 at every write of an invite and a join: both sides come back and agree.

Both peers live in the process that is killed, each with its file. Whatever was the last write, a
restart brings the pairing to its end, with what was acknowledged and nothing twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from fogp2p.environment import within
from fogp2p.killpoints import KILLPOINTS
from fogp2p.protocols.invite import Stage
from fogp2p.protocols.invite.book import Book, decode_book
from fogp2p.testing import Trace, run_simulation

pytestmark = pytest.mark.process

# What the child writes, in order: each is `invites.save.before`, then on the disk, then its name.
STEPS = (
    "invite.made",
    "join.kept",  # with wrong words
    "join.begun",
    "invite.guessed",
    "join.dropped",
    "join.kept",
    "join.begun",
    "invite.claimed",
    "join.accepted",
    "invite.stored",
    "join.done",
    "invite.verified",
    "invite.made",
    "invite.cancelled",
    "invite.made",
    "invite.expired",
    "contact.forgotten",
)
# Word that the child says -> how many of these writes it acknowledges.
WORDS = {"invite": 1, "wrong": 5, "joined": 11, "cancelled": 14, "expired": 16, "forgotten": 17}

# (name, times passed before, writes that are on the disk then)
_KILLS = [("invites.save.before", n, n) for n in range(len(STEPS))]
_KILLS += [(name, STEPS[:n].count(name), n + 1) for n, name in enumerate(STEPS)]


def _book(path: Path) -> Book:
    return decode_book(path.read_bytes()) if path.exists() else Book()


def _check_files(directory: Path, writes: int) -> None:
    """Exactly these writes are there, whole."""
    ada, ben = _book(directory / "ada"), _book(directory / "ben")
    stages = [(each.stage, each.wrong, each.secret is not None) for each in ada.invites.values()]
    expected = []
    if writes >= 1:
        stage = Stage.INVITED
        for at, later in ((8, Stage.ACCEPTED), (10, Stage.STORED), (12, Stage.VERIFIED)):
            stage = later if writes >= at else stage
        expected.append((stage, int(writes >= 4), writes < 12))
    if writes >= 13:
        expected.append((Stage.CANCELLED if writes >= 14 else Stage.INVITED, 0, writes < 14))
    if writes >= 15:
        expected.append((Stage.EXPIRED if writes >= 16 else Stage.INVITED, 0, writes < 16))
    assert stages == expected
    joins = [(each.stage, each.begun) for each in ben.joins.values()]
    if 2 <= writes < 5:
        assert joins == [(Stage.SEARCHING, int(writes >= 3))]
    elif 6 <= writes < 11:
        stage = Stage.ACCEPTED if writes >= 9 else Stage.SEARCHING
        assert joins == [(stage, int(writes >= 7))]
    else:
        assert joins == []
    assert (len(ada.contacts), len(ben.contacts)) == (int(writes >= 10), int(11 <= writes < 17))


async def _come_back(directory: Path, child: Any, writes: int) -> None:
    """Start both again: the pairing ends as if nothing had happened."""
    async with child.open_pair(directory) as (ada, ben):
        assert ada.problem() == ben.problem() == ""
        if writes == 0:
            await ada.invite()  # nobody ever had a code of the one that is gone
        await trio.sleep(60)
        assert ben.pending() == ()
        if writes < 6:
            # The right code was not typed yet, or not kept: its owner can still tell it.
            await ben.join(str(ada.invites()[0].code), deadline=within(30))
            await trio.sleep(1)
        peers = [keys.peer_id for keys in child.KEYS]
        assert [each.peer for each in ada.contacts()] == [peers[1]]
        assert [each.peer for each in ben.contacts()] == ([peers[0]] if writes < 17 else [])
        first, *others = ada.invites()
        # At 11 the joiner's last word was lost: nothing is missing, the secret goes after a day.
        assert first.stage is (Stage.ACCEPTED if writes == 11 else Stage.VERIFIED)
        # A guess is never forgotten. One that was counted and not answered is made once more.
        assert first.record.wrong == {0: 0, 1: 0, 4: 2}.get(writes, 1)
        assert all(each.stage in (Stage.CANCELLED, Stage.EXPIRED) for each in others[1:])
        if writes >= 14:
            assert others[0].stage is Stage.CANCELLED


@pytest.mark.spec("INV-031", "INV-033", "INV-034", "INV-040")
@pytest.mark.parametrize(("name", "skip", "writes"), _KILLS)
def test_a_pairing_ends_well_whatever_write_was_the_last(
    tmp_path: Path, killer: Any, kill_child: Any, name: str, skip: int, writes: int
) -> None:
    said = {word for word, _ in killer.kill("pair", tmp_path, name, skip)}
    acknowledged = writes if name == "invites.save.before" else writes - 1
    assert said == {word for word, at in WORDS.items() if at <= acknowledged}
    _check_files(tmp_path, writes)

    async def run(trace: Trace) -> None:
        await _come_back(tmp_path, kill_child, writes)

    run_simulation(1, run)


@pytest.mark.parametrize("name", [each for each in KILLPOINTS if each.startswith("invites.aside.")])
def test_a_damaged_book_is_kept_whatever_happens(
    tmp_path: Path, killer: Any, kill_child: Any, name: str
) -> None:
    (tmp_path / "ada").write_bytes(b"what was it")
    assert killer.kill("pair", tmp_path, name) == []

    async def run(trace: Trace) -> None:
        async with kill_child.open_pair(tmp_path) as (ada, _):
            assert ada.contacts() == ()
            assert ("set aside" in ada.problem()) == (name == "invites.aside.kept")
            await ada.invite()

    run_simulation(1, run)
    assert (tmp_path / "ada.damaged").read_bytes() == b"what was it"
