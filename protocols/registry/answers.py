"""What programs get to know of the registry."""

from __future__ import annotations

from dataclasses import dataclass, field

from fogp2p.schema import about, named

from .alarms import Alarm
from .descriptor import Descriptor
from .handler import Registry

__all__ = ["AlarmAnswer", "DescriptorAnswer", "RegistryAnswer", "registry_answer"]


@dataclass(frozen=True, slots=True)
class DescriptorAnswer:
    """What one peer says of itself."""

    peer: str = field(metadata=about("the peer's id"))
    sequence: int = field(metadata=about("rises with each new description", minimum=0))
    issued: int = field(metadata=about("seconds since 1970-01-01 UTC by the peer's clock"))
    expires: int = field(metadata=about("from then on it is not believed any more"))
    roles: tuple[str, ...] = field(metadata=about("what it does for others"))
    addresses: tuple[str, ...] = field(metadata=about("where it says it is; hints"))
    capacity: dict[str, int] = field(metadata=about("what it says it can carry, by name"))
    software: str = field(metadata=about("for people", maxLength=64))
    first_hand: bool = field(metadata=about("whether it came from the peer itself"))


@dataclass(frozen=True, slots=True)
class AlarmAnswer:
    """Something the owner should know of."""

    kind: str = field(metadata=about("equivocated, withheld, forged or rolled-back"))
    peer: str = field(metadata=about("whom it is about"))
    source: str | None = field(metadata=about("who told us"))
    at: float = field(metadata=about("seconds since 1970-01-01 UTC"))
    text: str = field(metadata=about("for people"))


@named("registry/1")
@dataclass(frozen=True, slots=True)
class RegistryAnswer:
    """The registry as this peer holds it."""

    own: DescriptorAnswer | None = field(metadata=about("what this peer says; null: see problem"))
    held: int = field(metadata=about("descriptions of other peers", minimum=0))
    roles: dict[str, int] = field(metadata=about("how many of them have each role"))
    mirrors: tuple[str, ...] = field(metadata=about("connected peers that answer"))
    descriptors: tuple[DescriptorAnswer, ...] = field(metadata=about("of the role asked for"))
    alarms: tuple[AlarmAnswer, ...] = field(metadata=about("the latest, the oldest first"))
    problem: str = field(metadata=about("why this peer is not described as it should be, or empty"))


def registry_answer(
    registry: Registry, *, role: str | None = None, limit: int = 64
) -> RegistryAnswer:
    """The answer with at most `limit` descriptors, of one role or of any."""
    others = registry.descriptors()
    counts: dict[str, int] = {}
    for each in others:
        for name in each.roles:
            counts[name] = counts.get(name, 0) + 1
    asked = others if role is None else registry.descriptors(role)
    own = registry.own()
    return RegistryAnswer(
        own=_described(own, first_hand=True) if own is not None else None,
        held=len(others),
        roles=dict(sorted(counts.items())),
        mirrors=tuple(map(str, registry.mirrors())),
        descriptors=tuple(
            _described(each, first_hand=registry.store.is_first_hand(each.peer))
            for each in asked[:limit]
        ),
        alarms=tuple(map(_alarm, registry.alarms())),
        problem=registry.problem(),
    )


def _described(descriptor: Descriptor, *, first_hand: bool) -> DescriptorAnswer:
    return DescriptorAnswer(
        peer=str(descriptor.peer),
        sequence=descriptor.sequence,
        issued=descriptor.issued,
        expires=descriptor.expires,
        roles=descriptor.roles,
        addresses=tuple(str(address) for address in descriptor.multiaddrs()),
        capacity=dict(descriptor.capacity),
        software=descriptor.software,
        first_hand=first_hand,
    )


def _alarm(alarm: Alarm) -> AlarmAnswer:
    source = str(alarm.source) if alarm.source is not None else None
    return AlarmAnswer(alarm.kind.value, str(alarm.peer), source, alarm.at, alarm.text)
