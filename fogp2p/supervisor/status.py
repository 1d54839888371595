"""What is known of services, as plain values that go into JSON as they are."""

from __future__ import annotations

from dataclasses import dataclass, field

from fogp2p.schema import about

from .values import State

__all__ = ["GroupStatus", "ServiceStatus", "hint_of"]


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One part of the peer, and why it is in that state."""

    name: str
    group: str = field(metadata=about("the group it belongs to; empty for none"))
    state: State
    essential: bool = field(metadata=about("whether its group cannot do without it"))
    needs: tuple[str, ...] = field(metadata=about("it stops and restarts with these"))
    wants: tuple[str, ...] = field(metadata=about("it starts after these and survives them"))
    since_s: float = field(metadata=about("how long it has been in this state", minimum=0))
    restarts: int = field(metadata=about("starts after the first one", minimum=0))
    last_failure: str = field(metadata=about("empty if it never failed"))
    retry_in_s: float | None = field(metadata=about("null when no pause is under way"))
    why: str = field(metadata=about("why it is not ready; empty when it is"))


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """Parts that belong together; `state` is the worst of theirs."""

    name: str
    parent: str
    state: State
    essential: bool
    members: tuple[str, ...]


def hint_of(status: ServiceStatus) -> str:
    """When the service comes back, for people; empty when it is there."""
    if status.state is State.READY:
        return ""
    if status.retry_in_s is not None:
        return f"it is started again in {status.retry_in_s:.1f} s"
    if status.state is State.STOPPED:
        return "this peer is stopping"
    if status.state is State.WAITING:
        return "it starts as soon as what it needs is ready"
    return "it comes back by itself"
