"""Settings and limits of the store, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from fogp2p.limits import KIB, MIB

__all__ = ["StoreConfig"]

# "fogp" in ASCII: `file` and our own check tell this database from any other.
APPLICATION_ID: Final = 0x666F6770
# The layout of the store's own tables. A room's tables have versions of their own.
FORMAT: Final = 1
# Writes that are committed together. Past it a slow function would hold up too many others.
GROUP_WRITES: Final = 256
# Calls that wait for their turn; further callers wait outside, which holds them back.
WAITING_CALLS: Final = 1_024
# The log is moved into the file when it is longer: bounds the disk, and the time to recover.
CHECKPOINT_BYTES: Final = 4 * MIB
# Another program that looks into the file (a backup, the sqlite3 shell) may hold it that long.
BUSY_TIMEOUT_S: Final = 2.0
# One entry of a journal. Larger things are files that an entry names.
ENTRY_BYTES: Final = 1 * MIB
# Counted on top of payload and key: what an entry costs in pages.
ENTRY_OVERHEAD_BYTES: Final = 64
# Digests have 40 bits, and their sum over so many entries still fits SQLite's 63.
QUOTA_ROWS: Final = 4_000_000
KEY_CHARS: Final = 128
KIND_CHARS: Final = 64
# Entries one read returns at most, and their bytes: it holds up the writers while it runs.
READ_ROWS: Final = 1_000
READ_BYTES: Final = 4 * MIB
# One kibibyte of pages in memory each: 4 MiB of cache.
CACHE_KIB: Final = 4 * KIB


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """`synchronous`: FULL waits for the disk at each commit; NORMAL may lose the last ones.

    NORMAL survives kill -9 like FULL, but not a power cut: acknowledged entries of the last
    seconds may be gone then. That breaks the store's promise, so it is for measurements only.
    """

    synchronous: Literal["FULL", "NORMAL"] = "FULL"
    checkpoint_bytes: int = CHECKPOINT_BYTES
