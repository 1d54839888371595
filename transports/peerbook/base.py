"""What both have in common: they see peers, and nothing can be asked or announced through them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager

import trio

from fogp2p.events import EventHub, Gap
from fogp2p.host import Discovery, Sighting

__all__ = ["LocalDiscovery"]


class LocalDiscovery(Discovery):
    """A Discovery that knows what it was given."""

    def __init__(self) -> None:
        self._hub: EventHub[Sighting] = EventHub()

    def sightings(self) -> AbstractContextManager[AsyncIterator[Sighting | Gap]]:
        return self._hub.listen(self._present())

    @abstractmethod
    def _present(self) -> list[Sighting]:
        """What is known now."""

    async def provide(self, key: bytes, *, deadline: float) -> int:
        await trio.lowlevel.checkpoint()
        return 0

    async def find_providers(self, key: bytes, *, deadline: float) -> tuple[Sighting, ...]:
        await trio.lowlevel.checkpoint()
        return ()
