"""All ways of finding peers as one, which stays while the single ones fail and come back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager

import trio

from fogp2p.addresses import Multiaddr
from fogp2p.events import EventHub, Gap
from fogp2p.host import Discovery, Sighting
from fogp2p.ids import PeerId
from fogp2p.supervisor import Supervisor
from fogp2p.tasks import open_tasks

from .settings import MAX_CANDIDATES

__all__ = ["Ways"]


class Ways(Discovery):
    """What rooms get that look for peers. A way that is down is left out; it tells nothing."""

    def __init__(self, supervisor: Supervisor, group: str) -> None:
        self._supervisor = supervisor
        self._group = group
        self._provided: dict[bytes, None] = {}
        self._hub: EventHub[Sighting] = EventHub()
        self._recent: OrderedDict[tuple[str, PeerId], Sighting] = OrderedDict()

    @property
    def source(self) -> str:
        return "ways"

    def problem(self) -> str:
        problems = {each.source: each.problem() for each in self.up()}
        return "; ".join(f"{name}: {text}" for name, text in problems.items() if text)

    def up(self) -> list[Discovery]:
        """The ways that work at the moment."""
        names = self._supervisor.names(self._group)
        return [self._supervisor.value(name) for name in names if self._supervisor.is_ready(name)]

    def saw(self, sighting: Sighting) -> None:
        """Pass on what one of them saw."""
        key = (sighting.source, sighting.peer)
        self._recent.pop(key, None)
        if sighting.expires_at > trio.current_time():
            self._recent[key] = sighting
            if len(self._recent) > MAX_CANDIDATES:
                self._recent.popitem(last=False)
        self._hub.publish(sighting)

    def sightings(self) -> AbstractContextManager[AsyncIterator[Sighting | Gap]]:
        now = trio.current_time()
        return self._hub.listen([each for each in self._recent.values() if each.expires_at > now])

    async def find_peer(self, peer: PeerId, *, deadline: float) -> tuple[Multiaddr, ...]:
        found: dict[Multiaddr, None] = {}

        async def ask(discovery: Discovery) -> None:
            found.update(dict.fromkeys(await discovery.find_peer(peer, deadline=deadline)))

        async with trio.open_nursery() as nursery:
            for discovery in self.up():
                nursery.start_soon(ask, discovery)
        return tuple(found)

    @property
    def provided(self) -> tuple[bytes, ...]:
        """What is announced: a way that comes back is told again."""
        return tuple(self._provided)

    async def provide(self, key: bytes, *, deadline: float) -> int:
        held = 0

        async def announce(discovery: Discovery) -> None:
            nonlocal held
            # In two steps: the first operand of += would be read before the others have counted.
            found = await discovery.provide(key, deadline=deadline)
            held += found

        async with open_tasks() as nursery:
            for discovery in self.up():
                nursery.start_soon(announce, discovery)
        self._provided[key] = None
        return held

    def withdraw(self, key: bytes) -> None:
        self._provided.pop(key, None)
        for discovery in self.up():
            discovery.withdraw(key)

    async def find_providers(self, key: bytes, *, deadline: float) -> tuple[Sighting, ...]:
        found: dict[PeerId, Sighting] = {}

        async def ask(discovery: Discovery) -> None:
            for sighting in await discovery.find_providers(key, deadline=deadline):
                found.setdefault(sighting.peer, sighting)

        async with open_tasks() as nursery:
            for discovery in self.up():
                nursery.start_soon(ask, discovery)
        return tuple(found.values())
