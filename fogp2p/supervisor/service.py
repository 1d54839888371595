"""How a service is declared: what opens it, what it stands on, and how to see that it lives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import trio

from fogp2p.tasks import open_tasks

from .errors import ServiceFault
from .values import Plan

__all__ = ["Probe", "Service", "fixed", "running"]

T = TypeVar("T")

# Parts open sockets and read small files: five seconds are ages, on a Raspberry Pi, too.
READY_S: Final = 5.0
# Goodbyes to peers and a last write to the disk (limits.SHUTDOWN_GRACE_S).
STOP_S: Final = 2.0
# Two probes missed in a row are noticed within 3 s of a hang.
PROBE_INTERVAL_S: Final = 1.0
PROBE_DEADLINE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Probe:
    """Shows that an open service does its work.

    `check` gets what the service gave, and raises or does not return when something is wrong.
    """

    check: Callable[[Any], Awaitable[None]]
    interval_s: float = PROBE_INTERVAL_S
    deadline_s: float = PROBE_DEADLINE_S


@dataclass(frozen=True, slots=True)
class Service:
    """A part that runs under a supervisor.

    `open` makes a context manager that is open once the part works; what it gives is the service's
    value. An exception that leaves it, or its body being cancelled, is a failure. It is left
    without an exception to end in an orderly way.

    `needs`: services that must be ready first; it stops before any of them restarts and starts
    after. `wants`: services it starts after, if they come; it survives their restarts. Both name
    services declared before it.

    `essential`: when it is given up, its group starts afresh or is given up, too, and in the end
    the whole tree ends with its error. Otherwise the tree goes on without it.
    """

    name: str
    open: Callable[[], AbstractAsyncContextManager[Any]]
    group: str = ""
    needs: tuple[str, ...] = ()
    wants: tuple[str, ...] = ()
    essential: bool = False
    probe: Probe | None = None
    ready_s: float = READY_S
    stop_s: float = STOP_S

    @property
    def plan(self) -> Plan:
        """What the machine needs to know."""
        return Plan(
            self.name,
            self.group,
            self.needs,
            self.wants,
            self.essential,
            self.ready_s,
            self.stop_s,
        )


def fixed(value: T) -> Callable[[], AbstractAsyncContextManager[T]]:
    """`Service.open` for something that is there already and outlives the tree."""

    @asynccontextmanager
    async def hand_over() -> AsyncIterator[T]:
        yield value

    return hand_over


def running(
    task: Callable[..., Awaitable[object]],
) -> Callable[[], AbstractAsyncContextManager[Any]]:
    """`Service.open` for `async def task(task_status)`: ready when it calls `started`.

    What it passes to `started` is the service's value. It is cancelled to end it; returning
    before that is a failure.
    """

    @asynccontextmanager
    async def run() -> AsyncIterator[Any]:
        async with open_tasks() as nursery:

            async def until_it_ends(task_status: trio.TaskStatus[Any]) -> None:
                await task(task_status=task_status)
                raise ServiceFault("it ended by itself")

            yield await nursery.start(until_it_ends)
            nursery.cancel_scope.cancel()

    return run
