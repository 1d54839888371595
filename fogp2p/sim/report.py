"""The result of a run: for programs, for people, and as a picture."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from fogp2p.errors import ConfigError
from fogp2p.schema import about, named

from .faults import CALM

__all__ = [
    "BrokenAnswer",
    "Sample",
    "ScenarioAnswer",
    "ScenariosAnswer",
    "SimulationAnswer",
    "SimulationsAnswer",
    "draw_picture",
    "lines",
]


@dataclass(frozen=True, slots=True)
class Sample:
    """The state of the world at one moment."""

    at_s: float = field(metadata=about("virtual seconds since the beginning", minimum=0))
    phase: str = field(metadata=about("prepare, safety or liveness"))
    running: int = field(metadata=about("nodes that are up", minimum=0))
    share: float = field(metadata=about("how far along everybody is, 0 to 1"))
    carried_bytes: int = field(metadata=about("handed over on all streams so far", minimum=0))
    delivered: int = field(metadata=about("what reached a program so far", minimum=0))


@dataclass(frozen=True, slots=True)
class BrokenAnswer:
    """The invariant that did not hold."""

    name: str = field(metadata=about("which one"))
    reason: str = field(metadata=about("what was seen"))
    at_s: float = field(metadata=about("virtual seconds since the beginning", minimum=0))


@dataclass(frozen=True, slots=True)
class SimulationRun:
    """One run of one scenario."""

    scenario: str = field(metadata=about("its name"))
    seed: int = field(metadata=about("equal seeds, equal runs", minimum=0))
    peers: int = field(metadata=about("simulated machines", minimum=2))
    minutes: float = field(metadata=about("virtual minutes of the safety phase"))
    faults: dict[str, float] = field(metadata=about("what went wrong and how often, by name"))
    trace: str = field(metadata=about("64 hexadecimal digits: equal for equal runs"))
    events: int = field(metadata=about("events in the trace", minimum=0))
    converged: bool = field(metadata=about("whether everybody was level again in time"))
    converged_after_s: float | None = field(
        metadata=about("virtual seconds from healing until then; null: not within the limit")
    )
    figures: dict[str, float] = field(metadata=about("what the scenario measured, by name"))
    invariants: dict[str, int] = field(metadata=about("how often each was checked"))
    broken: BrokenAnswer | None = field(metadata=about("the first that did not hold, or null"))
    replay: str = field(metadata=about("the command that repeats exactly this run"))
    virtual_s: float = field(metadata=about("virtual seconds in all", minimum=0))
    real_s: float = field(metadata=about("seconds that it took here", minimum=0))
    segments: int = field(metadata=about("pieces of data that were carried", minimum=0))
    carried_bytes: int = field(metadata=about("their bytes", minimum=0))
    samples: tuple[Sample, ...] = field(metadata=about("the course of the run"))

    @property
    def succeeded(self) -> bool:
        """Whether every invariant held."""
        return self.broken is None


@named("simulation/1")
@dataclass(frozen=True, slots=True)
class SimulationAnswer(SimulationRun):
    """One run by itself."""


@named("simulations/1")
@dataclass(frozen=True, slots=True)
class SimulationsAnswer:
    """Several runs of one scenario."""

    runs: tuple[SimulationRun, ...] = field(metadata=about("in the order of their seeds"))


@dataclass(frozen=True, slots=True)
class ScenarioAnswer:
    """A scenario that can be run."""

    name: str = field(metadata=about("what to call it by"))
    minutes: float = field(metadata=about("virtual minutes with faults, unless told otherwise"))
    story: str = field(metadata=about("in a line"))


@named("scenarios/1")
@dataclass(frozen=True, slots=True)
class ScenariosAnswer:
    """All scenarios."""

    scenarios: tuple[ScenarioAnswer, ...] = field(metadata=about("by name"))


def lines(answer: SimulationAnswer) -> list[str]:
    """The result for people."""
    usual = dataclasses.asdict(CALM)
    wrong = {name: value for name, value in answer.faults.items() if value != usual[name]}
    found = [
        f"{answer.scenario}: {answer.peers} peers, seed {answer.seed}, {answer.minutes:g} min",
        "faults: " + (", ".join(f"{k} {v:.3g}" for k, v in wrong.items()) or "none"),
        _convergence(answer),
        *(f"{name.replace('_', ' ')}: {value:,.6g}" for name, value in answer.figures.items()),
        f"carried: {answer.carried_bytes:,} bytes in {answer.segments:,} segments",
        f"invariants: {len(answer.invariants)}, checked {sum(answer.invariants.values()):,} times",
        f"time: {answer.virtual_s:,.0f} s virtual in {answer.real_s:.1f} s",
        f"trace: {answer.trace} ({answer.events:,} events)",
    ]
    if answer.broken is not None:
        found += [
            f"BROKEN at {answer.broken.at_s:.3f} s: {answer.broken.name}",
            f"  {answer.broken.reason}",
            f"  replay: {answer.replay}",
        ]
    return found


def _convergence(answer: SimulationAnswer) -> str:
    if answer.converged_after_s is None:
        return "converged: no"
    return f"converged: {answer.converged_after_s:.1f} s after healing"


def draw_picture(answer: SimulationAnswer, path: Path) -> None:
    """Draw the course of the run. Raises ConfigError without matplotlib or for a bad path."""
    try:
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise ConfigError(
            "pictures need matplotlib", hint="pip install 'fogp2p[pictures]'"
        ) from exc
    figure = Figure(figsize=(8, 8), layout="constrained")
    plots = figure.subplots(3, 1, sharex=True)
    at = [sample.at_s / 60 for sample in answer.samples]
    rows = [
        ([sample.share for sample in answer.samples], "share that is level"),
        ([sample.carried_bytes / 1e6 for sample in answer.samples], "MB carried"),
        ([float(sample.delivered) for sample in answer.samples], "delivered"),
    ]
    for plot, (values, label) in zip(plots, rows, strict=True):
        plot.plot(at, values, drawstyle="steps-post", label=label)
        plot.set_ylabel(label)
        plot.set_ylim(bottom=0)
        for before, after in zip(answer.samples, answer.samples[1:], strict=False):
            if before.phase != after.phase:
                plot.axvline(after.at_s / 60, color="grey", linestyle=":")
    running = [sample.running / answer.peers for sample in answer.samples]
    plots[0].plot(at, running, color="grey", linewidth=0.8, label="share that runs")
    plots[0].legend(loc="lower right")
    plots[0].set_title(f"{answer.scenario}, {answer.peers} peers, seed {answer.seed}")
    plots[-1].set_xlabel("virtual minutes (dotted: phases begin)")
    try:
        figure.savefig(path)
    except (OSError, ValueError) as exc:
        raise ConfigError(
            f"cannot write the picture {path}: {exc}", hint="name a .png, .svg or .pdf"
        ) from exc
