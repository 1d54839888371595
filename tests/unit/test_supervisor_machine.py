"""The supervisor's decisions, without any clock or task."""

from __future__ import annotations

import pytest

from fogp2p.errors import LocalProtocolError
from fogp2p.supervisor import Group, State, SupervisorConfig
from fogp2p.supervisor.machine import Tree
from fogp2p.supervisor.values import (
    TRANSITIONS,
    Cancel,
    Changed,
    End,
    Event,
    Failure,
    Leave,
    Output,
    Plan,
    Start,
    Stuck,
)


def plan(
    name: str,
    needs: tuple[str, ...] = (),
    wants: tuple[str, ...] = (),
    *,
    group: str = "",
    essential: bool = False,
) -> Plan:
    return Plan(name, group, needs, wants, essential, ready_s=5, stop_s=2)


def todo(tree: Tree) -> list[Output]:
    """What is to be done, without the news."""
    return [each for each in tree.take() if not isinstance(each, Changed)]


def raised(*plans: Plan, groups: tuple[Group, ...] = ()) -> Tree:
    """A tree in which everything is ready at 0."""
    tree = Tree(groups)
    for each in plans:
        tree.add(each, 0)
    while starts := [each for each in todo(tree) if isinstance(each, Start)]:
        for start in starts:
            tree.opened(start.name, 0)
    assert all(tree.state(name) is State.READY for name in tree.names())
    return tree


def test_every_state_is_reached_and_leads_to_the_end() -> None:
    reached, new = {State.WAITING}, {State.WAITING}
    while new:
        new = {after for state in new for after in TRANSITIONS[state].values()} - reached
        reached |= new
    assert reached == set(State) == set(TRANSITIONS)

    ends = {State.STOPPED}
    for _ in State:
        ends |= {state for state, row in TRANSITIONS.items() if ends & set(row.values())}
    assert ends == set(State)
    assert {event for row in TRANSITIONS.values() for event in row} == set(Event)


def test_each_begins_when_what_it_needs_is_ready() -> None:
    tree = Tree()
    for each in (plan("a"), plan("b", ("a",)), plan("c", ("b",)), plan("d")):
        tree.add(each, 0)
    assert todo(tree) == [Start("a"), Start("d")]
    assert tree.why("c") == "it waits for b"
    tree.opened("a", 1)
    assert todo(tree) == [Start("b")]
    assert not tree.is_settled
    tree.opened("b", 1)
    tree.opened("c", 1)
    tree.opened("d", 1)
    assert tree.is_settled


def test_a_wanted_one_comes_first_but_is_not_waited_for_when_it_fails() -> None:
    tree = Tree()
    tree.add(plan("a"), 0)
    tree.add(plan("b", wants=("a",)), 0)
    assert todo(tree) == [Start("a")]
    tree.ended("a", Failure("no"), 0, 0.5)
    assert todo(tree) == [Start("b")]
    tree.opened("b", 0)
    assert tree.state("a") is State.BACKING_OFF
    assert tree.is_settled
    tree.handle_time(tree.next_deadline())
    assert todo(tree) == [Start("a")]
    assert tree.state("b") is State.READY


def test_what_needs_a_broken_one_ends_before_it_restarts_and_starts_after() -> None:
    tree = raised(plan("a"), plan("b", ("a",)), plan("c", ("b",)), plan("d", wants=("a",)))
    tree.breaking("a", "boom", 10)
    assert [tree.state(name) for name in "abcd"] == ["stopping"] * 3 + ["ready"]
    assert todo(tree) == [Leave("c")]
    tree.ended("a", Failure("boom"), 10, 0.5)
    assert tree.retry_at("a") == pytest.approx(10.05)
    tree.handle_time(10.05)
    assert todo(tree) == []  # c still runs
    tree.ended("c", None, 10.1, 0)
    assert todo(tree) == [Leave("b")]
    tree.ended("b", None, 10.2, 0)
    assert todo(tree) == [Start("a")]
    tree.opened("a", 10.3)
    assert todo(tree) == [Start("b")]
    tree.opened("b", 10.3)
    assert todo(tree) == [Start("c")]
    tree.opened("c", 10.3)
    assert [tree.restarts(name) for name in "abcd"] == [1, 1, 1, 0]
    assert [tree.last_failure(name) for name in "abcd"] == ["boom", "", "", ""]


def test_a_hang_is_cancelled_after_those_that_need_it() -> None:
    tree = raised(plan("a"), plan("b", ("a",)))
    tree.hung("a", "it did not answer", 10)
    assert todo(tree) == [Cancel("b")]
    tree.ended("b", None, 10, 0)
    assert todo(tree) == [Cancel("a")]
    tree.ended("a", None, 10, 0)
    assert tree.state("a") is State.BACKING_OFF
    assert tree.last_failure("a") == "it did not answer"


def test_one_that_takes_too_long_to_open_is_cancelled_and_tried_again() -> None:
    tree = Tree()
    tree.add(plan("a"), 0)
    assert tree.next_deadline() == 5
    tree.handle_time(5)
    assert todo(tree) == [Start("a"), Cancel("a")]
    tree.opened("a", 5)  # too late
    assert tree.state("a") is State.STOPPING
    tree.ended("a", None, 5, 0)
    assert tree.last_failure("a") == "it was not ready within 5 s"
    tree.handle_time(5)
    assert todo(tree) == [Start("a")]


def test_one_that_does_not_end_is_cancelled_then_reported_then_left_behind() -> None:
    tree = raised(plan("a"), plan("b", ("a",)))
    tree.restart("a", "asked", 10)
    assert todo(tree) == [Leave("b")]
    tree.handle_time(12)
    assert todo(tree) == [Cancel("b")]
    tree.handle_time(tree.next_deadline())
    assert todo(tree) == [Stuck("b"), Leave("a")]
    assert "ignores" in tree.why("b")
    tree.ended("a", None, 15, 0)
    assert todo(tree) == [Start("a")]
    tree.opened("a", 15)
    assert todo(tree) == []
    tree.ended("b", None, 99, 0)
    assert todo(tree) == [Start("b")]


def test_pauses_grow_to_a_bound_and_begin_anew_after_a_steady_time() -> None:
    config = SupervisorConfig(loop_failures=100)
    tree = Tree(config=config)
    tree.add(plan("a"), 0)
    tree.opened("a", 0)
    pauses, now = [], 0.0
    for _ in range(14):
        tree.ended("a", Failure("x"), now, 1.0)
        pauses.append(tree.retry_at("a") - now)
        now = tree.retry_at("a")
        tree.handle_time(now)
        tree.opened("a", now)
    assert pauses[:4] == pytest.approx([0.1, 0.15, 0.3, 0.6])
    assert pauses[-1] == pytest.approx(45)
    tree.ended("a", Failure("x"), now + config.steady_s, 1.0)
    assert tree.retry_at("a") - now - config.steady_s == pytest.approx(0.1)


def crash_loop(tree: Tree, name: str, now: float) -> float:
    """Let it fail as often as it takes to be given up."""
    for _ in range(tree.config.loop_failures + 1):
        tree.breaking(name, "x", now)
        for other in reversed(tree.dependants(name)):
            if tree.state(other) is State.STOPPING:
                tree.ended(other, None, now, 0)
        tree.ended(name, Failure("x"), now, 0)
        if tree.state(name) is State.BACKING_OFF:
            now = tree.retry_at(name)
            tree.handle_time(now)
            tree.opened(name, now)
    return now


def test_a_crash_loop_of_an_optional_one_ends_in_a_long_pause() -> None:
    tree = raised(plan("a"), plan("b"))
    now = crash_loop(tree, "a", 10)
    assert [tree.state(name) for name in "ab"] == ["failed", "ready"]
    assert tree.retry_at("a") == now + tree.config.retry_s
    assert End("a") not in todo(tree)
    tree.handle_time(now + tree.config.retry_s)
    assert tree.state("a") is State.STARTING


def test_somebody_may_have_a_failed_one_tried_at_once() -> None:
    tree = raised(plan("a"))
    crash_loop(tree, "a", 10)
    tree.restart("a", "asked", 20)
    assert tree.state("a") is State.STARTING
    tree.ended("a", Failure("x"), 20, 0)
    assert tree.state("a") is State.BACKING_OFF


def test_a_crash_loop_of_an_essential_one_ends_the_tree() -> None:
    tree = raised(plan("a", essential=True))
    crash_loop(tree, "a", 10)
    assert todo(tree)[-1] == End("a")


def test_a_group_starts_afresh_once_and_is_then_given_up_alone() -> None:
    tree = raised(
        plan("x"),
        plan("a", group="g", essential=True),
        plan("b", group="g"),
        groups=(Group("g"),),
    )
    now = crash_loop(tree, "a", 10)
    assert [tree.state(name) for name in "xab"] == ["ready", "starting", "stopping"]
    tree.ended("b", None, now, 0)
    tree.opened("a", now)
    tree.opened("b", now)
    assert tree.group_state("g") is State.READY
    now = crash_loop(tree, "a", now)
    tree.ended("b", None, now, 0)
    assert [tree.state(name) for name in "xab"] == ["ready", "failed", "failed"]
    assert tree.group_state("g") is State.FAILED
    assert not any(isinstance(each, End) for each in todo(tree))
    tree.handle_time(now + tree.config.retry_s)
    assert [tree.state(name) for name in "xab"] == ["ready", "starting", "starting"]


def test_an_essential_group_takes_its_parents_with_it() -> None:
    groups = (Group("outer", essential=True), Group("inner", "outer", essential=True))
    tree = raised(plan("a", group="inner", essential=True), groups=groups)
    now = 10.0
    for expected in (False, False, True):  # inner afresh, outer afresh, the end
        now = crash_loop(tree, "a", now)
        assert (End("a") in todo(tree)) is expected
        if not expected:
            tree.opened("a", now)


def test_at_the_start_an_essential_failure_and_one_for_the_owner_end_the_tree() -> None:
    for essential, lasting in ((True, False), (False, True)):
        tree = Tree()
        tree.add(plan("a", essential=essential), 0)
        tree.ended("a", Failure("no", lasting), 0, 0)
        assert todo(tree) == [Start("a"), End("a")]
    tree = raised(plan("a"))
    tree.ended("a", Failure("no", True), 10, 0)
    assert todo(tree) == []
    assert tree.state("a") is State.BACKING_OFF


def test_everything_stops_in_the_reverse_order() -> None:
    tree = raised(plan("a"), plan("b", wants=("a",)), plan("c", ("b",)))
    tree.stop(10)
    order = []
    while leaves := todo(tree):
        assert len(leaves) == 1 and isinstance(leaves[0], Leave)
        order.append(leaves[0].name)
        tree.ended(leaves[0].name, None, 10, 0)
    assert order == ["c", "b", "a"]
    assert tree.is_stopped
    assert all(tree.state(name) is State.STOPPED for name in "abc")


def test_stopping_waits_neither_for_pauses_nor_for_stuck_ones() -> None:
    tree = raised(plan("a"), plan("b"), plan("c", ("b",)))
    tree.ended("a", Failure("x"), 10, 1)
    tree.stop(10)
    assert tree.state("a") is State.STOPPED
    now = 10.0
    while not tree.is_stopped:
        now = tree.next_deadline()
        tree.handle_time(now)
    assert now <= 10 + 2 * (2 + 2.5)
    assert [each.name for each in tree.take() if isinstance(each, Stuck)] == ["c", "b"]


def test_a_failure_during_the_stop_starts_nothing() -> None:
    tree = raised(plan("a"))
    tree.breaking("a", "x", 10)
    tree.stop(10)
    tree.ended("a", Failure("x"), 10, 0)
    assert tree.is_stopped
    assert todo(tree) == []


def test_plans_that_do_not_fit_are_refused() -> None:
    tree = Tree((Group("g"),))
    tree.add(plan("a"), 0)
    for wrong in (
        plan("a"),
        plan("b", ("missing",)),
        plan("b", wants=("b",)),
        plan("b", group="missing"),
    ):
        with pytest.raises(LocalProtocolError, match="service"):
            tree.add(wrong, 0)
    assert tree.names() == ("a",)
    for groups in ((Group("g"), Group("g")), (Group("h", "g"), Group("g"))):
        with pytest.raises(LocalProtocolError, match="group"):
            Tree(groups)
    for number in range(99):
        tree.add(plan(f"n{number}"), 0)
    with pytest.raises(LocalProtocolError, match="at most 100"):
        tree.add(plan("one too many"), 0)
    tree.stop(0)
    with pytest.raises(LocalProtocolError, match="too late"):
        tree.add(plan("late"), 0)


def test_stops_for_others_do_not_count_against_a_steady_service() -> None:
    tree = raised(plan("a"), plan("b", ("a",)))
    tree.ended("b", Failure("x"), 1, 1.0)
    tree.handle_time(tree.next_deadline())
    tree.opened("b", 2)
    for now in (5, 10):  # b was never ready for ten seconds at a time
        tree.restart("a", "asked", now)
        tree.ended("b", None, now, 0)
        tree.ended("a", None, now, 0)
        tree.opened("a", now)
        tree.opened("b", now)
    tree.ended("b", Failure("x"), 12, 1.0)
    assert tree.retry_at("b") == pytest.approx(12.1)
    tree.handle_time(tree.next_deadline())
    tree.opened("b", 12.1)
    tree.ended("b", Failure("x"), 13, 1.0)
    assert tree.retry_at("b") == pytest.approx(13.15)
