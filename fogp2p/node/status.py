"""What a node tells of itself, as plain values that go into JSON as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fogp2p.protocols.blob.answers import BlobsSummary
from fogp2p.protocols.log.answers import GroupsSummary
from fogp2p.schema import named
from fogp2p.supervisor import GroupStatus, ServiceStatus

from .health import Health, Reason, ServiceCounts

__all__ = [
    "NO_ROOMS",
    "DiscoveryStatus",
    "NodeStatus",
    "PeerStatus",
    "Peers",
    "RoomsStatus",
    "Services",
    "explain",
]


@dataclass(frozen=True, slots=True)
class DiscoveryStatus:
    """One way of finding peers; `problem` is empty when all is well."""

    source: str
    seen: int
    problem: str


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """One connected peer. `protocols` maps each agreed protocol to its version."""

    peer_id: str
    address: str
    direction: str
    connected_s: float
    agent: str
    software: str
    protocols: dict[str, str]
    not_agreed: str
    """Why no versions are agreed; empty when they are."""
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RoomsStatus:
    """What this peer keeps and shares; a part is null while it is down or not there."""

    store: Literal["ok", "read-only", "damaged", "newer"] | None
    blobs: BlobsSummary | None
    groups: GroupsSummary | None


NO_ROOMS = RoomsStatus(None, None, None)


@named("peers/1")
@dataclass(frozen=True, slots=True)
class Peers:
    """The connected peers, oldest first."""

    peers: tuple[PeerStatus, ...]


@named("services/1")
@dataclass(frozen=True, slots=True)
class Services:
    """The parts of this peer in an order of starting, and their groups, parents first."""

    services: tuple[ServiceStatus, ...]
    groups: tuple[GroupStatus, ...]


@named("status/1")
@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One screen's worth. Times in seconds, `started_at` since 1970-01-01 UTC."""

    peer_id: str
    name: str
    """What it calls itself: peer.name as configured, or two words that follow from its id."""
    version: str
    key_type: str
    key_encrypted: bool | None
    """None: the keys are in no file."""
    started_at: float
    uptime_s: float
    addresses: tuple[str, ...]
    peers_connected: int
    peers_agreed: int
    peers_wanted: int
    discovery: tuple[DiscoveryStatus, ...]
    echo_messages: int
    echo_bytes: int
    why: str
    """Why there are no peers, or fewer than wanted; empty when there is nothing to explain."""
    health: Health
    reasons: tuple[Reason, ...]
    """Why the health is not ok."""
    services: ServiceCounts
    rooms: RoomsStatus = NO_ROOMS


def explain(
    connected: int,
    wanted: int,
    discovery: Sequence[DiscoveryStatus],
    failures: Sequence[tuple[str, str]],
) -> str:
    """Why a node is alone. `failures`: (peer, reason) of dials that failed."""
    if connected or wanted == 0:
        return ""
    if not discovery:
        return "no way of finding peers is switched on (see [discovery] in the configuration)"
    if failures:
        peer, reason = failures[0]
        others = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
        return f"{peer}{others} was seen but not reached: {reason}"
    problems = [f"{each.source}: {each.problem}" for each in discovery if each.problem]
    if len(problems) == len(discovery):
        return "; ".join(problems)
    if any(each.seen for each in discovery):
        return "the peers that were seen are gone"
    tail = f" ({'; '.join(problems)})" if problems else ""
    return f"no other peer has been seen yet{tail}"
