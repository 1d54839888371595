"""What the store says about itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from fogp2p.schema import about, named

__all__ = ["StoreStatus", "Usage"]


@dataclass(frozen=True, slots=True)
class Usage:
    """One journal or table against its quota; quotas are 0 for what nobody has opened yet."""

    name: str
    rows: int
    bytes: int
    quota_rows: int
    quota_bytes: int
    eviction: str = field(metadata=about("what happens when the quota is used up"))
    evicted: int = field(metadata=about("entries that made room for others"))


@named("store/1")
@dataclass(frozen=True, slots=True)
class StoreStatus:
    """The state of the durable store."""

    state: Literal["ok", "read-only", "damaged", "newer"]
    why: str = field(metadata=about("empty while the state is ok"))
    hint: str = field(metadata=about("what the owner can do; may be empty"))
    since: float | None = field(metadata=about("when the state was left: seconds since 1970 UTC"))
    path: str
    file_bytes: int
    log_bytes: int = field(metadata=about("the write-ahead log"))
    commits: int = field(metadata=about("since the store was made"))
    waiting: int = field(metadata=about("calls that wait for their turn"))
    last_commit_s: float = field(metadata=about("how long the last group took; 0 before the first"))
    usage: tuple[Usage, ...]
