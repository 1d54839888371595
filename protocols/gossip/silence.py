"""Notices a mesh that brings nothing: who of it brings messages, and how many came round it.

Pure. Only first deliveries of verified messages count, which nobody can claim without having them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from fogp2p.ids import PeerId

from .config import SILENT_AFTER, SILENT_MESSAGES, SILENT_SHARE

__all__ = ["Silence"]

# The share is that of about so many last messages.
_REMEMBERED = 16.0


@dataclass(slots=True)
class _Topic:
    heard: int = 0
    recent: float = 0.0
    missed: float = 0.0
    brought: dict[PeerId, int] = field(default_factory=dict)


class Silence:
    """Counts for our own topics and the members of their meshes."""

    def __init__(self) -> None:
        self._topics: dict[str, _Topic] = {}

    def joined(self, topic: str, peer: PeerId) -> None:
        """`peer` is in the mesh; it has until twenty more messages came."""
        found = self._topics.setdefault(topic, _Topic())
        found.brought[peer] = found.heard

    def left(self, topic: str, peer: PeerId) -> None:
        """It is not any more."""
        if topic in self._topics:
            self._topics[topic].brought.pop(peer, None)

    def forget(self, topic: str) -> None:
        """We left the topic."""
        self._topics.pop(topic, None)

    def heard(self, topic: str, relay: PeerId, *, is_author: bool) -> None:
        """A valid message came first from `relay`; `is_author`: who also wrote it."""
        found = self._topics.setdefault(topic, _Topic())
        found.heard += 1
        in_mesh = relay in found.brought
        kept = 1 - 1 / _REMEMBERED
        found.recent = found.recent * kept + 1
        found.missed = found.missed * kept + (not in_mesh and not is_author)
        if in_mesh:
            found.brought[relay] = found.heard

    def is_failing(self, topic: str) -> bool:
        """Whether more than a quarter of the last messages came round the mesh."""
        found = self._topics.get(topic)
        return (
            found is not None
            and found.heard >= SILENT_MESSAGES
            and found.missed > SILENT_SHARE * found.recent
        )

    def silent(self, topic: str, members: Iterable[PeerId]) -> list[PeerId]:
        """Members that brought none of the last twenty, the longest silent first."""
        found = self._topics.get(topic)
        if found is None:
            return []
        silent = [
            peer
            for peer in members
            if found.heard - found.brought.get(peer, found.heard) >= SILENT_AFTER
        ]
        return sorted(silent, key=lambda peer: found.brought[peer])
