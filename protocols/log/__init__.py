"""`/fog/log/1.0.0`: logs of groups: causal, signed, encrypted to members, carried by anybody.

Spec: specs/log/log-v1.md.
"""

from .config import PROTOCOL_ID, LogConfig
from .entries import ForkProof, Kind, Role
from .errors import LogDamaged, NotPermitted
from .group import Delivery, Group, GroupMember, GroupStatus
from .handler import Logs, LogsStatus, open_logs
from .machine import ForkFound, MembersChanged, VerdictChanged
from .membership import Verdict
from .storage import MemoryStorage, Storage, Stored

__all__ = [
    "PROTOCOL_ID",
    "Delivery",
    "ForkFound",
    "ForkProof",
    "Group",
    "GroupMember",
    "GroupStatus",
    "Kind",
    "LogConfig",
    "LogDamaged",
    "Logs",
    "LogsStatus",
    "MembersChanged",
    "MemoryStorage",
    "NotPermitted",
    "Role",
    "Storage",
    "Stored",
    "Verdict",
    "VerdictChanged",
    "open_logs",
]
