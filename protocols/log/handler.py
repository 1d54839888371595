"""Group logs on a host: opens groups, and keeps them level with every connected peer."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import trio

from fogp2p.environment import Environment, within
from fogp2p.errors import FogError, LimitExceeded, LocalProtocolError, RemoteProtocolError
from fogp2p.events import Gap
from fogp2p.host import Connected, ConnectionInfo, Disconnected, Host, Stream
from fogp2p.identity import Identity
from fogp2p.ids import PeerId
from fogp2p.killpoints import killpoint
from fogp2p.tasks import open_tasks

from .conduct import Conduct
from .config import (
    BREACH,
    BROKEN_PROMISE,
    MAX_GROUPS,
    MAX_STREAMS_PER_MINUTE,
    OPEN_TIMEOUT_S,
    PROTOCOL_ID,
    LogConfig,
)
from .entries import seal_entry
from .group import Group, GroupStatus, key_of
from .link import Link
from .machine import Replica, found_draft
from .storage import Storage

__all__ = ["Logs", "LogsStatus", "open_logs"]

_LOG = logging.getLogger(__name__)
_MINUTE_S: Final = 60.0
# How often deadlines are looked at; they are counted in tens of seconds.
_TICK_S: Final = 1.0
_NONCE_BYTES: Final = 16


@asynccontextmanager
async def open_logs(
    host: Host,
    identity: Identity,
    storage: Storage,
    environment: Environment,
    config: LogConfig | None = None,
) -> AsyncIterator[Logs]:
    """Carry group logs while the context lasts; every group in `storage` is opened again.

    Raises LocalProtocolError("log-key") for an identity whose key is not Ed25519, and LogDamaged.
    """
    async with open_tasks() as nursery:
        settings = config if config is not None else LogConfig()
        logs = Logs(host, identity, storage, environment, settings, nursery)
        for name in await storage.groups():
            await logs.open(name)
        host.set_handler(PROTOCOL_ID, logs.serve)
        await nursery.start(logs.watch)
        nursery.start_soon(logs.tell_changes)
        nursery.start_soon(logs.beat)
        try:
            yield logs
        finally:
            host.remove_handler(PROTOCOL_ID)
            nursery.cancel_scope.cancel()


@dataclass(frozen=True, slots=True)
class LogsStatus:
    """All logs of this peer. Bytes are those of log messages on streams, frames included."""

    groups: tuple[GroupStatus, ...]
    links: int
    bytes_sent: int
    bytes_received: int
    entries_sent: int
    entries_received: int


class Logs:
    """Made by `open_logs`."""

    def __init__(
        self,
        host: Host,
        identity: Identity,
        storage: Storage,
        environment: Environment,
        config: LogConfig,
        nursery: trio.Nursery,
    ) -> None:
        self._key = key_of(identity.peer_id)
        self._host = host
        self._identity = identity
        self._storage = storage
        self._environment = environment
        self._config = config
        self._nursery = nursery
        self._groups: dict[bytes, Group] = {}
        self._links: dict[PeerId, Link] = {}
        self._gone = LogsStatus((), 0, 0, 0, 0, 0)
        self._conduct = Conduct()
        self._inbound: dict[PeerId, list[float]] = {}
        self._dirty: set[bytes] = set()
        self._changed = trio.Event()
        self._opening = trio.Lock()
        self.on_opened: Callable[[Group], None] = lambda group: None
        """Called with each group that is opened from now on."""

    # --- groups ----------------------------------------------------------------------------------

    @property
    def groups(self) -> tuple[Group, ...]:
        """The open groups."""
        return tuple(self._groups.values())

    async def create(self, name: str) -> Group:
        """Found a group with ourselves as its only member.

        Raises LocalProtocolError("log-name") for a name over 64 bytes, LimitExceeded for a 257th
        group.
        """
        nonce = self._environment.random.randbytes(_NONCE_BYTES)
        sent_ms = max(0, int(self._environment.clock.wall() * 1_000))
        draft = found_draft(self._key, name, nonce, sent_ms=sent_ms)
        founding = seal_entry(draft, self._identity.sign)
        killpoint("log.signed")
        async with self._opening:
            group = self._make(founding.id)
            # Stored with its founding entry, in one step: without it a group is nothing for ever.
            await group.begin(founding)
            self._carry(group)
            return group

    async def open(self, group: bytes) -> Group:
        """Carry a group, as a member or not; entries come from peers that carry it.

        Raises LimitExceeded for a 257th group, LogDamaged, LocalProtocolError("log-group").
        """
        if len(group) != 32:
            raise LocalProtocolError("a group is named by 32 bytes", code="log-group")
        return await self._open(group)

    async def _open(self, name: bytes) -> Group:
        async with self._opening:
            found = self._groups.get(name)
            if found is not None:
                return found
            group = self._make(name)
            await self._storage.add_group(name)
            killpoint("log.group.kept")
            await group.load()
            self._carry(group)
            return group

    def _make(self, name: bytes) -> Group:
        """An object for the group, with no entries yet. Raises LimitExceeded."""
        if len(self._groups) >= MAX_GROUPS:
            raise LimitExceeded(f"at most {MAX_GROUPS} groups are carried")
        group = Group(Replica(name), self._identity, self._storage, self._environment, self._note)
        group.peers = lambda: self._peers_of(name)
        return group

    def _carry(self, group: Group) -> None:
        """Talk about the group with peers from now on."""
        self._groups[group.id] = group
        for link in tuple(self._links.values()):
            link.groups_changed()
        self.on_opened(group)

    def status(self) -> LogsStatus:
        """Groups and traffic."""
        links = self._links.values()
        return LogsStatus(
            groups=tuple(group.status() for group in self._groups.values()),
            links=len(links),
            bytes_sent=self._gone.bytes_sent + sum(x.bytes_sent for x in links),
            bytes_received=self._gone.bytes_received + sum(x.bytes_received for x in links),
            entries_sent=self._gone.entries_sent + sum(x.entries_sent for x in links),
            entries_received=self._gone.entries_received + sum(x.entries_received for x in links),
        )

    def points(self, peer: PeerId) -> float:
        """What is held against a peer; above 100 it is not listened to."""
        return self._conduct.points(peer, trio.current_time())

    def queued(self, peer: PeerId) -> int:
        """Messages and entries that wait for a peer to read them."""
        link = self._links.get(peer)
        return link.queued if link is not None else 0

    def _peers_of(self, name: bytes) -> tuple[int, int]:
        levels = [link.level_with(name) for link in self._links.values()]
        return sum(each is not None for each in levels), sum(each is True for each in levels)

    def _note(self, group: Group) -> None:
        self._dirty.add(group.id)
        self._changed.set()

    # --- streams ---------------------------------------------------------------------------------

    async def serve(self, stream: Stream) -> None:
        """The side with the greater peer id."""
        peer, now = stream.remote_peer, trio.current_time()
        recent = [at for at in self._inbound.get(peer, ()) if at > now - _MINUTE_S]
        if len(recent) >= MAX_STREAMS_PER_MINUTE:
            raise LimitExceeded("more log streams than one peer needs")
        self._inbound[peer] = [*recent, now]
        if peer in self._links or self._host.peer_id < peer:
            raise RemoteProtocolError(
                "one log stream for each connection, opened by the smaller id", code="log-flood"
            )
        await self._converse(stream)

    async def _talk(self, peer: PeerId) -> None:
        if peer in self._links or self._conduct.is_barred(peer, trio.current_time()):
            return
        try:
            deadline = within(OPEN_TIMEOUT_S)
            stream = await self._host.open_stream(peer, [PROTOCOL_ID], deadline=deadline)
            async with stream:
                if peer not in self._links:
                    await self._converse(stream)
        except FogError as exc:
            _LOG.debug("log_link_ended peer=%s reason=%s", peer.short, exc)

    async def _converse(self, stream: Stream) -> None:
        peer = stream.remote_peer
        if self._conduct.is_barred(peer, trio.current_time()):
            raise RemoteProtocolError("this peer broke too many rules", code="log-barred")
        link = self._links[peer] = Link(
            stream,
            self._host.peer_id,
            self._groups,
            self._storage,
            self._environment,
            self._blame,
        )
        try:
            await link.run()
        except RemoteProtocolError as exc:
            _LOG.warning("log_breach peer=%s code=%s", peer.short, exc.code)
            self._blame(peer, BREACH)
            raise
        finally:
            del self._links[peer]
            self._gone = LogsStatus(
                (),
                0,
                self._gone.bytes_sent + link.bytes_sent,
                self._gone.bytes_received + link.bytes_received,
                self._gone.entries_sent + link.entries_sent,
                self._gone.entries_received + link.entries_received,
            )

    def _blame(self, peer: PeerId, points: float) -> None:
        self._conduct.blame(peer, points, trio.current_time())

    # --- keeping up ------------------------------------------------------------------------------

    async def watch(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Talk to every peer that is connected, one side of each pair."""
        with self._host.events() as events:
            self._meet_all()
            task_status.started()
            async for event in events:
                match event:
                    case Connected(connection=connection):
                        self._meet(connection)
                    case Disconnected(connection=connection):
                        if self._host.connection_to(connection.peer) is None:
                            self._inbound.pop(connection.peer, None)
                    case Gap():
                        self._meet_all()
                    case _:
                        pass

    def _meet_all(self) -> None:
        for connection in self._host.connections():
            self._meet(connection)

    def _meet(self, connection: ConnectionInfo) -> None:
        if self._host.peer_id < connection.peer and connection.peer not in self._links:
            self._nursery.start_soon(self._talk, connection.peer)

    async def tell_changes(self) -> None:
        """What changed within a moment is told of together."""
        while True:
            await self._changed.wait()
            await trio.sleep(self._config.debounce_s)
            self._changed = trio.Event()
            dirty, self._dirty = self._dirty, set()
            for name in sorted(dirty):
                for link in tuple(self._links.values()):
                    link.tell(self._groups[name])

    async def beat(self) -> None:
        """Deadlines; every period frontiers, and links that ended before their connection."""
        draw = self._environment.random.uniform
        due = trio.current_time() + draw(0.5, 1.0) * self._config.period_s
        while True:
            await trio.sleep(_TICK_S)
            now = trio.current_time()
            for link in tuple(self._links.values()):
                broken = link.handle_time()
                if broken:
                    self._blame(link.peer, min(BREACH, BROKEN_PROMISE * broken))
                if now >= due:
                    link.repeat()
            if now >= due:
                due = now + self._config.period_s
                self._meet_all()
