"""What the store raises."""

from __future__ import annotations

from fogp2p.errors import FogError, LimitExceeded

__all__ = [
    "StoreBusy",
    "StoreDamaged",
    "StoreFull",
    "StoreNewer",
    "StoreReadOnly",
    "StoreUnavailable",
]


class StoreUnavailable(FogError):
    """The store is closed, or nothing of it can be read. Nothing was written."""

    number = "FOG-STORE-001"


class StoreReadOnly(StoreUnavailable):
    """The disk failed once, so nothing is written until the peer is started again.

    Whether the write that met the failure is on disk is unknown; it was not acknowledged.
    """

    number = "FOG-STORE-002"


class StoreDamaged(StoreUnavailable):
    """The file does not hold what was acknowledged. It is kept as it is, and never reset."""

    number = "FOG-STORE-003"


class StoreNewer(StoreUnavailable):
    """A newer fogp2p wrote this store. This one does not touch it."""

    number = "FOG-STORE-004"


class StoreFull(LimitExceeded):
    """The quota of a journal or table is used up and its rule evicts nothing. Nothing was written.

    The caller waits until entries are done, or the owner raises the quota.
    """

    number = "FOG-STORE-005"


class StoreBusy(FogError):
    """Another program holds the database. Nothing was written; try again."""

    number = "FOG-STORE-006"
