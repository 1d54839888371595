"""Looking for peers of a role: several mirrors asked, and held against each other.

Nothing a mirror says is believed for its sake (each descriptor is signed), and nothing is missed
because one mirror leaves it out: the union counts (REG-050, REG-051).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import trio

from fogp2p.addresses import Scope, believable, scope_of
from fogp2p.environment import Environment, within
from fogp2p.errors import FogError
from fogp2p.host import Discovery, Host, Sighting
from fogp2p.ids import PeerId

from .config import (
    DISCOVERY_TIMEOUT_S,
    MAX_ANSWER,
    MAX_CHECKED,
    MAX_DIALLED,
    REQUEST_TIMEOUT_S,
    SKEW_S,
    SOURCES,
)
from .descriptor import Descriptor, role_key
from .exchange import ask, push
from .messages import Lookup, Query, Verdict

__all__ = ["Found", "Heard", "Search", "differences"]

T = TypeVar("T")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """`sources` answered. `lacking` says who of them had not heard of whom: no fault by itself."""

    descriptors: tuple[Descriptor, ...]
    sources: tuple[PeerId, ...]
    lacking: tuple[tuple[PeerId, PeerId], ...]


@dataclass(frozen=True, slots=True)
class Heard:
    """What one mirror said of a role, as far as it was genuine."""

    descriptors: dict[PeerId, Descriptor]
    is_complete: bool


class Keeper(Protocol):
    """What a search needs of the registry it works for."""

    def judge(
        self, envelope: bytes, source: PeerId, *, wanted: PeerId | None = None, role: str = ""
    ) -> Descriptor | None:
        """Check and keep what a source gave; return the newest that is known of its peer."""
        ...

    def descriptors(self, role: str | None = None) -> tuple[Descriptor, ...]:
        """What is known."""
        ...

    def descriptor(self, peer: PeerId) -> Descriptor | None:
        """What is known of one peer."""
        ...

    def mirrors(self) -> tuple[PeerId, ...]:
        """Whom one may ask."""
        ...

    def met(self, peer: PeerId) -> None:
        """Note that `peer` takes part."""
        ...

    def withheld(self, peer: PeerId, source: PeerId) -> None:
        """Raise the alarm."""
        ...


def differences(heard: dict[PeerId, Heard], now: float) -> tuple[tuple[PeerId, Descriptor], ...]:
    """Who says that it told everything and lacks what another told: (source, descriptor).

    What is about to expire is left out: by another clock it may have done so already.
    """
    found: list[tuple[PeerId, Descriptor]] = []
    for source, said in heard.items():
        told = {
            peer: each
            for other, theirs in heard.items()
            if other != source
            for peer, each in theirs.descriptors.items()
            if each.expires > now + SKEW_S
        }
        if said.is_complete:
            lacking = sorted(told.keys() - said.descriptors.keys())
            found.extend((source, told[peer]) for peer in lacking)
    return tuple(found)


class Search:
    """One `find`."""

    def __init__(
        self,
        keeper: Keeper,
        host: Host,
        environment: Environment,
        discoveries: Sequence[Discovery],
    ) -> None:
        self._keeper = keeper
        self._host = host
        self._random = environment.random
        self._clock = environment.clock
        self._discoveries = discoveries

    async def run(self, role: str, count: int, deadline: float) -> Found:
        """See `Registry.find`."""
        heard: dict[PeerId, Heard] = {}
        lacking: list[tuple[PeerId, PeerId]] = []
        with trio.move_on_at(deadline):
            await self._survey(role, heard, deadline)
            if len(heard) < 2:
                await self._meet(role_key("registry"), deadline)
                await self._survey(role, heard, deadline)
            lacks = differences(heard, self._clock.wall())
            for source, descriptor in self._some(lacks, MAX_CHECKED):
                lacking.append((source, descriptor.peer))
                await self._check(source, descriptor, role, deadline)
            if len(self._keeper.descriptors(role)) < count:
                await self._meet(role_key(role), deadline)
        drawn = self._some(self._keeper.descriptors(role), count)
        return Found(tuple(drawn), tuple(heard), tuple(lacking))

    def _some(self, everything: Sequence[T], count: int) -> list[T]:
        """At random: whoever may choose ids or their order must not choose what is looked at."""
        return self._random.sample(everything, min(count, len(everything)))

    async def _survey(self, role: str, heard: dict[PeerId, Heard], deadline: float) -> None:
        """Ask mirrors that were not asked yet."""
        left = [peer for peer in self._keeper.mirrors() if peer not in heard]
        sources = self._some(left, SOURCES - len(heard))
        async with trio.open_nursery() as nursery:
            for source in sources:
                nursery.start_soon(self._hear, source, role, heard, deadline)

    async def _hear(
        self, source: PeerId, role: str, heard: dict[PeerId, Heard], deadline: float
    ) -> None:
        try:
            heard[source] = await self._query(source, role, deadline)
        except FogError as exc:
            _LOG.info("registry_not_answered peer=%s reason=%s", source.short, exc)

    async def _query(self, source: PeerId, role: str, deadline: float) -> Heard:
        until = min(deadline, within(REQUEST_TIMEOUT_S))
        said = await ask(self._host, source, Query(role, MAX_ANSWER), deadline=until)
        kept: dict[PeerId, Descriptor] = {}
        for envelope in said.envelopes:
            descriptor = self._keeper.judge(envelope, source, role=role)
            if descriptor is not None:
                kept[descriptor.peer] = descriptor
                self._hint(source, descriptor)
            await trio.lowlevel.checkpoint()  # a signature check each
        return Heard(kept, said.is_complete)

    async def _check(
        self, source: PeerId, descriptor: Descriptor, role: str, deadline: float
    ) -> None:
        """Give `source` what it lacks; if it takes that and still leaves it out, it withholds."""
        peer = descriptor.peer
        until = min(deadline, within(REQUEST_TIMEOUT_S))
        try:
            receipt = await push(self._host, source, descriptor.raw, deadline=until)
            if receipt.held is not None:
                self._keeper.judge(receipt.held, source, wanted=peer)
            if receipt.verdict not in (Verdict.KEPT, Verdict.KNOWN):
                return
            again = await self._query(source, role, deadline)
            if peer in again.descriptors or not again.is_complete:
                return
            single = await ask(self._host, source, Lookup(peer), deadline=until)
        except FogError as exc:
            _LOG.info("registry_not_checked peer=%s reason=%s", source.short, exc)
            return
        if not single.envelopes and self._keeper.descriptor(peer) is not None:
            self._keeper.withheld(peer, source)

    async def _meet(self, key: bytes, deadline: float) -> None:
        """Connect to peers that announced `key` and ask each for its own descriptor."""
        until = min(deadline, within(DISCOVERY_TIMEOUT_S))
        sightings: dict[PeerId, Sighting] = {}

        async def look(discovery: Discovery) -> None:
            try:
                for each in await discovery.find_providers(key, deadline=until):
                    sightings.setdefault(each.peer, each)
            except FogError as exc:
                _LOG.debug("registry_not_found source=%s reason=%s", discovery.source, exc)

        async with trio.open_nursery() as nursery:
            for discovery in self._discoveries:
                nursery.start_soon(look, discovery)
        strangers = [
            each
            for peer, each in sorted(sightings.items())
            if peer != self._host.peer_id and self._keeper.descriptor(peer) is None
        ]
        async with trio.open_nursery() as nursery:
            for each in self._some(strangers, MAX_DIALLED):
                nursery.start_soon(self._visit, each, deadline)

    async def _visit(self, sighting: Sighting, deadline: float) -> None:
        peer = sighting.peer
        until = min(deadline, within(REQUEST_TIMEOUT_S))
        try:
            await self._host.connect(peer, sighting.addresses, deadline=until)
            said = await ask(self._host, peer, Lookup(peer), deadline=until)
            self._keeper.met(peer)
            for envelope in said.envelopes:
                self._keeper.judge(envelope, peer, wanted=peer)
        except FogError as exc:
            _LOG.info("registry_not_met peer=%s reason=%s", peer.short, exc)

    def _hint(self, source: PeerId, descriptor: Descriptor) -> None:
        """Remember where it may be reached, as far as `source` can know (KAD-010)."""
        connection = self._host.connection_to(source)
        scope = scope_of(connection.address) if connection is not None else None
        addresses = believable(
            descriptor.multiaddrs(), source=scope if scope is not None else Scope.PUBLIC
        )
        if addresses and descriptor.peer != self._host.peer_id:
            self._host.add_addresses(descriptor.peer, addresses)
