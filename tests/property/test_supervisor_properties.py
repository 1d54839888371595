"""Any tree of services under any faults: order is kept, nothing else is touched, all comes back."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fogp2p.supervisor import State
from fogp2p.supervisor.machine import Tree
from fogp2p.supervisor.values import (
    Cancel,
    Changed,
    End,
    Failure,
    Leave,
    Plan,
    Start,
    Stuck,
)

READY_S, STOP_S = 5.0, 2.0
SHAPES = st.lists(
    st.tuples(st.sets(st.integers(0, 7), max_size=3), st.sets(st.integers(0, 7), max_size=2)),
    min_size=2,
    max_size=8,
)
INDEX = st.integers(0, 7)
CHANCE = st.floats(0, 1)


class Faults(RuleBasedStateMachine):
    """Plays the runner: knows which tasks live, and what each was told."""

    @initialize(shape=SHAPES)
    def grow(self, shape: list[tuple[set[int], set[int]]]) -> None:
        self.now = 0.0
        self.tree = Tree()
        self.needs: dict[str, set[str]] = {}
        self.wants: dict[str, set[str]] = {}
        self.lives: dict[str, str] = {}  # opening, open, told (to end), stuck
        self.harmed: set[str] = set()  # and all that need them, until all is well again
        self.closing = False
        for number, (needs, wants) in enumerate(shape):
            name = str(number)
            self.needs[name] = {str(each) for each in needs if each < number}
            self.wants[name] = {str(each) for each in wants if each < number} - self.needs[name]
            plan = Plan(
                name,
                "",
                tuple(sorted(self.needs[name])),
                tuple(sorted(self.wants[name])),
                False,
                READY_S,
                STOP_S,
            )
            self.tree.add(plan, self.now)
            self.act()

    def above(self, name: str) -> set[str]:
        found = {name}
        for other, needs in self.needs.items():  # in an order of starting
            if needs & found:
                found.add(other)
        return found

    def act(self) -> None:
        """Do what the machine says, and check that it may say so."""
        for output in self.tree.take():
            match output:
                case Start(name):
                    assert not self.closing
                    assert name not in self.lives
                    assert all(self.lives.get(need) == "open" for need in self.needs[name])
                    for other in self.above(name) - {name}:
                        assert self.lives.get(other) in (None, "stuck")
                    self.lives[name] = "opening"
                case Leave(name) | Cancel(name):
                    assert name in self.lives
                    for other in self.above(name) - {name}:
                        assert self.lives.get(other) in (None, "stuck")
                    assert self.closing or name in self.harmed
                    self.lives[name] = "told"
                case Stuck(name):
                    assert self.lives[name] == "told"
                    self.lives[name] = "stuck"
                case End():
                    raise AssertionError("nothing here is essential")
                case Changed(name, before, after):
                    assert before is not after
        if not self.closing and all(self.is_ready(name) for name in self.needs):
            self.harmed.clear()

    def is_ready(self, name: str) -> bool:
        return self.tree.state(name) is State.READY

    def pick(self, index: int, *kinds: str) -> str | None:
        names = [name for name, kind in self.lives.items() if kind in kinds]
        return names[index % len(names)] if names else None

    @rule(index=INDEX)
    def open(self, index: int) -> None:
        name = self.pick(index, "opening")
        if name is not None:
            self.lives[name] = "open"
            self.tree.opened(name, self.now)
            self.act()

    @rule(index=INDEX, chance=CHANCE)
    def crash(self, index: int, chance: float) -> None:
        name = self.pick(index, "opening", "open", "told", "stuck")
        if name is None:
            return
        if self.lives[name] in ("opening", "open"):
            self.harmed |= self.above(name)
        if self.lives[name] == "open":
            self.lives[name] = "told"  # it goes of itself
            self.tree.breaking(name, "broken", self.now)
            self.act()
        del self.lives[name]
        self.tree.ended(name, Failure("broken"), self.now, chance)
        self.act()

    @rule(index=INDEX)
    def hang(self, index: int) -> None:
        name = self.pick(index, "open")
        if name is not None:
            self.harmed |= self.above(name)
            self.tree.hung(name, "it hangs", self.now)
            self.act()

    @rule(index=INDEX)
    def end(self, index: int) -> None:
        name = self.pick(index, "told", "stuck")
        if name is not None:
            del self.lives[name]
            self.tree.ended(name, None, self.now, 0.5)
            self.act()

    @precondition(lambda self: not self.closing)
    @rule(index=INDEX)
    def restart(self, index: int) -> None:
        name = sorted(self.needs)[index % len(self.needs)]
        self.harmed |= self.above(name)
        self.tree.restart(name, "asked", self.now)
        self.act()

    @rule(seconds=st.sampled_from([0.01, 0.5, 3.0, 30.0, 400.0]))
    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while self.tree.next_deadline() <= until:
            self.now = max(self.now, self.tree.next_deadline())
            for name, kind in self.lives.items():
                if kind == "opening":  # its time may be over: it is harmed by being slow
                    self.harmed |= self.above(name)
            self.tree.handle_time(self.now)
            self.act()
        self.now = until

    @precondition(lambda self: not self.closing)
    @rule()
    def all_comes_back(self) -> None:
        """Without more faults everything is ready again, before long."""
        for _ in range(20 * len(self.needs)):
            for name in tuple(self.lives):
                if self.lives.get(name) == "opening":
                    self.lives[name] = "open"
                    self.tree.opened(name, self.now)
                elif self.lives.get(name) in ("told", "stuck"):
                    del self.lives[name]
                    self.tree.ended(name, None, self.now, 0.5)
                self.act()
            if all(self.is_ready(name) for name in self.needs):
                assert self.tree.is_settled
                return
            deadline = self.tree.next_deadline()
            if deadline < float("inf"):
                self.now = max(self.now, deadline)
                for name, kind in self.lives.items():
                    if kind == "opening":
                        self.harmed |= self.above(name)
                self.tree.handle_time(self.now)
                self.act()
        raise AssertionError("something stays down")

    @rule()
    @precondition(lambda self: not self.closing)
    def stop(self) -> None:
        self.closing = True
        self.tree.stop(self.now)
        self.act()

    @invariant()
    def states_and_tasks_agree(self) -> None:
        if not hasattr(self, "tree"):
            return
        for name in self.needs:
            live = self.tree.state(name) in (State.STARTING, State.READY, State.STOPPING)
            assert live is (name in self.lives)
            if self.is_ready(name):
                assert self.lives[name] == "open"
                assert all(self.is_ready(need) for need in self.needs[name])
        if self.closing and not self.lives:
            assert self.tree.is_stopped
            assert all(self.tree.state(name) is State.STOPPED for name in self.needs)


def test_order_is_kept_and_nothing_else_is_touched() -> None:
    run_state_machine_as_test(
        Faults, settings=settings(max_examples=100, stateful_step_count=40, deadline=None)
    )
