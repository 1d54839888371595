"""Settings and limits of group logs, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fogp2p.ids import ProtocolId

__all__ = ["PROTOCOL_ID", "LogConfig"]

PROTOCOL_ID: Final = ProtocolId("/fog/log/1.0.0")
KIB: Final = 1024
MIB: Final = 1024 * KIB

# --- entries --------------------------------------------------------------------------------------
# A long message; files travel elsewhere and are named here.
MAX_BODY_BYTES: Final = 16 * KIB
# The body, 18 ids and what later versions add.
MAX_CONTENT_BYTES: Final = 17 * KIB
MAX_ENTRY_BYTES: Final = 17_500
# Sixteen writers who did not know of each other are joined by one entry; more need a second one.
MAX_PARENTS: Final = 16
MAX_HEIGHT: Final = 2**31 - 1
MAX_NAME_BYTES: Final = 64
# One epoch key for each of 128 members is 15 KiB: one body.
MAX_MEMBERS: Final = 128
# Admissions are at most so deep; authority is computed level by level.
MAX_LEVEL: Final = 63
# Found, admit, remove and leave entries in one entry's past: a bit each in every entry's mask.
MAX_CONTROLS: Final = 4_096

# --- what a replica holds -------------------------------------------------------------------------
# About 500 bytes of memory for each entry (bodies stay on disk): 100 MB for a full log.
MAX_GROUP_ENTRIES: Final = 200_000
MAX_GROUPS: Final = 256
# Entries that came before their parents: a batch or two from each of a few peers.
MAX_PENDING: Final = 1_024
MAX_PENDING_BYTES: Final = 8 * MIB
MAX_PENDING_PER_AUTHOR: Final = 256
# Of authors that no entry we hold ever admitted: enough to begin with, too few to flood.
MAX_PENDING_STRANGERS: Final = 64
# Entries of one removed or muted author kept without being shown; honest ones need a handful.
MAX_HIDDEN_PER_AUTHOR: Final = 1_024

# --- synchronising --------------------------------------------------------------------------------
# A list of 512 ids, sixteen answers of sixteen parts, or three of the largest entries.
MAX_FRAME_BYTES: Final = 64 * KIB
MAX_HEADS: Final = 64
MAX_RANGES: Final = 16
MAX_PARTS: Final = 16
MAX_LIST: Final = 512
MAX_WANT: Final = 256
MAX_BATCH: Final = 64
# A range with so few keys is listed: cheaper than another round of fingerprints.
LEAF: Final = 8
# Queries in one session: 200,000 keys need five rounds; the rest is for scattered differences.
MAX_QUERIES: Final = 256
# Entries found missing in one session; what is beyond it is found by the next.
MAX_FOUND: Final = 1_024
# Asking for missing parents this many times before ranges are compared.
CHASE_STEPS: Final = 4
# Frontiers that differ by more than this are reconciled without a chase.
CHASE_ENTRIES: Final = 64
# Queries one peer may ask: a burst for a long absence, then the pace of a slow reader. An adverse
# query costs about 30 ms, so one peer takes at most a third of a core.
QUERY_RATE: Final = 10.0
QUERY_BURST: Final = 300.0
# What brings nothing new (entries known already, messages for groups that are not shared) is read
# at this pace after a burst: about 50 ms of work a second. Two peers who both push what a third
# lacks repeat each other by right, so it is slowed down and not held against anybody.
IDLE_RATE: Final = 500.0
IDLE_BURST: Final = 20_000.0
# What a message other than entries counts.
IDLE_MESSAGE: Final = 5.0
# Messages and unanswered requests that wait for one peer.
MAX_QUEUED_QUERIES: Final = 4
MAX_OWED: Final = 4_096
MAX_OUTBOX: Final = 1_024
# A peer that answers nothing for so long is asked again at the next period.
ANSWER_TIMEOUT_S: Final = 15.0
STREAM_TIMEOUT_S: Final = 20.0
OPEN_TIMEOUT_S: Final = 10.0
# New streams of one peer within a minute: one, and a few after faults.
MAX_STREAMS_PER_MINUTE: Final = 6

# --- conduct --------------------------------------------------------------------------------------
# Points of a peer; forgotten by half in ten minutes, and refused beyond the limit.
BREACH: Final = 25.0
BROKEN_PROMISE: Final = 5.0
BARRED_ABOVE: Final = 100.0
CONDUCT_HALF_LIFE_S: Final = 600.0
MAX_CONDUCT: Final = 2_000


@dataclass(frozen=True, slots=True)
class LogConfig:
    """How eagerly replicas talk. `debounce_s`: changes within it are told of together.

    `period_s`: how often frontiers are compared even without a change.
    """

    debounce_s: float = 0.2
    period_s: float = 30.0
