"""Numbers of messages: our own rise over restarts, and old ones of others are not news."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import pytest
import trio

from fogp2p.environment import Environment
from fogp2p.ids import PeerId
from fogp2p.protocols.gossip.cache import Seen
from fogp2p.protocols.gossip.config import FLOOR_TTL_S, MAX_FLOORS
from fogp2p.protocols.gossip.numbers import RESERVED, first_number
from fogp2p.testing import Fault, MemoryDisk, sim_environment

NUMBERS = Path("/state/gossip-numbers")
ADA = PeerId.from_ed25519(bytes(32)).raw
WALL = 1.8e9
"""Seconds since 1970 at the time 0 of these tests."""


def _id(number: int, author: bytes = ADA) -> bytes:
    return author + number.to_bytes(8)


def _at(seconds: float) -> int:
    """The number of an author that publishes then."""
    return int((WALL + seconds) * 1_000_000_000)


@pytest.mark.spec("GOS-007")
def test_what_was_forgotten_and_what_is_older_is_known_for_ever() -> None:
    seen = Seen(WALL)
    for at in (0.0, 1.0, 100.0):
        assert seen.add(_id(_at(at)), at)
    seen.expire(130.0)  # the first two are forgotten
    assert len(seen) == 1
    for known in (_at(0.0), _at(1.0), _at(0.5), _at(-9.0), _at(100.0)):
        assert _id(known) in seen and not seen.add(_id(known), 130.0)
    # What overtook is news as long as nothing later was forgotten.
    assert seen.add(_id(_at(99.0)), 131.0)
    assert seen.add(_id(_at(1.0) + 1), 131.0)
    # Others are not concerned.
    assert seen.add(_id(_at(0.0), b"another author"), 131.0)


@pytest.mark.spec("GOS-007")
def test_random_numbers_are_remembered_one_by_one() -> None:
    source, seen, now = random.Random(1), Seen(WALL), 0.0
    numbers = [source.getrandbits(64) for _ in range(500)]
    for number in numbers:
        now += 60.0
        seen.expire(now)
        assert seen.add(_id(number), now), "js-libp2p draws its numbers"
    # One that looks like a time by chance does not make the others old.
    assert seen.add(_id(_at(now)), now)
    seen.expire(now + 200.0)
    assert seen.add(_id(5), now + 201.0)


def test_authors_are_forgotten_after_an_hour_and_bounded() -> None:
    seen = Seen(WALL)
    assert seen.add(_id(_at(50.0)), 50.0)
    seen.expire(200.0)
    assert not seen.add(_id(_at(10.0)), 201.0)
    seen.expire(200.0 + FLOOR_TTL_S)
    # Its clock was set back: it is heard again.
    assert seen.add(_id(_at(10.0)), 201.0 + FLOOR_TTL_S)
    for author in range(MAX_FLOORS + 9):
        seen.add(_id(_at(9_000.0), author.to_bytes(4)), 9_000.0)
    seen.expire(9_200.0)
    assert len(seen._floors) == MAX_FLOORS


def test_a_short_id_is_unknown() -> None:
    assert b"" not in Seen() and b"x" not in Seen()


def _environment(disk: MemoryDisk, wall_s: float) -> Environment:
    made = sim_environment(1, str(wall_s))

    class Clock:
        def monotonic(self) -> float:
            return trio.current_time()

        def wall(self) -> float:
            return wall_s

    return Environment(Clock(), made.random, made.executor, disk)


@pytest.mark.spec("GOS-001")
async def test_our_numbers_rise_also_when_the_clock_was_set_back() -> None:
    disk, before = MemoryDisk(), 0
    for wall_s in (WALL, WALL + 1, WALL - 86_400, 0.0, WALL + 86_400):
        first = await first_number(NUMBERS, _environment(disk, wall_s))
        assert first > before
        before = first + RESERVED - 1  # one life uses no more
    assert await first_number(None, _environment(disk, 5.0)) == 5_000_000_000


@pytest.mark.parametrize("damage", [b"-1", b"x" * 9, b"9" * 25, "\u0663".encode()])
async def test_a_damaged_file_is_said_and_written_anew(
    damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    disk = MemoryDisk()
    disk.replace(NUMBERS, damage)
    with caplog.at_level(logging.WARNING):
        assert await first_number(NUMBERS, _environment(disk, WALL)) == _at(0.0)
    assert "gossip_numbers_damaged" in caplog.text
    assert disk.read(NUMBERS, max_bytes=99) == b"%d" % (_at(0.0) + RESERVED)


async def test_a_disk_that_refuses_is_said_and_the_clock_decides(
    caplog: pytest.LogCaptureFixture,
) -> None:
    disk = MemoryDisk()
    disk.fault = Fault.READ_ONLY
    with caplog.at_level(logging.WARNING):
        assert await first_number(NUMBERS, _environment(disk, WALL)) == _at(0.0)
    assert "gossip_numbers_not_kept" in caplog.text
