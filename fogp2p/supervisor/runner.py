"""Does what the machine decides: opens services, watches them, and ends them, on trio."""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio

from fogp2p.environment import DiskError, Environment
from fogp2p.errors import ConfigError, FogError, KeystoreError, LocalProtocolError
from fogp2p.supervision import contained
from fogp2p.tasks import open_tasks

from .config import LATE_S, MISSES, SupervisorConfig
from .errors import Drill, ServiceDown, ServiceFault
from .machine import Tree
from .service import Probe, Service
from .status import GroupStatus, ServiceStatus, hint_of
from .values import Cancel, Changed, End, Failure, Group, Leave, Start, State, Stuck

__all__ = ["Supervisor", "open_services"]

_LOG = logging.getLogger(__name__)
# Only the owner can mend these: a wrong setting, a full disk, keys that do not open.
_LASTING = (ConfigError, DiskError, KeystoreError)


@asynccontextmanager
async def open_services(
    services: Sequence[Service],
    environment: Environment,
    *,
    groups: Sequence[Group] = (),
    config: SupervisorConfig | None = None,
    on_change: Callable[[Changed], None] | None = None,
) -> AsyncIterator[Supervisor]:
    """Run the services while the context lasts; it opens when all are ready, or will not be soon.

    At the start the failure of an essential service, and of any that only its owner can mend, is
    raised at once. Later an essential service that is given up ends the context with its error.
    In every case the services end in the reverse order of their start, also when the caller is
    cancelled. `on_change` is called for each change of a state; it must not raise.

    Raises LocalProtocolError("service-plan") for services that are not in an order of starting.
    """
    async with open_tasks() as lives:
        supervisor = Supervisor(lives, environment, Tree(groups, config), on_change)
        try:
            async with open_tasks() as watching:
                watching.start_soon(supervisor.watch)
                await supervisor.add(*services)
                yield supervisor
                watching.cancel_scope.cancel()
        finally:
            await supervisor.aclose()


@dataclass(slots=True)
class _Life:
    """One life of a service, from opening to its end."""

    # Cancelled by the supervisor alone, so that services end in order whoever is cancelled.
    scope: trio.CancelScope = field(default_factory=lambda: trio.CancelScope(shield=True))
    leave: trio.Event = field(default_factory=trio.Event)
    drill: str = ""


class Supervisor:
    """Made by `open_services`."""

    def __init__(
        self,
        lives: trio.Nursery,
        environment: Environment,
        tree: Tree,
        on_change: Callable[[Changed], None] | None,
    ) -> None:
        self._nursery = lives
        self._random = environment.random
        self._tree = tree
        self.on_change = on_change
        """Called for each change of a state; it must not raise."""
        self._services: dict[str, Service] = {}
        self._lives: dict[str, _Life] = {}
        self._values: dict[str, Any] = {}
        self._failures: dict[str, Exception] = {}
        self._ending: str | None = None
        self._news = trio.lowlevel.ParkingLot()

    # --- for those who use services --------------------------------------------------------------

    def value(self, name: str) -> Any:
        """What the service gave when it opened. Raises ServiceDown while it is not ready."""
        if self._state(name) is not State.READY:
            raise self._down(name)
        return self._values[name]

    def is_ready(self, name: str) -> bool:
        """Whether there is such a service and it is ready."""
        return name in self._services and self._tree.state(name) is State.READY

    def services(self) -> tuple[ServiceStatus, ...]:
        """All services in an order of starting."""
        return tuple(self._describe(name) for name in self._tree.names())

    def groups(self) -> tuple[GroupStatus, ...]:
        """All groups, parents first."""
        return tuple(
            GroupStatus(
                name=group.name,
                parent=group.parent,
                state=self._tree.group_state(group.name),
                essential=group.essential,
                members=tuple(
                    name for name in self._tree.names() if self._tree.plan(name).group == group.name
                ),
            )
            for group in self._tree.groups()
        )

    def names(self, group: str) -> tuple[str, ...]:
        """The services of a group, in an order of starting."""
        return tuple(name for name in self._tree.names() if self._tree.plan(name).group == group)

    async def add(self, *services: Service) -> None:
        """Run more services; return when they are ready, or will not be soon.

        Raises LocalProtocolError("service-plan") for one that does not fit; what `open_services`
        raises at the start ends the tree here, too.
        """
        for service in services:
            self._tree.add(service.plan, trio.current_time())
            self._services[service.name] = service
            self._act()
        await self.settled()

    @property
    def is_stopping(self) -> bool:
        """Whether the tree ends."""
        return self._tree.is_closing

    def restart(self, name: str) -> None:
        """Have the service and those that need it end in an orderly way and start again.

        Returns at once. Tries a failed one immediately. Raises LocalProtocolError("no-service").
        """
        self._state(name)
        self._tree.restart(name, "a restart was asked for", trio.current_time())
        self._act()

    def crash(self, name: str) -> None:
        """A drill: make a ready service fail, as if by an error of its own, and return at once.

        Raises ServiceDown when it is not ready, LocalProtocolError("no-service").
        """
        if self._state(name) is not State.READY:
            raise self._down(name)
        life = self._lives[name]
        life.drill = "a failure was asked for"
        life.leave.set()

    async def settled(self) -> None:
        """Wait until nothing is starting or stopping."""
        while not self._tree.is_settled or self._ending is not None:
            await self._news.park()

    # --- for `open_services` ---------------------------------------------------------------------

    async def watch(self) -> None:
        """Do what is due; raise the error of an essential service that was given up."""
        while True:
            if self._ending is not None:
                raise self._failures[self._ending]
            await self._step()

    async def aclose(self) -> None:
        """End all services in order. Stuck ones were reported; the others do not wait for them."""
        with trio.CancelScope(shield=True):
            self._tree.stop(trio.current_time())
            self._act()
            while not self._tree.is_stopped:
                await self._step()

    async def _step(self) -> None:
        with trio.move_on_at(self._tree.next_deadline()):
            await self._news.park()
        self._tree.handle_time(trio.current_time())
        self._act()

    def _act(self) -> None:
        """Do what the machine wants done."""
        outputs = self._tree.take()
        for output in outputs:
            match output:
                case Start(name):
                    self._lives[name] = life = _Life()
                    self._nursery.start_soon(self._live, name, life)
                case Leave(name):
                    self._lives[name].leave.set()
                case Cancel(name):
                    self._lives[name].scope.cancel()
                case Stuck(name):
                    _LOG.error("service_stuck name=%s reason=it ignores being cancelled", name)
                case End(name):
                    self._ending = self._ending or name
                case Changed():
                    self._tell(output)
        if outputs:
            self._news.unpark_all()

    def _tell(self, change: Changed) -> None:
        is_news = change.restarts or change.after in (State.BACKING_OFF, State.FAILED)
        _LOG.log(
            logging.INFO if is_news and not self.is_stopping else logging.DEBUG,
            "service_changed name=%s from=%s to=%s restarts=%d reason=%s",
            change.name,
            change.before,
            change.after,
            change.restarts,
            change.reason,
        )
        if self.on_change is not None:
            self.on_change(change)

    # --- one service -----------------------------------------------------------------------------

    async def _live(self, name: str, life: _Life) -> None:
        """One life of a service; whatever it raises stays here."""
        failure = await contained(partial(self._serve, name, life))
        self._values.pop(name, None)
        del self._lives[name]
        if failure is not None:
            self._note(name, failure)
        told = Failure(_text(failure), isinstance(failure, _LASTING)) if failure else None
        if failure is None:
            # The machine knows why: it hung, or it was asked to end.
            self._failures[name] = ServiceFault(f"{name}: {self._tree.why(name)}")
        self._tree.ended(name, told, trio.current_time(), self._random.random())
        self._act()

    async def _serve(self, name: str, life: _Life) -> None:
        service = self._services[name]
        with life.scope:
            async with service.open() as value:
                self._values[name] = value
                self._tree.opened(name, trio.current_time())
                self._act()
                try:
                    async with open_tasks() as inside:
                        if service.probe is not None:
                            inside.start_soon(self._watch_over, name, service.probe, value)
                        await life.leave.wait()
                        inside.cancel_scope.cancel()
                    if life.drill:
                        raise Drill(f"{name}: {life.drill}", hint="the supervisor restarts it")
                finally:
                    # No news to one that was told to end. Otherwise nobody may use it from now on.
                    reason = life.drill or "it ended by itself"
                    self._tree.breaking(name, reason, trio.current_time())
                    self._act()

    async def _watch_over(self, name: str, probe: Probe, value: Any) -> None:
        missed, is_clear = 0, True
        while True:
            if not missed and is_clear:
                await trio.sleep(probe.interval_s)
            problem, is_clear = await self._ask(probe, value)
            if is_clear:
                missed = missed + 1 if problem else 0
            if missed >= MISSES:
                self._tree.hung(name, problem, trio.current_time())
                self._act()
                await trio.sleep_forever()  # cancelled with the service

    async def _ask(self, probe: Probe, value: Any) -> tuple[str, bool]:
        """What is wrong with the service (empty for nothing), and whether that is clear."""
        deadline = trio.current_time() + probe.deadline_s
        failure: Exception | None = None
        with trio.move_on_at(deadline) as scope:
            failure = await contained(partial(probe.check, value))
        if scope.cancelled_caught:
            # When even the deadline was late, this process stood still: no fault of the service's.
            is_clear = trio.current_time() - deadline <= LATE_S
            return f"it did not answer within {probe.deadline_s:g} s", is_clear
        return f"its probe failed: {_text(failure)}" if failure is not None else "", True

    def _note(self, name: str, failure: Exception) -> None:
        self._failures[name] = failure
        if isinstance(failure, FogError):
            _LOG.warning("service_failed name=%s reason=%s", name, failure)
        else:
            _LOG.error("service_broken name=%s", name, exc_info=failure)

    # --- what is known ---------------------------------------------------------------------------

    def _state(self, name: str) -> State:
        if name not in self._services:
            near = difflib.get_close_matches(name, self._services, n=1)
            raise LocalProtocolError(
                f"there is no service {name}",
                code="no-service",
                hint=f"is it {near[0]}?" if near else f"there are {', '.join(self._services)}",
            )
        return self._tree.state(name)

    def _down(self, name: str) -> ServiceDown:
        status = self._describe(name)
        return ServiceDown(f"{name} is {status.state}: {status.why}", hint=hint_of(status))

    def _describe(self, name: str) -> ServiceStatus:
        tree, now = self._tree, trio.current_time()
        plan, retry_at = tree.plan(name), tree.retry_at(name)
        return ServiceStatus(
            name=name,
            group=plan.group,
            state=tree.state(name),
            essential=plan.essential,
            needs=plan.needs,
            wants=plan.wants,
            since_s=now - tree.since(name),
            restarts=tree.restarts(name),
            last_failure=tree.last_failure(name),
            retry_in_s=max(0.0, retry_at - now) if retry_at < math.inf else None,
            why=tree.why(name),
        )


def _text(failure: Exception) -> str:
    """One line for people."""
    if isinstance(failure, FogError):
        return str(failure)
    return f"{type(failure).__name__}: {failure}".partition("\n")[0]
