"""What the router did so far, in numbers with fixed names. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["DROP_LABELS", "GossipStats", "Tally"]

DROP_LABELS: Final[Mapping[str, str]] = {
    "backlog": "not sent: the peer reads too slowly, or its queue is full",
    "stale": "not sent: it waited two seconds for a peer that reads slowly",
    "overload": "refused to its publisher: everything we have takes too long to send",
    "unwanted": "not sent: the peer showed that it has the message",
    "subscriber": "not delivered: our own subscriber reads too slowly, and is told of the gap",
    "muted": "frame not read: its sender's score is below the graylist threshold",
    "peer-rate": "not verified: one peer brought too many",
    "topic-rate": "not passed on: too many in one topic",
    "validator-slow": "not passed on: the topic's validator used up its time",
    "validator-error": "not passed on: the topic's validator failed",
    "forged": "false signature",
    "rejected": "refused by the topic's validator",
    "ignored": "set aside by the topic's validator",
    "unusable": "a message of a form that we do not read",
    "unverifiable": "signed by a kind of key that we do not know",
    "idontwant-rate": "ids of IDONTWANT past what one peer may say in a heartbeat",
}
"""Why messages are dropped: label -> meaning. Labels are stable."""


@dataclass(frozen=True, slots=True)
class GossipStats:
    """Counts since the start, and sizes now. `drops` has the keys of `DROP_LABELS`.

    `verified` counts signatures that were checked, `duplicates` messages that were dropped before
    that; `delivered` messages of others handed to our subscribers, `sent` messages handed to
    streams, `asked` ids asked for by IWANT, `replaced` silent members of a mesh that were replaced.
    """

    published: int
    received: int
    duplicates: int
    verified: int
    delivered: int
    sent: int
    asked: int
    replaced: int
    idontwant_sent: int
    idontwant_received: int
    slow_validations: int
    drops: Mapping[str, int]
    peers: int
    mesh: Mapping[str, int]
    seen: int
    cached: int
    queued: int


class Tally:
    """The counters behind `GossipStats`."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.drops: Counter[str] = Counter()

    def count(self, name: str, by: int = 1) -> None:
        """One of the fields of `GossipStats`."""
        self.counts[name] += by

    def drop(self, label: str, by: int = 1) -> None:
        """A label of `DROP_LABELS`; another is a KeyError."""
        if by:
            DROP_LABELS[label]
            self.drops[label] += by

    def labelled(self) -> dict[str, int]:
        """Every label with its number, also those at zero."""
        return {label: self.drops[label] for label in DROP_LABELS}
