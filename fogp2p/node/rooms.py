"""What a peer keeps and shares, as services: its store, registry, invites, blobs and groups.

They stand on the host and on the ways of finding peers; without them the peer is a poorer one, and
its status says which is down and why.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import trio

from fogp2p import __version__
from fogp2p.eventlog import EventLog
from fogp2p.events import Gap
from fogp2p.ids import PeerId
from fogp2p.limits import MIB
from fogp2p.paths import Paths
from fogp2p.protocols.blob import CHUNK_BYTES, BlobConfig, Blobs, Cid, Transfer, open_blobs
from fogp2p.protocols.blob.answers import summary_of as blobs_summary
from fogp2p.protocols.invite import Invites, Progress, open_invites
from fogp2p.protocols.log import ForkFound, Group, Logs, MembersChanged, open_logs
from fogp2p.protocols.log.answers import summary_of as groups_summary
from fogp2p.protocols.log.durable import LOG_PART, StoreStorage
from fogp2p.protocols.registry import (
    Alarm,
    OwnFacts,
    OwnSequence,
    Registry,
    RegistryEvent,
    Updated,
    open_registry,
)
from fogp2p.store import Store, open_store
from fogp2p.supervisor import Service
from fogp2p.tasks import open_tasks

from .health import Reason
from .nickname import nickname
from .parts import Parts
from .status import RoomsStatus

__all__ = ["ROOMS", "Rooms"]

ROOMS: Final = "rooms"
# Entries that come within it are one event.
_TOGETHER_S: Final = 0.2


class Rooms:
    """Made for one node. `paths`: where it keeps files; None for a peer without any."""

    def __init__(self, parts: Parts, event_log: EventLog, paths: Paths | None) -> None:
        self._parts = parts
        self._event_log = event_log
        self._paths = paths
        self._config = parts.config
        file = paths.registry if paths is not None else None
        # It outlives the registry: a number used twice looks like an old copy of us.
        self._numbers = OwnSequence(file, parts.environment)

    @property
    def name(self) -> str:
        """What this peer calls itself."""
        return self._config.peer.name or nickname(self._parts.identity.peer_id)

    def services(self, wants: tuple[str, ...]) -> list[Service]:
        """All of them; what needs files only where there are some. `wants`: start after those."""
        needs = ("versioning",)
        found = [Service("registry", self._registry, ROOMS, needs, wants)]
        if self._paths is None:
            return found
        found += [
            Service("invites", self._invites, ROOMS, needs, wants),
            Service("blobs", self._blobs, ROOMS, needs, wants),
            Service("store", self._store, ROOMS),
        ]
        if self._parts.identity.key_type == "ed25519":
            found.append(Service("groups", self._groups, ROOMS, ("versioning", "store")))
        return found

    def reasons(self) -> tuple[Reason, ...]:
        """What is wrong inside services that run."""
        found = []
        for name, hint in (
            ("registry", "fogp2p docs registry"),
            ("invites", "check the peer's data directory"),
        ):
            part = self._up(name)
            if part is not None and part.problem():
                found.append(Reason(name, part.problem(), hint))
        blobs: Blobs | None = self._up("blobs")
        if blobs is not None:
            found += [Reason("blobs", why, hint) for why, hint in _of_blobs(blobs)]
        store: Store | None = self._up("store")
        if store is not None and store.status().state != "ok":
            state = store.status()
            found.append(Reason("store", f"{state.state}: {state.why}", state.hint))
        groups: Logs | None = self._up("groups")
        if groups is not None:
            found += [Reason("groups", why, hint) for why, hint in _of_groups(groups)]
        return tuple(found)

    def status(self) -> RoomsStatus:
        """The state of what is kept and shared."""
        store: Store | None = self._up("store")
        blobs: Blobs | None = self._up("blobs")
        groups: Logs | None = self._up("groups")
        return RoomsStatus(
            store=store.status().state if store is not None else None,
            blobs=blobs_summary(blobs) if blobs is not None else None,
            groups=groups_summary(groups.groups) if groups is not None else None,
        )

    def _up(self, name: str) -> Any:
        supervisor = self._parts.supervisor
        return supervisor.value(name) if supervisor.is_ready(name) else None

    # --- the services ----------------------------------------------------------------------------

    @asynccontextmanager
    async def _registry(self) -> AsyncIterator[Registry]:
        host, parts = self._parts.host(), self._parts

        def describe() -> OwnFacts:
            return OwnFacts(
                addresses=host.addresses,
                roles=frozenset(("registry",)),
                software=f"fogp2p/{__version__}",
            )

        async with (
            open_registry(
                host, parts.identity, (parts.ways,), parts.environment, self._numbers, describe
            ) as registry,
            open_tasks() as nursery,
        ):
            nursery.start_soon(self._follow_registry, registry)
            yield registry
            nursery.cancel_scope.cancel()

    async def _follow_registry(self, registry: Registry) -> None:
        with registry.events() as events:
            async for event in events:
                self._note(event)

    def _note(self, event: RegistryEvent | Gap) -> None:
        match event:
            case Updated(descriptor=each):
                told = {"peer": str(each.peer), "sequence": each.sequence}
                self._event_log.record("registry.updated", told)
            case Alarm():
                told = {"kind": event.kind.value, "peer": str(event.peer), "text": event.text}
                self._event_log.record("registry.alarmed", told)
            case _:
                pass  # our own renewals, and what was lost: the registry itself is the truth

    @asynccontextmanager
    async def _invites(self) -> AsyncIterator[Invites]:
        assert self._paths is not None
        parts, path = self._parts, self._paths.invites
        async with (
            open_invites(
                parts.host(), (parts.ways,), parts.environment, path, name=self.name
            ) as invites,
            open_tasks() as nursery,
        ):
            nursery.start_soon(self._follow_invites, invites)
            yield invites
            nursery.cancel_scope.cancel()

    async def _follow_invites(self, invites: Invites) -> None:
        with invites.events() as events:
            async for event in events:
                if isinstance(event, Progress):
                    told = {
                        "id": event.id,
                        "peer": str(event.peer) if event.peer is not None else None,
                        "text": event.detail,
                    }
                    self._event_log.record(f"{event.what}.{event.stage.value}", told)

    @asynccontextmanager
    async def _blobs(self) -> AsyncIterator[Blobs]:
        assert self._paths is not None
        parts = self._parts
        config = BlobConfig(
            quota_bytes=self._config.blobs.quota_mib * MIB,
            accept_offers=self._config.blobs.accept_files,
        )
        folder = self._paths.blobs
        async with open_blobs(
            parts.host(), (parts.ways,), parts.environment, folder, config
        ) as blobs:
            blobs.on_received = self._received
            blobs.transfers.on_event = self._transferred
            yield blobs

    def _received(self, peer: PeerId, cid: Cid, name: str) -> None:
        told = {"peer": str(peer), "cid": str(cid), "name": name}
        self._event_log.record("blob.received", told)

    def _transferred(self, what: str, transfer: Transfer) -> None:
        found = transfer.measure()
        told = {
            "id": transfer.id,
            "kind": transfer.kind,
            "name": transfer.name,
            "cid": str(transfer.cid) if transfer.cid is not None else None,
            "done_bytes": found.done,
            "size_bytes": found.size,
            "rate": round(transfer.rate, 1),
            "why": str(transfer.error) if transfer.error is not None else "",
        }
        self._event_log.record(f"blob.{what}", told)

    @asynccontextmanager
    async def _store(self) -> AsyncIterator[Store]:
        assert self._paths is not None
        async with open_store(
            self._paths.store, self._parts.environment, parts=(LOG_PART,)
        ) as store:
            yield store

    @asynccontextmanager
    async def _groups(self) -> AsyncIterator[Logs]:
        parts = self._parts
        storage = StoreStorage(parts.supervisor.value("store"))
        async with (
            open_logs(parts.host(), parts.identity, storage, parts.environment) as logs,
            open_tasks() as nursery,
        ):

            def follow(group: Group, last: int = 0) -> None:
                nursery.start_soon(self._follow_entries, group, last)
                nursery.start_soon(self._follow_group, group)

            for group in logs.groups:
                follow(group, group.last)
            logs.on_opened = follow
            yield logs
            nursery.cancel_scope.cancel()

    async def _follow_entries(self, group: Group, last: int) -> None:
        while True:
            last = await group.grown(last)
            told = {"group": group.id.hex(), "name": group.replica.name, "last": last}
            self._event_log.record("group.grown", told)
            # A long history that arrives must not push everything else out of the ring.
            await trio.sleep(_TOGETHER_S)

    async def _follow_group(self, group: Group) -> None:
        with group.changes() as changes:
            async for change in changes:
                told: dict[str, Any] = {"group": group.id.hex(), "name": group.replica.name}
                match change:
                    case ForkFound(fork=fork):
                        author = str(PeerId.from_ed25519(fork.author))
                        told |= {"peer": author, "position": fork.position}
                        self._event_log.record("group.forked", told)
                    case MembersChanged():
                        told["members"] = len(group.members())
                        self._event_log.record("group.changed", told)
                    case _:
                        pass  # verdicts show in the entries themselves


def _of_blobs(blobs: Blobs) -> Iterator[tuple[str, str]]:
    store = blobs.store
    if store.problem:
        yield store.problem, "fogp2p blobs"
    room = store.quota_bytes - store.used_bytes + store.loose_bytes
    if room < CHUNK_BYTES:
        full = f"full: pinned blobs take {store.used_bytes} of {store.quota_bytes} bytes"
        yield full, "fogp2p blobs unpin or remove some, or raise blobs.quota_mib"


def _of_groups(logs: Logs) -> Iterator[tuple[str, str]]:
    for group in logs.groups:
        name = group.replica.name or group.id.hex()[:8]
        problem = group.status().problem
        if problem:
            yield f"{name} takes no entries: {problem}", "fogp2p doctor"
        for peer, position in group.forks():
            yield (
                f"{name}: {peer.short} wrote two histories from its entry {position} on",
                f"fogp2p group show {group.id.hex()[:12]}",
            )
