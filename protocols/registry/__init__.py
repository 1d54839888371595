"""`/fog/registry/1.0.0`: signed descriptions of peers, exchanged, kept and asked for.

Spec: specs/registry/registry-v1.md.
"""

from .alarms import Alarm, AlarmKind
from .config import PROTOCOL
from .descriptor import Claim, Descriptor, OwnFacts, role_key
from .handler import Registry, RegistryEvent, Renewed, Updated, open_registry
from .machine import Equivocation, Store
from .search import Found
from .sequence import OwnSequence

__all__ = [
    "OwnSequence",
    "PROTOCOL",
    "Alarm",
    "AlarmKind",
    "Claim",
    "Descriptor",
    "Equivocation",
    "Found",
    "OwnFacts",
    "Registry",
    "RegistryEvent",
    "Renewed",
    "Store",
    "Updated",
    "open_registry",
    "role_key",
]
