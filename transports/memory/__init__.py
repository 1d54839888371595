"""Hosts that live in one process and talk through memory, on trio's clock.

Under `fogp2p.testing.run_simulation` that clock is virtual and a run repeats exactly from its seed.
"""

from .config import LinkSettings
from .network import MemoryNetwork

__all__ = ["LinkSettings", "MemoryNetwork"]
