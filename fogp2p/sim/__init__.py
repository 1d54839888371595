"""Whole networks in one process, under a virtual clock, with faults drawn from a seed.

`simulate(SCENARIOS["partition"], Options(peers=50, seed=1))` runs one; see docs/howto/simulate.md.
"""

from .faults import FaultMix, draw_mix
from .invariants import Broken, Event, Invariants
from .report import Sample, SimulationAnswer, draw_picture, lines
from .scenario import InvariantBroken, Options, Scenario, replay, simulate
from .scenarios import SCENARIOS
from .world import SimNode, SimWorld

__all__ = [
    "SCENARIOS",
    "Broken",
    "Event",
    "FaultMix",
    "Invariants",
    "InvariantBroken",
    "Options",
    "Sample",
    "Scenario",
    "SimNode",
    "SimWorld",
    "SimulationAnswer",
    "draw_mix",
    "draw_picture",
    "lines",
    "replay",
    "simulate",
]
