"""The decisions of the supervisor as a value: what happened goes in, what is to be done comes out.

Theory of operation. Every service is in one state, and `values.TRANSITIONS` is all it may do. A
service is *live* while its task runs (starting, ready, stopping). Two rules make the order:

* it begins only when all it needs is ready, nothing it wants is about to be, and none of those
  that need it is live any more;
* it is told to end only when none of those that need it is live.

Whatever takes a ready service away (a failure, a hang, a restart) therefore first marks everything
that needs it, however indirectly, as stopping; the rules do the rest. Nothing else is touched,
until a service is given up as essential: then its group starts afresh, and in the end the tree.

Services are declared after what they need and want, so that the order of declaration is an order
of starting and there are no circles.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from fogp2p.errors import LocalProtocolError

from .config import CANCEL_S, MAX_SERVICES, SupervisorConfig
from .values import (
    TRANSITIONS,
    Cancel,
    Changed,
    End,
    Event,
    Failure,
    Group,
    Leave,
    Output,
    Plan,
    Start,
    State,
    Stuck,
)

__all__ = ["Tree"]


_LIVE: Final = frozenset({State.STARTING, State.READY, State.STOPPING})
_PAUSED: Final = frozenset({State.BACKING_OFF, State.FAILED})


class _Asked(enum.IntEnum):
    """How far a stopping service was told so."""

    NOTHING = 0  # those that need it come first
    LEAVE = 1
    CANCEL = 2
    STUCK = 3


@dataclass(slots=True)
class _Record:
    plan: Plan
    since: float
    state: State = State.WAITING
    deadline: float = math.inf  # of opening or ending
    asked: _Asked = _Asked.NOTHING
    rough: bool = False  # no orderly end: cancel it
    fate: Event = Event.HALTED  # how its ending will count
    reason: str = ""  # why it is where it is
    began: int = 0
    was_ready: bool = False
    last_failure: str = ""
    failures: deque[float] = field(default_factory=deque)  # those within the window
    streak: int = 0  # failures since it was steady
    up_since: float = math.inf  # ready again after its last failure; stops for others do not count
    retry_at: float = math.inf

    @property
    def is_live(self) -> bool:
        return self.state in _LIVE and self.asked is not _Asked.STUCK


class Tree:
    """All services, their states, and what is to be done next (`take`, `next_deadline`)."""

    def __init__(
        self, groups: Sequence[Group] = (), config: SupervisorConfig | None = None
    ) -> None:
        """Raises LocalProtocolError("service-plan") for groups not declared after their parent."""
        self.config = config if config is not None else SupervisorConfig()
        self._groups: dict[str, Group] = {}
        self._fresh_starts: dict[str, deque[float]] = {}
        self._records: dict[str, _Record] = {}
        self._above: dict[str, set[str]] = {}  # who needs it, however indirectly
        self._after: dict[str, set[str]] = {}  # or wants it
        self._output: list[Output] = []
        self._closing = False
        for group in groups:
            if group.name in self._groups or not group.name:
                raise _wrong(f"group {group.name!r} is declared twice")
            if group.parent and group.parent not in self._groups:
                raise _wrong(f"group {group.name} comes after its parent {group.parent}")
            self._groups[group.name] = group
            self._fresh_starts[group.name] = deque()

    # --- what happened ---------------------------------------------------------------------------

    def add(self, plan: Plan, now: float) -> None:
        """Take a service into the tree; it begins when what it needs is ready.

        Raises LocalProtocolError("service-plan") for a name that is taken, or a need, want or
        group that was not declared before; the tree is unchanged then.
        """
        self._check(plan)
        self._records[plan.name] = _Record(plan, now)
        self._above[plan.name], self._after[plan.name] = set(), set()
        for other in self._records:
            if other in plan.needs or self._above[other].intersection(plan.needs):
                self._above[other].add(plan.name)
            before = {*plan.needs, *plan.wants}
            if other in before or self._after[other] & before:
                self._after[other].add(plan.name)
        self._advance(now)

    def opened(self, name: str, now: float) -> None:
        """The service is open. Too late for one that is stopping already."""
        record = self._records[name]
        if record.state is State.STARTING:
            record.was_ready, record.deadline = True, math.inf
            record.up_since = min(record.up_since, now)
            self._move(record, Event.OPENED, now, "")
            self._advance(now)

    def breaking(self, name: str, reason: str, now: float) -> None:
        """The service is ending though nobody told it to: nothing may use it any more."""
        record = self._records[name]
        if record.state in (State.STARTING, State.READY):
            self._halt(name, Event.BROKE, reason, now, rough=False)
            record.asked, record.deadline = _Asked.LEAVE, now + record.plan.stop_s
            self._advance(now)

    def hung(self, name: str, reason: str, now: float) -> None:
        """The service does not answer: it is cancelled, after those that need it."""
        if self._records[name].state in (State.STARTING, State.READY):
            self._halt(name, Event.BROKE, reason, now, rough=True)
            self._advance(now)

    def ended(self, name: str, failure: Failure | None, now: float, chance: float) -> None:
        """The service's task is gone. `chance`: uniform in 0..1."""
        record = self._records[name]
        if record.state is State.READY:
            self.breaking(name, failure.reason if failure else "", now)
        fate = record.fate if record.state is State.STOPPING else Event.BROKE
        record.deadline, record.rough = math.inf, False
        if failure is None:
            failure = Failure(record.reason or "it ended by itself")
        if fate is Event.BROKE:
            self._count(record, failure, now)
        record.asked, record.fate = _Asked.NOTHING, Event.HALTED
        if self._closing:
            self._move(record, Event.RETIRE, now, "")
        elif fate is Event.BROKE:
            self._judge(record, failure, now, chance)
        elif fate is Event.GIVE_UP:
            self._pause(record, now)
        else:
            self._move(record, fate, now, record.reason)
        self._advance(now)

    def restart(self, name: str, reason: str, now: float) -> None:
        """End the service in an orderly way, with those that need it, and start them again.

        One that is backing off or has failed is tried at once, and its failures are forgotten.
        """
        record = self._records[name]
        if record.state in _PAUSED:
            self._retry(record, now, reason, forget=True)
        elif record.state in (State.STARTING, State.READY):
            self._halt(name, Event.HALTED, reason, now, rough=False)
        self._advance(now)

    def stop(self, now: float) -> None:
        """End everything, in the reverse order of starting. `is_stopped` tells when it is done."""
        self._closing = True
        for record in reversed(self._records.values()):
            if record.state in (State.STARTING, State.READY):
                self._halt_one(record, Event.HALTED, "the peer stops", now, rough=False)
            elif record.state is not State.STOPPING and record.state is not State.STOPPED:
                self._move(record, Event.RETIRE, now, "")
        self._advance(now)

    def handle_time(self, now: float) -> None:
        """Do what is due. Call it at `next_deadline`, or at any time."""
        for name, record in self._records.items():
            if record.state in _PAUSED and record.retry_at <= now:
                self._retry(record, now, "its pause is over", forget=False)
            elif record.deadline > now:
                continue
            elif record.state is State.STARTING:
                reason = f"it was not ready within {record.plan.ready_s:g} s"
                self._halt(name, Event.BROKE, reason, now, rough=True)
            elif record.asked is _Asked.LEAVE:
                self._cancel(record, now)
            else:
                record.asked, record.deadline = _Asked.STUCK, math.inf
                self._output.append(Stuck(name))
        self._advance(now)

    # --- what is to be done, and what is known ---------------------------------------------------

    def take(self) -> tuple[Output, ...]:
        """What is to be done, in this order; once."""
        taken, self._output = tuple(self._output), []
        return taken

    def next_deadline(self) -> float:
        """When `handle_time` has something to do; infinity for never."""
        times = (
            record.retry_at if record.state in _PAUSED else record.deadline
            for record in self._records.values()
        )
        return min(times, default=math.inf)

    def names(self) -> tuple[str, ...]:
        """All services in an order of starting."""
        return tuple(self._records)

    def groups(self) -> tuple[Group, ...]:
        """All groups, parents first."""
        return tuple(self._groups.values())

    def plan(self, name: str) -> Plan:
        """As it was added."""
        return self._records[name].plan

    def state(self, name: str) -> State:
        """The service's state."""
        return self._records[name].state

    def since(self, name: str) -> float:
        """When it came into this state."""
        return self._records[name].since

    def restarts(self, name: str) -> int:
        """How often it was started, after the first time."""
        return max(0, self._records[name].began - 1)

    def last_failure(self, name: str) -> str:
        """Why it failed the last time; empty if it never did."""
        return self._records[name].last_failure

    def retry_at(self, name: str) -> float:
        """When it is tried again; infinity when that is not settled by time."""
        record = self._records[name]
        return record.retry_at if record.state in _PAUSED else math.inf

    def dependants(self, name: str) -> tuple[str, ...]:
        """Those that need it, however indirectly, in an order of starting."""
        return tuple(other for other in self._records if other in self._above[name])

    def why(self, name: str) -> str:
        """Why the service is not ready, for people; empty when it is."""
        record = self._records[name]
        match record.state:
            case State.READY:
                return ""
            case State.WAITING:
                missing = [n for n in record.plan.needs if self.state(n) is not State.READY]
                return f"it waits for {', '.join(missing)}" if missing else "it waits for its turn"
            case State.STOPPING if record.asked is _Asked.STUCK:
                return f"it ignores being cancelled ({record.reason})"
            case State.FAILED:
                return record.last_failure or record.reason
            case _:
                return record.reason

    def group_state(self, name: str) -> State:
        """What the states of its members, and theirs, come to: the worst that is going on."""
        states = {self._records[member].state for member in self._members(name)}
        order = (State.FAILED, State.BACKING_OFF, State.STOPPING, State.STARTING, State.WAITING)
        worst = next((state for state in order if state in states), None)
        if worst is not None:
            return worst
        return State.STOPPED if states == {State.STOPPED} else State.READY

    @property
    def is_settled(self) -> bool:
        """Nothing is on its way up or down: what is not ready needs time or help."""
        return not any(
            record.state in (State.STARTING, State.STOPPING) or self._is_coming(record)
            for record in self._records.values()
        )

    @property
    def is_closing(self) -> bool:
        """`stop` was called."""
        return self._closing

    @property
    def is_stopped(self) -> bool:
        """All services have ended, but for stuck ones."""
        return self._closing and not any(each.is_live for each in self._records.values())

    # --- order -----------------------------------------------------------------------------------

    def _advance(self, now: float) -> None:
        """Tell those to begin or end whose turn has come."""
        for name, record in self._records.items():
            if record.state is State.WAITING and self._may_begin(record):
                record.began += 1
                record.deadline = now + record.plan.ready_s
                self._move(record, Event.BEGIN, now, "it is starting")
                self._output.append(Start(name))
            elif (
                record.state is State.STOPPING
                and record.asked is _Asked.NOTHING
                and not self._is_used(name)
            ):
                if record.rough:
                    self._cancel(record, now)
                else:
                    record.asked, record.deadline = _Asked.LEAVE, now + record.plan.stop_s
                    self._output.append(Leave(name))

    def _may_begin(self, record: _Record) -> bool:
        plan = record.plan
        return (
            all(self._records[need].state is State.READY for need in plan.needs)
            and not any(self._is_coming(self._records[want]) for want in plan.wants)
            and not self._is_used(plan.name)
        )

    def _is_coming(self, record: _Record) -> bool:
        """Whether it will be ready, or have failed, before long."""
        if record.state is not State.WAITING:
            return record.state is State.STARTING
        needs = [self._records[need] for need in record.plan.needs]
        return all(need.state is State.READY or self._is_coming(need) for need in needs)

    def _is_used(self, name: str) -> bool:
        users = self._after if self._closing else self._above
        return any(self._records[other].is_live for other in users[name])

    def _halt(self, name: str, fate: Event, reason: str, now: float, *, rough: bool) -> None:
        """Mark the service and all that need it, the last first."""
        for other in reversed(self.dependants(name)):
            record = self._records[other]
            if record.state in (State.STARTING, State.READY):
                self._halt_one(record, Event.HALTED, f"{name}: {reason}", now, rough=rough)
        self._halt_one(self._records[name], fate, reason, now, rough=rough)

    def _halt_one(
        self, record: _Record, fate: Event, reason: str, now: float, *, rough: bool
    ) -> None:
        # Half open there is nothing to take leave of.
        record.rough = rough or record.state is State.STARTING
        record.fate, record.asked, record.deadline = fate, _Asked.NOTHING, math.inf
        self._move(record, Event.HALT, now, reason)

    def _cancel(self, record: _Record, now: float) -> None:
        record.asked, record.deadline = _Asked.CANCEL, now + CANCEL_S
        self._output.append(Cancel(record.plan.name))

    # --- failure ---------------------------------------------------------------------------------

    def _count(self, record: _Record, failure: Failure, now: float) -> None:
        if now - record.up_since >= self.config.steady_s:
            record.streak = 0
        record.last_failure, record.up_since = failure.reason, math.inf
        record.failures.append(now)
        _forget(record.failures, now - self.config.loop_window_s)

    def _judge(self, record: _Record, failure: Failure, now: float, chance: float) -> None:
        """It broke: when does it start again, if at all?"""
        if not record.was_ready and (failure.lasting or self._is_vital(record)):
            # At the start somebody looks on and can mend it.
            self._pause(record, now)
            self._output.append(End(record.plan.name))
        elif len(record.failures) > self.config.loop_failures:
            self._pause(record, now)
            if record.plan.essential:
                self._escalate(record.plan.group, record.plan.name, now)
        else:
            record.streak += 1
            record.retry_at = now + self._delay(record.streak, chance)
            self._move(record, Event.BROKE, now, failure.reason)

    def _delay(self, streak: int, chance: float) -> float:
        config = self.config
        if streak == 1:
            return config.first_s * chance
        pause = min(config.again_s * 2.0 ** min(streak - 2, 32), config.most_s)
        return pause * (1 + chance / 2)

    def _pause(self, record: _Record, now: float) -> None:
        record.retry_at = now + self.config.retry_s
        self._move(record, Event.GIVE_UP, now, record.last_failure or record.reason)

    def _retry(self, record: _Record, now: float, reason: str, *, forget: bool) -> None:
        if forget:
            record.failures.clear()
            record.streak = 0
        self._move(record, Event.RETRY, now, reason)

    def _is_vital(self, record: _Record) -> bool:
        """Whether the tree cannot do without it."""
        group = record.plan.group
        essential = record.plan.essential
        while group and essential:
            essential, group = self._groups[group].essential, self._groups[group].parent
        return essential

    def _escalate(self, name: str, cause: str, now: float) -> None:
        """An essential part of the group was given up."""
        if not name:
            self._output.append(End(cause))
            return
        starts = self._fresh_starts[name]
        _forget(starts, now - self.config.loop_window_s)
        if len(starts) < self.config.group_restarts:
            starts.append(now)
            self._renew(name, f"{name} starts afresh because of {cause}", now)
        elif self._groups[name].essential:
            self._escalate(self._groups[name].parent, cause, now)
        else:
            self._give_up(name, f"{name} was given up because of {cause}", now)

    def _renew(self, name: str, reason: str, now: float) -> None:
        for member in self._members(name):
            record = self._records[member]
            if record.state in (State.STARTING, State.READY):
                self._halt(member, Event.HALTED, reason, now, rough=False)
            elif record.state in _PAUSED:
                self._retry(record, now, reason, forget=True)

    def _give_up(self, name: str, reason: str, now: float) -> None:
        for member in self._members(name):
            record = self._records[member]
            if record.state in (State.STARTING, State.READY):
                self._halt(member, Event.GIVE_UP, reason, now, rough=False)
            elif record.state is State.STOPPING:
                record.fate, record.reason = Event.GIVE_UP, reason
            elif record.state in (State.WAITING, State.BACKING_OFF):
                record.reason = reason
                self._pause(record, now)

    def _members(self, group: str) -> list[str]:
        """Its services and those of its subgroups, in an order of starting."""
        inside = {group}
        for each in self._groups.values():  # parents come first
            if each.parent in inside:
                inside.add(each.name)
        return [name for name, each in self._records.items() if each.plan.group in inside]

    # --- the table -------------------------------------------------------------------------------

    def _move(self, record: _Record, event: Event, now: float, reason: str) -> None:
        before = record.state
        record.state, record.since, record.reason = TRANSITIONS[before][event], now, reason
        name = record.plan.name
        self._output.append(Changed(name, before, record.state, reason, self.restarts(name)))

    def _check(self, plan: Plan) -> None:
        if self._closing:
            raise _wrong(f"service {plan.name} comes too late: everything stops")
        if plan.name in self._records:
            raise _wrong(f"service {plan.name} is declared twice")
        if len(self._records) >= MAX_SERVICES:
            raise _wrong(f"at most {MAX_SERVICES} services")
        if plan.group and plan.group not in self._groups:
            raise _wrong(f"service {plan.name} is in no known group: {plan.group}")
        unknown = [name for name in (*plan.needs, *plan.wants) if name not in self._records]
        if unknown:
            raise _wrong(f"service {plan.name} comes after {', '.join(unknown)}")


def _forget(times: deque[float], before: float) -> None:
    while times and times[0] <= before:
        times.popleft()


def _wrong(message: str) -> LocalProtocolError:
    return LocalProtocolError(
        message,
        code="service-plan",
        hint="declare groups and services after what they refer to, each once",
    )
