"""What a scenario is, and how one is run: safety with faults, then liveness on a healed world."""

from __future__ import annotations

import dataclasses
import gc
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Final

import trio

from fogp2p.environment import Environment
from fogp2p.errors import FogError
from fogp2p.tasks import open_tasks
from fogp2p.testing import Trace, run_simulation
from fogp2p.transports.memory.host import MemoryHost

from .faults import CALM, HEALTHY, KINDS, FaultMix, draw_mix, heal, inflict
from .report import BrokenAnswer, Sample, SimulationAnswer
from .world import NO_FOREIGN_EXCEPTION, SimNode, SimWorld, Up

__all__ = ["MAX_PEERS", "InvariantBroken", "Options", "Scenario", "simulate"]

# Beyond it one process has no memory for it: about 0.7 MB for each peer.
MAX_PEERS: Final = 2_000
# New objects between two collections of garbage: a fifth of the time at Python's own 700.
_GARBAGE_OBJECTS: Final = 200_000
# Looks at the world in one safety phase, for the picture.
_SAMPLES: Final = 120
_PROBE_S: Final = 1.0
# Virtual time for everybody to start and meet.
_PREPARE_LIMIT_S: Final = 900.0
PREPARES: Final = "scenario.prepares"
CONVERGES: Final = "scenario.converges"


class InvariantBroken(FogError):
    """A simulated run broke one of its invariants: there is a fault in the code that ran in it."""

    number = "FOG-SIM-001"


@dataclass(frozen=True, slots=True)
class Options:
    """One run. `minutes`: of the safety phase; None for the scenario's own. `faults`: draw faults
    from the seed; False for a network on which only what the scenario is about goes wrong."""

    peers: int = 50
    seed: int = 1
    minutes: float | None = None
    faults: bool = True


class Scenario(ABC):
    """A story with a name. One object lives for one run.

    Order of calls: `prepare`, `safety` while faults are inflicted, `recover` on the healed world,
    `progress` until it is 1 or `settle_s` is over, `figures`.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    minutes: ClassVar[float]
    settle_s: ClassVar[float]
    """How long a healed world may take to become level."""
    kinds: ClassVar[frozenset[str]] = KINDS
    """Faults that may be drawn; the others are the scenario's own, or would end it."""

    def __init__(self, world: SimWorld) -> None:
        self.world = world
        self.delivered = 0

    def mix(self, drawn: FaultMix) -> FaultMix:
        """The faults of the safety phase, given those that were drawn."""
        return drawn

    def degree(self) -> int:
        """How many earlier nodes each node dials."""
        return 3

    def neighbours(self, node: SimNode) -> list[SimNode]:
        """Whom a node knows from the start: a random graph, the same in all of its lives."""
        earlier = self.world.nodes[: node.number]
        chosen = self.world.chance(f"graph/{node.name}")
        return chosen.sample(earlier, min(self.degree(), len(earlier)))

    @abstractmethod
    async def live(self, node: SimNode, host: MemoryHost, environment: Environment, up: Up) -> None:
        """The process of one node: start everything, call `up`, run until cancelled."""

    @abstractmethod
    async def prepare(self) -> None:
        """From nothing to a world that is ready, on a healthy network."""

    @abstractmethod
    async def safety(self, seconds: float) -> None:
        """What happens while faults are inflicted; ends after `seconds`."""

    async def recover(self) -> None:
        """Called once when everything works again: by default all nodes start."""
        await self.world.start_all(self.world.nodes)

    @abstractmethod
    def share(self) -> float:
        """How many are level now, as a share, as far as looking tells: for the picture."""

    async def progress(self) -> float:
        """How many are level, as a share: 1 ends the run. May ask peers to find out."""
        return self.share()

    @abstractmethod
    def figures(self) -> dict[str, float]:
        """What was measured."""


def simulate(
    kind: type[Scenario],
    options: Options,
    say: Callable[[str], None] = lambda line: None,
) -> SimulationAnswer:
    """Run a scenario. A broken invariant is in the answer, not raised; other failures are."""

    async def main(trace: Trace) -> SimulationAnswer:
        return await _Run(kind, options, trace, say).run()

    began = time.perf_counter()
    with _Complaints() as complaints, _rare_collections():
        answer, trace = run_simulation(options.seed, main)
    broken = answer.broken
    if broken is None and complaints.first:
        broken = BrokenAnswer(NO_FOREIGN_EXCEPTION, complaints.first, answer.virtual_s)
    return dataclasses.replace(
        answer,
        trace=trace.digest,
        events=trace.events,
        broken=broken,
        real_s=round(time.perf_counter() - began, 3),
    )


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Look for garbage in cycles rarely: a thousand nodes are much to look through each time."""
    usual = gc.get_threshold()
    gc.set_threshold(_GARBAGE_OBJECTS, usual[1], usual[2])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


class _Complaints(logging.Handler):
    """Hears of handlers that failed by something that is no FogError: their streams hide it."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.first = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and not self.first:
            self.first = f"{record.getMessage()}: {record.exc_info[1]!r}"

    def __enter__(self) -> _Complaints:
        logging.getLogger("fogp2p").addHandler(self)
        return self

    def __exit__(self, *exc: object) -> None:
        logging.getLogger("fogp2p").removeHandler(self)


class _Run:
    """The phases of one run."""

    def __init__(
        self,
        kind: type[Scenario],
        options: Options,
        trace: Trace,
        say: Callable[[str], None],
    ) -> None:
        self._kind = kind
        self._options = options
        self._trace = trace
        self._say = say
        self._minutes = options.minutes if options.minutes is not None else kind.minutes
        self._samples: list[Sample] = []
        self._phase = "prepare"
        self._share = 0.0
        self._converged_after: float | None = None
        self._ended = 0.0

    async def run(self) -> SimulationAnswer:
        async with open_tasks() as nursery:
            world = SimWorld(self._options.seed, self._options.peers, self._trace, nursery, HEALTHY)
            scenario = self._kind(world)
            world.body = scenario.live
            drawn = CALM
            if self._options.faults:
                source = world.chance("faults/mix")
                drawn = draw_mix(source, scenario.kinds)
            mix = scenario.mix(drawn)
            nursery.start_soon(self._watch, world, scenario)
            await self._phases(world, scenario, mix)
            nursery.cancel_scope.cancel()
        # Here also after an invariant broke, which cancels everything.
        return self._answer(world, scenario, mix)

    async def _phases(self, world: SimWorld, scenario: Scenario, mix: FaultMix) -> None:
        with trio.move_on_after(_PREPARE_LIMIT_S) as limit:
            await scenario.prepare()
        if limit.cancelled_caught:
            reason = f"not ready after {_PREPARE_LIMIT_S:g} s on a healthy network"
            world.invariants.violated(PREPARES, reason, trio.current_time())
        self._enter("safety", world, scenario)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(inflict, world, mix)
            await scenario.safety(self._minutes * 60)
            nursery.cancel_scope.cancel()
        heal(world)
        await self._liveness(world, scenario)
        self._sample(world, scenario)
        world.invariants.finish(trio.current_time())

    async def _liveness(self, world: SimWorld, scenario: Scenario) -> None:
        self._enter("liveness", world, scenario)
        began = trio.current_time()
        await scenario.recover()
        while trio.current_time() - began <= scenario.settle_s:
            self._share = await scenario.progress()
            if self._share >= 1:
                self._converged_after = trio.current_time() - began
                world.record(None, "converged", self._converged_after)
                return
            await trio.sleep(_PROBE_S)
        reason = f"{self._share:.1%} are level {scenario.settle_s:g} s after everything was healed"
        world.invariants.violated(CONVERGES, reason, trio.current_time())

    def _enter(self, phase: str, world: SimWorld, scenario: Scenario) -> None:
        self._sample(world, scenario)
        self._phase = phase
        world.record(None, "phase", phase)
        self._say(f"{trio.current_time() / 60:6.1f} min  {phase}")

    async def _watch(self, world: SimWorld, scenario: Scenario) -> None:
        spoken = 0.0
        while True:
            await trio.sleep(max(_PROBE_S, self._minutes * 60 / _SAMPLES))
            self._sample(world, scenario)
            if trio.current_time() - spoken >= 60:
                spoken = trio.current_time()
                sample = self._samples[-1]
                self._say(
                    f"{spoken / 60:6.1f} min  {sample.running} running, "
                    f"{sample.delivered:,} delivered, {sample.carried_bytes / 1e6:,.1f} MB"
                )

    def _sample(self, world: SimWorld, scenario: Scenario) -> None:
        self._ended = trio.current_time()
        self._samples.append(
            Sample(
                at_s=round(trio.current_time(), 3),
                phase=self._phase,
                running=len(world.running()),
                share=round(scenario.share(), 6),
                carried_bytes=world.network.carried_bytes,
                delivered=scenario.delivered,
            )
        )

    def _answer(self, world: SimWorld, scenario: Scenario, mix: FaultMix) -> SimulationAnswer:
        broken = world.invariants.broken
        return SimulationAnswer(
            scenario=scenario.name,
            seed=self._options.seed,
            peers=self._options.peers,
            minutes=self._minutes,
            faults={key: float(value) for key, value in dataclasses.asdict(mix).items()},
            trace="",
            events=0,
            converged=self._converged_after is not None,
            converged_after_s=self._converged_after,
            figures={key: float(value) for key, value in scenario.figures().items()},
            invariants=dict(world.invariants.checked),
            broken=BrokenAnswer(broken.name, broken.reason, broken.at) if broken else None,
            replay=replay(scenario.name, self._options),
            virtual_s=round(broken.at if broken else self._ended, 3),
            real_s=0.0,
            segments=world.network.carried_segments,
            carried_bytes=world.network.carried_bytes,
            samples=tuple(self._samples),
        )


def replay(name: str, options: Options) -> str:
    """The command that repeats a run."""
    words = ["fogp2p", "simulate", name, f"--peers {options.peers}", f"--seed {options.seed}"]
    if options.minutes is not None:
        words.append(f"--minutes {options.minutes:g}")
    if not options.faults:
        words.append("--no-faults")
    return " ".join(words)
