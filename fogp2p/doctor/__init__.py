"""The doctor: looks at this machine and this peer's files, and names what to repair.

It works with the peer down, asks nobody on the network, and changes nothing unless told to.
"""

from .context import Context, PeerView
from .diagnose import diagnose, look
from .findings import Diagnosis, Finding, Repaired, Severity, codes
from .repair import repair
from .system import Interface, System, real_system

__all__ = [
    "Context",
    "Diagnosis",
    "Finding",
    "Interface",
    "PeerView",
    "Repaired",
    "Severity",
    "System",
    "codes",
    "diagnose",
    "look",
    "real_system",
    "repair",
]
