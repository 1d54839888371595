"""For people who test against fogp2p: simulation, a disk that fails, contracts, vectors.

Public and kept compatible like the rest. Nothing in the library itself imports it. Names are loaded
when they are first used: the pytest plugin is loaded in every run of its owner's tests.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .database import MemoryEngine as MemoryEngine
    from .disk import Fault as Fault
    from .disk import MemoryDisk as MemoryDisk
    from .simulation import Trace as Trace
    from .simulation import run_simulation as run_simulation
    from .simulation import sim_environment as sim_environment
    from .vectors import Vectors as Vectors
    from .vectors import load_vectors as load_vectors
    from .world import World as World
    from .world import simulate as simulate

__all__ = [
    "Fault",
    "MemoryDisk",
    "MemoryEngine",
    "Trace",
    "Vectors",
    "World",
    "load_vectors",
    "run_simulation",
    "sim_environment",
    "simulate",
]

_HOMES = {
    "Fault": "disk",
    "MemoryDisk": "disk",
    "MemoryEngine": "database",
    "Trace": "simulation",
    "Vectors": "vectors",
    "World": "world",
    "load_vectors": "vectors",
    "run_simulation": "simulation",
    "sim_environment": "simulation",
    "simulate": "world",
}


def __getattr__(name: str) -> object:
    """Load a public name (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fogp2p.testing' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
