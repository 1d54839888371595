"""From the states of services to one word, and the reasons for it. Pure."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

from fogp2p.schema import about
from fogp2p.supervisor import ServiceStatus, State, hint_of

__all__ = ["Health", "Reason", "ServiceCounts", "count", "health_of", "reasons_of"]


class Health(enum.StrEnum):
    """How this peer is."""

    OK = "ok"
    DEGRADED = "degraded"  # it works without some parts
    FAILING = "failing"  # an essential part is down


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the health is not ok."""

    subject: str = field(metadata=about("the part that is down"))
    happened: str
    hint: str = field(metadata=about("what is being done, or what to do; may be empty"))


@dataclass(frozen=True, slots=True)
class ServiceCounts:
    """The parts of this peer, `GET services` has each."""

    total: int
    ready: int
    restarts: int


def health_of(services: Sequence[ServiceStatus]) -> Health:
    """The worst that their states mean."""
    down = [each for each in services if each.state is not State.READY]
    if not down:
        return Health.OK
    return Health.FAILING if any(each.essential for each in down) else Health.DEGRADED


def reasons_of(services: Sequence[ServiceStatus]) -> tuple[Reason, ...]:
    """The causes: parts that only wait for others are left out."""
    return tuple(
        Reason(each.name, f"{each.state}: {each.why}", hint_of(each))
        for each in services
        if each.state not in (State.READY, State.WAITING)
    )


def count(services: Sequence[ServiceStatus]) -> ServiceCounts:
    """How many there are, how many work, and how often they were restarted in all."""
    return ServiceCounts(
        len(services),
        sum(each.state is State.READY for each in services),
        sum(each.restarts for each in services),
    )
