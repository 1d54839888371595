"""The durable store: nothing is acknowledged before it is on disk.

SQLite in one thread, group commit, journals with quotas, and a state that says what is wrong.
What it promises and what not: docs/explain/durability.md.
"""

from .config import StoreConfig
from .copying import check_store_file, copy_store
from .engine import Engine, FileEngine
from .errors import (
    StoreBusy,
    StoreDamaged,
    StoreFull,
    StoreNewer,
    StoreReadOnly,
    StoreUnavailable,
)
from .journal import Entry, Journal, Outbox
from .parts import Eviction, Migration, Part, Quota, Transaction
from .status import StoreStatus, Usage
from .store import Store, open_store

__all__ = [
    "Engine",
    "Entry",
    "Eviction",
    "FileEngine",
    "Journal",
    "Migration",
    "Outbox",
    "Part",
    "Quota",
    "Store",
    "StoreBusy",
    "StoreConfig",
    "StoreDamaged",
    "StoreFull",
    "StoreNewer",
    "StoreReadOnly",
    "StoreStatus",
    "StoreUnavailable",
    "Transaction",
    "Usage",
    "check_store_file",
    "copy_store",
    "open_store",
]
