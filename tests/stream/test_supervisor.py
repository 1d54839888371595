"""Services that fail in every way, under a virtual clock."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing

from fogp2p.errors import ConfigError, LocalProtocolError, TransportError
from fogp2p.supervisor import (
    Changed,
    Drill,
    Group,
    Probe,
    Service,
    ServiceDown,
    ServiceFault,
    ServiceStatus,
    State,
    Supervisor,
    SupervisorConfig,
    fixed,
    open_services,
    running,
)
from fogp2p.tasks import open_tasks
from fogp2p.testing import sim_environment

ENVIRONMENT = sim_environment(1, "supervisor")


@dataclass
class Part:
    """A service that does what a test wants, and writes down when it came and went."""

    name: str
    log: list[str] = field(default_factory=list)
    fault: trio.Event = field(default_factory=trio.Event)
    mute: bool = False
    refuse: int = 0
    refusal: Exception = field(default_factory=lambda: TransportError("cannot open"))
    slow_s: float = 0.0
    deaf: trio.Event | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Part]:
        self.fault, self.mute = trio.Event(), False
        await trio.sleep(self.slow_s)
        if self.refuse:
            self.refuse -= 1
            raise self.refusal
        async with open_tasks() as nursery:
            nursery.start_soon(self._work)
            self.log.append(f"+{self.name}")
            try:
                yield self
            finally:
                if self.deaf is not None:
                    with trio.CancelScope(shield=True):
                        await self.deaf.wait()
                self.log.append(f"-{self.name}")
            nursery.cancel_scope.cancel()

    async def _work(self) -> None:
        await self.fault.wait()
        raise RuntimeError("a bug")

    async def check(self, part: Part) -> None:
        assert part is self
        if self.mute:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()

    def service(self, **more: object) -> Service:
        return Service(self.name, self.open, probe=Probe(self.check), **more)  # type: ignore[arg-type]


class News:
    """Waits for a state of affairs, looking again at each change."""

    def __init__(self) -> None:
        self.changes: list[Changed] = []
        self._lot = trio.lowlevel.ParkingLot()

    def tell(self, change: Changed) -> None:
        self.changes.append(change)
        self._lot.unpark_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(400):
            while not condition():
                await self._lot.park()


def all_ready(supervisor: Supervisor) -> bool:
    return all(each.state is State.READY for each in supervisor.services())


def status(supervisor: Supervisor, name: str) -> ServiceStatus:
    return next(each for each in supervisor.services() if each.name == name)


async def test_values_reach_those_who_need_them(autojump_clock: trio.testing.MockClock) -> None:
    seen: list[object] = []

    @asynccontextmanager
    async def user() -> AsyncIterator[None]:
        seen.append(supervisor_of[0].value("a"))
        yield

    supervisor_of: list[Supervisor] = []
    async with open_services([Service("a", fixed(7))], ENVIRONMENT) as supervisor:
        supervisor_of.append(supervisor)
        await supervisor.add(Service("b", user, needs=("a",)))
        assert seen == [7]
        assert [each.state for each in supervisor.services()] == [State.READY] * 2
    with pytest.raises(ServiceDown, match="a is stopped") as caught:
        supervisor.value("a")
    assert caught.value.hint == "this peer is stopping"


async def test_a_crash_takes_those_that_need_it_along_in_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log: list[str] = []
    a, b, c, d = (Part(name, log) for name in "abcd")
    services = [
        a.service(),
        b.service(needs=("a",)),
        c.service(needs=("b",)),
        d.service(wants=("a",)),
    ]
    news = News()
    async with open_services(services, ENVIRONMENT, on_change=news.tell) as supervisor:
        assert log == ["+a", "+b", "+d", "+c"] or log == ["+a", "+d", "+b", "+c"]
        log.clear()
        a.fault.set()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ServiceDown, match="c is waiting: it waits for b"):
            supervisor.value("c")
        with pytest.raises(ServiceDown, match="a is backing-off: RuntimeError: a bug") as caught:
            supervisor.value("a")
        assert "started again in 0." in caught.value.hint
        await news.until(lambda: all_ready(supervisor))
        assert log.index("-c") < log.index("-b") < log.index("+a") < log.index("+b")
        assert log.index("+b") < log.index("+c")
        assert "-d" not in log
        log.clear()
    assert log.index("-c") < log.index("-b") < log.index("-a")
    assert log.index("-d") < log.index("-a")
    assert {each.name for each in news.changes if each.restarts} == set("abc")


async def test_a_hang_is_noticed_within_three_seconds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    a, b, news = Part("a"), Part("b"), News()
    services = [a.service(), b.service(needs=("a",))]
    async with open_services(services, ENVIRONMENT, on_change=news.tell) as supervisor:
        await trio.sleep(100)
        assert [each.restarts for each in supervisor.services()] == [0, 0]
        a.mute = True
        start = trio.current_time()
        await news.until(lambda: status(supervisor, "b").restarts == 1 and all_ready(supervisor))
        assert trio.current_time() - start < 3.2
        assert status(supervisor, "a").last_failure == "it did not answer within 1 s"


async def test_an_unopenable_port_at_the_start_is_raised_as_it_is(
    autojump_clock: trio.testing.MockClock,
) -> None:
    a = Part("a")
    b = Part("b", refuse=1, refusal=ConfigError("port in use"))
    with pytest.raises(ConfigError, match="port in use"):
        async with open_services([a.service(), b.service(needs=("a",))], ENVIRONMENT):
            raise AssertionError("it never opens")
    assert a.log == ["+a", "-a"]


async def test_an_optional_one_that_does_not_open_delays_nobody_for_long(
    autojump_clock: trio.testing.MockClock,
) -> None:
    a, b, news = Part("a", refuse=2), Part("b"), News()
    services = [a.service(), b.service(wants=("a",))]
    async with open_services(services, ENVIRONMENT, on_change=news.tell) as supervisor:
        assert b.log == ["+b"]
        assert supervisor.services()[0].last_failure == "cannot open"
        await news.until(lambda: all_ready(supervisor))
        assert supervisor.services()[0].restarts == 2


async def test_an_essential_one_that_keeps_failing_ends_the_tree_with_its_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    a, b, news = Part("a"), Part("b"), News()
    services = [a.service(group="g", essential=True), b.service(group="g")]
    groups = [Group("g", essential=True)]
    with pytest.raises(RuntimeError, match="a bug"):
        async with open_services(
            services, ENVIRONMENT, groups=groups, on_change=news.tell
        ) as supervisor:
            for number in range(20):
                a.fault.set()
                await news.until(lambda n=number: status(supervisor, "a").restarts > n)
                await news.until(lambda: all_ready(supervisor))
                assert supervisor.groups()[0].state is State.READY
    assert a.log.count("+a") == a.log.count("-a") == 18  # twice nine: the group starts afresh once
    assert b.log == ["+b", "-b"] * 2


async def test_a_body_that_raises_or_is_cancelled_still_stops_everything_in_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log: list[str] = []
    a, b = Part("a", log), Part("b", log)
    services = [a.service(), b.service(needs=("a",))]
    with pytest.raises(KeyError):
        async with open_services(services, ENVIRONMENT):
            raise KeyError("x")
    assert log == ["+a", "+b", "-b", "-a"]
    log.clear()
    with trio.move_on_after(1) as scope:
        async with open_services(services, ENVIRONMENT):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert log == ["+a", "+b", "-b", "-a"]


async def test_one_that_ignores_cancellation_is_reported_and_does_not_stop_the_others(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    a, b, news = Part("a"), Part("b", deaf=trio.Event()), News()
    async with trio.open_nursery() as nursery:
        services = [a.service(), b.service(needs=("a",))]
        async with open_services(services, ENVIRONMENT, on_change=news.tell) as supervisor:

            async def let_go() -> None:
                await news.until(lambda: status(supervisor, "a").state is State.STOPPED)
                assert b.log == ["+b"]
                assert "ignores" in supervisor.services()[1].why
                assert b.deaf is not None
                b.deaf.set()

            nursery.start_soon(let_go)
    assert "service_stuck name=b" in caplog.text
    assert b.log == ["+b", "-b"]


async def test_drills_and_restarts(autojump_clock: trio.testing.MockClock) -> None:
    a, news = Part("a"), News()
    async with open_services([a.service()], ENVIRONMENT, on_change=news.tell) as supervisor:
        supervisor.crash("a")
        await trio.testing.wait_all_tasks_blocked()
        assert "a failure was asked for" in supervisor.services()[0].last_failure
        with pytest.raises(ServiceDown):
            supervisor.crash("a")
        await news.until(lambda: all_ready(supervisor))
        supervisor.restart("a")
        await supervisor.settled()
        assert supervisor.services()[0].restarts == 2
        with pytest.raises(LocalProtocolError, match="no service aa") as caught:
            supervisor.restart("aa")
        assert caught.value.hint == "is it a?"
    assert Drill.number == "FOG-SVC-003"


async def test_a_task_that_returns_has_failed(autojump_clock: trio.testing.MockClock) -> None:
    done = trio.Event()

    async def task(task_status: trio.TaskStatus[str]) -> None:
        task_status.started("value")
        await done.wait()

    with pytest.raises(ServiceFault, match="ended by itself"):
        async with open_services(
            [Service("a", running(task), essential=True)],
            ENVIRONMENT,
            config=SupervisorConfig(loop_failures=0),
        ) as supervisor:
            assert supervisor.value("a") == "value"
            done.set()
            await trio.sleep_forever()


async def test_a_process_that_stood_still_blames_no_service(
    mock_clock: trio.testing.MockClock,
) -> None:
    a = Part("a")
    async with open_services([a.service()], ENVIRONMENT) as supervisor:
        a.mute = True
        for _ in range(10):
            mock_clock.jump(60)  # its deadline passes long ago, at once
            await trio.testing.wait_all_tasks_blocked()
        assert status(supervisor, "a").restarts == 0
        for _ in range(4):
            mock_clock.jump(1.0)
            await trio.testing.wait_all_tasks_blocked()
        assert status(supervisor, "a").last_failure == "it did not answer within 1 s"


# --- a thousand faults ---------------------------------------------------------------------------

# name, group, needs, wants: a whole peer's shape.
SHAPE: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("store", "", (), ()),
    ("host", "network", (), ()),
    ("versioning", "network", ("host",), ()),
    ("ping", "network", ("host",), ()),
    ("echo", "network", ("versioning",), ()),
    ("watcher", "network", ("versioning",), ("store",)),
    ("known", "discovery", (), ("store",)),
    ("mdns", "discovery", ("host",), ()),
    ("dht", "discovery", ("host",), ()),
    ("connector", "network", ("host",), ("known", "mdns", "dht")),
    ("gossip", "network", ("host",), ("versioning",)),
    ("worker", "", (), ()),
    ("chat", "", ("gossip", "store"), ("watcher",)),
    ("api", "", (), ("host",)),
)


class Child:
    """Stands for a child process: a service that notices when it was killed."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.killed = trio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Part]:
        self.killed = trio.Event()
        async with self.part.open() as part, open_tasks() as nursery:
            nursery.start_soon(self._wait)
            yield part
            nursery.cancel_scope.cancel()

    async def _wait(self) -> None:
        await self.killed.wait()
        raise TransportError("the child process died (killed by signal 9)")


KINDS = ("exception", "exception", "opening", "opening", "hang", "child", "child", "loop")


class Harm:
    """Does one kind of harm to one service after another."""

    def __init__(self, supervisor: Supervisor, news: News) -> None:
        self.supervisor = supervisor
        self.news = news

    async def do(self, kind: str, part: Part, child: Child, allowed: set[str]) -> float:
        """Return how long it took until all was well again, from the harm or from its mending."""
        name, supervisor = part.name, self.supervisor
        before = {each.name: each.restarts for each in supervisor.services()}
        start = trio.current_time()
        if kind == "hang":
            part.mute = True
        elif kind == "child":
            child.killed.set()
        else:
            part.refuse = {"opening": 1, "loop": 99}.get(kind, 0)
            part.fault.set()
        wanted = before[name] + 1 + (kind == "opening")
        if kind == "loop":
            await self.news.until(lambda: status(supervisor, name).state is State.FAILED)
            wanted = status(supervisor, name).restarts + 1
            untouched(supervisor, before, allowed)
            start, part.refuse = trio.current_time(), 0
            supervisor.restart(name)  # somebody mended it
        await self.news.until(
            lambda: (
                all(map(supervisor.is_ready, before))
                and status(supervisor, name).restarts == wanted
            )
        )
        untouched(supervisor, before, allowed)
        return trio.current_time() - start


async def test_a_thousand_faults(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Exceptions, failed openings, hangs, killed children, crash loops: recovery and order."""
    caplog.set_level(logging.CRITICAL, "fogp2p.supervisor")  # thousands of tracebacks
    source = random.Random(20_260_101)
    log: list[str] = []
    parts = {name: Part(name, log) for name, *_ in SHAPE}
    children = {name: Child(part) for name, part in parts.items()}
    above = {name: dependants(name) for name in parts}
    services = [
        Service(name, children[name].open, group, needs, wants, probe=Probe(parts[name].check))
        for name, group, needs, wants in SHAPE
    ]
    groups = [Group("network"), Group("discovery")]
    took: dict[str, list[float]] = {kind: [] for kind in KINDS}
    news = News()
    async with open_services(
        services, sim_environment(7), groups=groups, on_change=news.tell
    ) as supervisor:
        harm = Harm(supervisor, news)
        for _ in range(1_000):
            name, kind = source.choice(list(parts)), source.choice(KINDS)
            await trio.sleep(source.uniform(0.0, 8.0))
            assert all_ready(supervisor)
            log.clear()
            allowed = {name, *above[name]}
            took[kind].append(await harm.do(kind, parts[name], children[name], allowed))
            in_order(log, name, above)
    hangs = took.pop("hang")
    crashes = [each for values in took.values() for each in values]
    assert len(crashes) + len(hangs) == 1_000
    assert min(len(hangs), *map(len, took.values())) >= 100
    assert percentile(crashes, 0.99) < 1.0
    assert percentile(hangs, 0.99) < 6.0


def dependants(name: str) -> set[str]:
    found = {name}
    for other, _, needs, _ in SHAPE:
        if found & set(needs):
            found.add(other)
    return found - {name}


def untouched(supervisor: Supervisor, before: dict[str, int], allowed: set[str]) -> None:
    for each in supervisor.services():
        assert each.restarts == before[each.name] or each.name in allowed, each.name
        assert each.state is State.READY or each.name in allowed


def in_order(log: list[str], failed: str, above: dict[str, set[str]]) -> None:
    """Those that need it are gone before it comes back, and come back after it."""
    ups = [each[1:] for each in log if each[0] == "+"]
    assert set(ups) == {failed, *above[failed]}
    for one in ups:
        for other in above[one] & set(ups):
            assert log.index(f"-{other}") < log.index(f"+{one}") < log.index(f"+{other}")


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)]
