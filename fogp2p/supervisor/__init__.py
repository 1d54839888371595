"""Runs the parts of a peer as services: in order, watched, and restarted when they fail.

Decision: docs/decisions/0006-supervisor.md.
"""

from .child import open_child
from .config import SupervisorConfig
from .errors import Drill, ServiceDown, ServiceFault
from .runner import Supervisor, open_services
from .service import Probe, Service, fixed, running
from .status import GroupStatus, ServiceStatus, hint_of
from .values import Changed, Group, State

__all__ = [
    "Changed",
    "Drill",
    "Group",
    "GroupStatus",
    "Probe",
    "Service",
    "ServiceDown",
    "ServiceFault",
    "ServiceStatus",
    "State",
    "Supervisor",
    "SupervisorConfig",
    "fixed",
    "hint_of",
    "open_child",
    "open_services",
    "running",
]
