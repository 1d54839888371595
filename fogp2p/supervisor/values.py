"""What the supervisor's machine speaks of: states and the one table, plans, and what to do."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = [
    "TRANSITIONS",
    "Cancel",
    "Changed",
    "End",
    "Event",
    "Failure",
    "Group",
    "Leave",
    "Output",
    "Plan",
    "Start",
    "State",
    "Stuck",
]


class State(enum.StrEnum):
    """What a service is doing."""

    WAITING = "waiting"  # for what it needs, or for its turn
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    BACKING_OFF = "backing-off"  # it failed and starts again soon
    FAILED = "failed"  # it failed too often; now and then it is tried again
    STOPPED = "stopped"  # for good


class Event(enum.Enum):
    """What happens to a service."""

    BEGIN = enum.auto()  # its turn has come
    OPENED = enum.auto()
    HALT = enum.auto()  # it must end: it broke or hangs, what it needs went away, somebody asked
    HALTED = enum.auto()  # it has ended through no fault of its own
    BROKE = enum.auto()  # it has ended by a failure
    GIVE_UP = enum.auto()  # by one failure too many, or with its group
    RETRY = enum.auto()  # its pause is over
    RETIRE = enum.auto()  # it has ended, and the tree ends


TRANSITIONS: Final[Mapping[State, Mapping[Event, State]]] = {
    State.WAITING: {
        Event.BEGIN: State.STARTING,
        Event.GIVE_UP: State.FAILED,
        Event.RETIRE: State.STOPPED,
    },
    State.STARTING: {
        Event.OPENED: State.READY,
        Event.HALT: State.STOPPING,
        Event.BROKE: State.BACKING_OFF,
        Event.GIVE_UP: State.FAILED,
    },
    State.READY: {Event.HALT: State.STOPPING},
    State.STOPPING: {
        Event.HALTED: State.WAITING,
        Event.BROKE: State.BACKING_OFF,
        Event.GIVE_UP: State.FAILED,
        Event.RETIRE: State.STOPPED,
    },
    State.BACKING_OFF: {
        Event.RETRY: State.WAITING,
        Event.GIVE_UP: State.FAILED,
        Event.RETIRE: State.STOPPED,
    },
    State.FAILED: {Event.RETRY: State.WAITING, Event.RETIRE: State.STOPPED},
    State.STOPPED: {},
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What the tree knows of a service. `needs` and `wants` name services declared before it.

    `essential`: its group cannot do without it. `ready_s`, `stop_s`: how long opening and an
    orderly end may take.
    """

    name: str
    group: str
    needs: tuple[str, ...]
    wants: tuple[str, ...]
    essential: bool
    ready_s: float
    stop_s: float


@dataclass(frozen=True, slots=True)
class Group:
    """Services that belong together. `parent` is another group, or "" for the tree itself.

    `essential`: the parent cannot do without it.
    """

    name: str
    parent: str = ""
    essential: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a service ended. `lasting`: trying again changes nothing, the owner must act."""

    reason: str
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """Open the service in a task of its own."""

    name: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Let the service end in its own way."""

    name: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel the service's task."""

    name: str


@dataclass(frozen=True, slots=True)
class Stuck:
    """The service ignores cancellation: tell people; others go on without it."""

    name: str


@dataclass(frozen=True, slots=True)
class End:
    """The tree cannot do without service `name`, and it was given up: end with its failure."""

    name: str


@dataclass(frozen=True, slots=True)
class Changed:
    """Service `name` is in another state now."""

    name: str
    before: State
    after: State
    reason: str
    restarts: int


Output = Start | Leave | Cancel | Stuck | End | Changed
