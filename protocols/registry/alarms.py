"""What the owner should know of: proofs and suspicions, each once."""

from __future__ import annotations

import enum
from collections import OrderedDict
from dataclasses import dataclass
from operator import attrgetter

from fogp2p.ids import PeerId

from .config import MAX_ALARMS

__all__ = ["Alarm", "AlarmBook", "AlarmKind"]


class AlarmKind(enum.Enum):
    """What was noticed."""

    EQUIVOCATED = "equivocated"
    """`peer` signed two descriptors with one sequence; the store keeps the proof."""
    WITHHELD = "withheld"
    """`source` had `peer`'s descriptor, said so, and left it out of its answers."""
    FORGED = "forged"
    """`source` passed on what it cannot have checked."""
    ROLLED_BACK = "rolled-back"
    """`source` has a newer descriptor of ours than we do."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """`at` is seconds since 1970 UTC; `text` is for people. `source` told us, if somebody did."""

    kind: AlarmKind
    peer: PeerId
    source: PeerId | None
    at: float
    text: str


class AlarmBook:
    """The latest alarms of each kind. Noticing the same again changes nothing but its time."""

    def __init__(self) -> None:
        self._alarms: dict[AlarmKind, OrderedDict[tuple[PeerId, PeerId | None], Alarm]] = {
            kind: OrderedDict() for kind in AlarmKind
        }

    def add(self, alarm: Alarm) -> bool:
        """Whether this is news."""
        alarms, key = self._alarms[alarm.kind], (alarm.peer, alarm.source)
        known = alarms.pop(key, None) is not None
        alarms[key] = alarm
        if len(alarms) > MAX_ALARMS:
            alarms.popitem(last=False)
        return not known

    def all(self) -> tuple[Alarm, ...]:
        """The oldest first."""
        every = (alarm for alarms in self._alarms.values() for alarm in alarms.values())
        return tuple(sorted(every, key=attrgetter("at")))
