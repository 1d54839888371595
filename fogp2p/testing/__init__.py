"""For people who test against fogp2p: simulation, a disk that fails, and the host contract.

Public and kept compatible like the rest. Nothing in the library itself imports it.
"""

from .database import MemoryEngine
from .disk import Fault, MemoryDisk
from .simulation import Trace, run_simulation, sim_environment
from .vectors import Vectors, load_vectors

__all__ = [
    "Fault",
    "MemoryDisk",
    "MemoryEngine",
    "Trace",
    "Vectors",
    "load_vectors",
    "run_simulation",
    "sim_environment",
]
