"""The ring of what happened."""

from __future__ import annotations

import trio
import trio.testing

from fogp2p.eventlog import Entry, EventLog, Missed
from fogp2p.testing import sim_environment


def _log(kept: int = 4) -> EventLog:
    return EventLog(sim_environment(1).clock, kept=kept)


async def test_numbers_rise_by_one_and_the_oldest_go_first() -> None:
    log = _log()
    for number in range(6):
        assert log.record("peer.connected", {"n": number}).id == number + 1
    found = log.after(0)
    assert found[0] == Missed(1, 2)
    assert [each.id for each in found[1:] if isinstance(each, Entry)] == [3, 4, 5, 6]
    assert log.after(4) == found[3:]
    assert log.after(6) == ()


async def test_a_follower_gets_old_and_new_entries(autojump_clock: trio.testing.MockClock) -> None:
    log, seen = _log(), []
    log.record("a.began")

    async def follow() -> None:
        async for item in log.follow(0):
            seen.append(item)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await trio.testing.wait_all_tasks_blocked()
        log.record("b.began")
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert [each.type for each in seen if isinstance(each, Entry)] == ["a.began", "b.began"]


async def test_a_slow_follower_learns_how_much_it_missed() -> None:
    log = _log()
    log.record("first.came")
    stream = log.follow(0)
    assert isinstance(await anext(stream), Entry)
    for _ in range(9):
        log.record("later.came")
    assert await anext(stream) == Missed(2, 6)
    rest = [await anext(stream) for _ in range(4)]
    assert [each.id for each in rest if isinstance(each, Entry)] == [7, 8, 9, 10]


async def test_a_reader_overtaken_in_the_middle_is_told_so() -> None:
    log = _log()
    for _ in range(4):
        log.record("old.came")
    stream = log.follow(0)
    assert isinstance(await anext(stream), Entry)
    for _ in range(6):
        log.record("new.came")
    found = [await anext(stream) for _ in range(5)]
    assert found[0] == Missed(2, 6)
    assert [each.id for each in found[1:] if isinstance(each, Entry)] == [7, 8, 9, 10]


async def test_a_number_from_before_a_restart_means_everything_is_missed() -> None:
    log = _log()
    log.record("peer.connected")
    stream = log.follow(500)
    assert await anext(stream) == Missed(1, 1)
    log.record("peer.disconnected")
    following = await anext(stream)
    assert isinstance(following, Entry) and following.id == 2
