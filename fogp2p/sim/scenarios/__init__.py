"""The scenarios, by name."""

from __future__ import annotations

from typing import Final

from fogp2p.sim.scenario import Scenario

from .churn import Churn
from .flash_crowd import FlashCrowd
from .partition import Partition

__all__ = ["SCENARIOS"]

SCENARIOS: Final[dict[str, type[Scenario]]] = {
    kind.name: kind for kind in (Partition, Churn, FlashCrowd)
}
