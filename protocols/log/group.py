"""One open group: what a program writes to and reads from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

import trio

from fogp2p.environment import Environment
from fogp2p.errors import FogError, LimitExceeded, LocalProtocolError, RemoteProtocolError
from fogp2p.events import EventHub, Gap
from fogp2p.identity import Identity
from fogp2p.ids import PeerId
from fogp2p.killpoints import killpoint

from .config import MAX_LEVEL, MAX_MEMBERS
from .entries import (
    Admit,
    Entry,
    EpochKeySet,
    ForkProof,
    Kind,
    Remove,
    Role,
    body_of,
    check_member_key,
    decode_entry,
    encode_body,
    seal_entry,
)
from .errors import LogDamaged, NotPermitted
from .keys import (
    KEY_BYTES,
    NONCE_BYTES,
    Epoch,
    Keyring,
    ReaderKey,
    open_body,
    seal_body,
    seal_epoch,
)
from .machine import ForkFound, LogEvent, MembersChanged, Placed, Replica, VerdictChanged
from .membership import Verdict
from .storage import Storage, Stored

__all__ = ["Delivery", "Group", "GroupMember", "GroupStatus", "key_of"]

GroupEvent = VerdictChanged | ForkFound | MembersChanged
# Entries read from the storage, and placed, between two breaths of the event loop.
_PAGE: Final = 64


@dataclass(frozen=True, slots=True)
class Delivery:
    """An entry, once, after everything it follows.

    `text` is what was written, or None when it does not stand, was not sealed to us, or is no
    message. `sent_ms` is the author's clock and proves nothing.
    """

    number: int
    id: bytes
    author: PeerId
    position: int
    kind: int
    sent_ms: int
    verdict: Verdict
    text: bytes | None
    height: int = 0
    """One more than the greatest of those it follows: (height, id) is one causal order for all."""
    past: tuple[bytes, ...] = ()
    """The entries it directly follows."""


@dataclass(frozen=True, slots=True)
class GroupMember:
    """Who may write now. Level 0 is the founder."""

    peer: PeerId
    role: Role
    level: int


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """A group in numbers. `peers` carry it and are connected, `level_peers` have the same."""

    id: bytes
    name: str
    entries: int
    waiting: int
    members: int
    forked_authors: int
    is_member: bool
    peers: int
    level_peers: int
    problem: str


class Group:
    """Made by `Logs.create` and `Logs.open`."""

    def __init__(
        self,
        replica: Replica,
        identity: Identity,
        storage: Storage,
        environment: Environment,
        changed: Callable[[Group], None],
    ) -> None:
        self.replica: Final = replica
        self._identity = identity
        self._key = key_of(identity.peer_id)
        self._keyring = Keyring(replica.group, ReaderKey(identity.libp2p_private_key()))
        self._storage = storage
        self._environment = environment
        self._changed = changed
        self._lock = trio.Lock()
        self._grown = trio.lowlevel.ParkingLot()
        self._hub: EventHub[GroupEvent] = EventHub()
        self._failure: FogError | None = None
        self._committed = 0
        self.peers: Callable[[], tuple[int, int]] = lambda: (0, 0)

    @property
    def id(self) -> bytes:
        """32 bytes that name the group: the id of its founding entry."""
        return self.replica.group

    # --- reading ---------------------------------------------------------------------------------

    def deliveries(self, since: int = 0) -> AsyncIterator[Delivery]:
        """Every entry with a number greater than `since`, now and as they come, without end.

        Each once and after all it follows; numbers are those of this replica and survive restarts.
        The verdict is that of the moment; `changes` tells when one changes later.
        """
        return _Deliveries(self, since)

    def changes(self) -> AbstractContextManager[AsyncIterator[GroupEvent | Gap]]:
        """Verdicts that changed, forks found, changes of membership, from now on."""
        return self._hub.listen()

    def members(self) -> tuple[GroupMember, ...]:
        """Who may write now, the founder first."""
        found = [
            GroupMember(PeerId.from_ed25519(m.key), m.role, m.level)
            for m in self.replica.members.values()
        ]
        return tuple(sorted(found, key=lambda member: (member.level, member.peer)))

    def forks(self) -> tuple[tuple[PeerId, int], ...]:
        """Authors who signed two entries for one position, and the lowest such position."""
        found = self.replica.forks.values()
        return tuple(sorted((PeerId.from_ed25519(f.author), f.position) for f in found))

    async def fork_proof(self, peer: PeerId) -> ForkProof | None:
        """The proof of `peer`'s fork, which anybody can check."""
        fork = self.replica.forks.get(key_of(peer))
        if fork is None:
            return None
        found = await self._storage.fetch(self.id, [fork.first, fork.second])
        return ForkProof(found[fork.first], found[fork.second])

    def status(self) -> GroupStatus:
        """The group in numbers."""
        peers, level = self.peers()
        replica = self.replica
        return GroupStatus(
            id=self.id,
            name=replica.name,
            entries=len(replica),
            waiting=len(replica.pending),
            members=len(replica.members),
            forked_authors=len(replica.forks),
            is_member=self._key in replica.members,
            peers=peers,
            level_peers=level,
            problem=str(self._failure) if self._failure is not None else "",
        )

    async def mark(self, consumer: str, number: int) -> None:
        """Remember durably that `consumer` has dealt with everything up to `number`."""
        async with self._lock:
            self._check_open()
            killpoint("log.mark.before")
            await self._storage.commit(self.id, (), {consumer: number})
            killpoint("log.mark.after")

    async def marked(self, consumer: str) -> int:
        """What `mark` stored; 0 for nothing."""
        return await self._storage.mark(self.id, consumer)

    # --- writing ---------------------------------------------------------------------------------

    async def append(self, text: bytes) -> bytes:
        """Write a message, sealed to the present members; returns the entry's id once it is stored.

        Raises NotPermitted, LocalProtocolError "log-size" (over 16,344 bytes) or "log-forked".
        """
        async with self._lock:
            self._check_may(Role.WRITE)
            epoch = await self._epoch()
            assert epoch.key is not None
            position = self.replica.next_position(self._key)
            nonce = self._environment.random.randbytes(NONCE_BYTES)
            body = seal_body(epoch.key, nonce, self.id, epoch.id, self._key, position, text)
            return (await self._write(Kind.MESSAGE, body, epoch=epoch.id)).id

    async def admit(
        self, peer: PeerId, role: Role = Role.WRITE, *, level: int | None = None
    ) -> bytes:
        """Make `peer` a member at `level` (by default right below us), and change the key.

        Raises NotPermitted when we may not admit, or not at this level; LocalProtocolError
        "log-key" for a peer id that holds no Ed25519 key; LimitExceeded for a 129th member.
        """
        async with self._lock:
            mine = self._check_may(Role.ADMIT)
            given = mine + 1 if level is None else level
            if not mine < given <= MAX_LEVEL:
                raise NotPermitted(
                    f"members admitted by us stand at levels {mine + 1}-{MAX_LEVEL}, not {given}"
                )
            if len(self.replica.members) >= MAX_MEMBERS:
                raise LimitExceeded(f"a group has at most {MAX_MEMBERS} members")
            key = key_of(peer)
            entry = await self._write(Kind.ADMIT, encode_body(Admit(key, role, given)))
            killpoint("log.admitted")
            await self._epoch()
            return entry.id

    async def remove(self, peer: PeerId) -> bytes:
        """End `peer`'s membership, and change the key. What it wrote until now stands.

        Raises NotPermitted when it is no member or not below us.
        """
        async with self._lock:
            mine = self._check_may(Role.ADMIT)
            key = key_of(peer)
            member = self.replica.members.get(key)
            if member is None:
                raise NotPermitted(f"{peer.short} is no member")
            if member.level <= mine:
                raise NotPermitted(
                    f"{peer.short} stands at level {member.level}, we at {mine}",
                    hint="only a member nearer to the founder can remove it",
                )
            last = self.replica.latest(key)
            also = () if last is None else (last,)
            entry = await self._write(Kind.REMOVE, encode_body(Remove(key, last)), also=also)
            killpoint("log.removed")
            await self._epoch()
            return entry.id

    async def leave(self) -> bytes:
        """End our own membership. Those who stay change the key before they write on."""
        async with self._lock:
            self._check_may(Role.WRITE)
            return (await self._write(Kind.LEAVE, b"")).id

    def _check_may(self, role: Role) -> int:
        """Our level. Raises NotPermitted."""
        self._check_open()
        me = self.replica.members.get(self._key)
        if me is None:
            raise NotPermitted(
                "we are no member of this group",
                hint="a member who may admit has to admit this peer first",
            )
        if me.role < role:
            raise NotPermitted("we may write in this group, not admit or remove")
        return me.level

    async def _epoch(self) -> Epoch:
        """The epoch to write under, made now if there is none. Call with the lock held."""
        members = self.replica.members
        usable = self._keyring.usable(members, self.replica.stands)
        if usable is not None:
            return usable
        draw = self._environment.random.randbytes
        ephemerals = [draw(KEY_BYTES) for _ in members]
        sealed = seal_epoch(self.id, draw(KEY_BYTES), members, ephemerals)
        await self._write(Kind.EPOCH, encode_body(sealed))
        killpoint("log.epoch")
        usable = self._keyring.usable(members, self.replica.stands)
        assert usable is not None  # sealed to ourselves a moment ago
        return usable

    async def _write(
        self,
        kind: Kind,
        body: bytes,
        *,
        epoch: bytes | None = None,
        also: Iterable[bytes] = (),
    ) -> Entry:
        sent_ms = max(0, int(self._environment.clock.wall() * 1_000))
        draft = self.replica.draft(self._key, kind, body, epoch=epoch, sent_ms=sent_ms, also=also)
        entry = seal_entry(draft, self._identity.sign)
        killpoint("log.signed")
        await self._settle(self.replica.ingest(entry))
        return entry

    # --- taking in -------------------------------------------------------------------------------

    async def begin(self, founding: Entry) -> None:
        """Write the founding entry of a new group."""
        async with self._lock:
            await self._settle(self.replica.ingest(founding))

    async def take(self, entries: Sequence[Entry]) -> None:
        """Ingest entries of a peer whose signatures were verified.

        Raises RemoteProtocolError for the first that is wrong; what came before it is kept.
        """
        async with self._lock:
            self._check_open()
            events: list[LogEvent] = []
            failure: RemoteProtocolError | None = None
            for entry in entries:
                try:
                    events += self.replica.ingest(entry)
                except LimitExceeded:
                    continue  # right, but there is no room for it
                except RemoteProtocolError as exc:
                    failure = exc
                    break
            await self._settle(events)
            if failure is not None:
                raise failure

    async def load(self) -> None:
        """Read everything stored. Raises LogDamaged."""
        async with self._lock:
            while page := await self._storage.read(self.id, self._committed, _PAGE):
                for stored in page:
                    self._restore(stored)

    def _restore(self, stored: Stored) -> None:
        try:
            entry = decode_entry(stored.data)
            events = self.replica.ingest(entry)
        except (RemoteProtocolError, LimitExceeded) as exc:
            raise _damaged(self.id, stored.number) from exc
        placed = [event for event in events if isinstance(event, Placed)]
        if [(each.entry.id, each.number) for each in placed] != [(stored.id, stored.number)]:
            raise _damaged(self.id, stored.number)
        self._learn(entry)
        self._committed = stored.number

    async def _settle(self, events: Sequence[LogEvent]) -> None:
        """Store what was placed, then show it. A disk that fails closes the group."""
        placed = [event for event in events if isinstance(event, Placed)]
        stored = [Stored(each.number, each.entry.id, each.entry.data) for each in placed]
        if stored:
            killpoint("log.placed")
            try:
                with trio.CancelScope(shield=True):  # half a commit would be a gap in the numbers
                    await self._storage.commit(self.id, stored)
            except FogError as exc:
                self._failure = exc
                raise
            killpoint("log.stored")
            self._committed = stored[-1].number
            for each in placed:
                self._learn(each.entry)
            self._grown.unpark_all()
        for event in events:
            if not isinstance(event, Placed):
                self._hub.publish(event)
        if stored:
            killpoint("log.shown")
            self._changed(self)

    def _learn(self, entry: Entry) -> None:
        if entry.kind == Kind.EPOCH:
            body = body_of(entry)
            assert isinstance(body, EpochKeySet)
            self._keyring.add(entry.id, entry.height, body)

    def _check_open(self) -> None:
        if self._failure is not None:
            raise self._failure

    # --- for deliveries --------------------------------------------------------------------------

    @property
    def last(self) -> int:
        """The number of the newest entry that is stored; 0 before the first."""
        return self._committed

    async def grown(self, number: int) -> int:
        """Wait until there are entries after `number`; the last one's number."""
        while self._committed <= number:
            await self._grown.park()
        return self._committed

    async def page_after(self, number: int) -> Sequence[Stored]:
        """The next entries after `number`, waiting until there are some."""
        await self.grown(number)
        return await self._storage.read(self.id, number, _PAGE)

    def delivery(self, stored: Stored) -> Delivery:
        """An entry as it is told to a program."""
        entry = decode_entry(stored.data)
        node = self.replica.node(entry.id)
        assert node is not None
        return Delivery(
            number=stored.number,
            id=entry.id,
            author=PeerId.from_ed25519(entry.author),
            position=entry.position,
            kind=entry.kind,
            sent_ms=entry.sent_ms,
            verdict=node.verdict,
            text=self._text(entry) if node.verdict is Verdict.STANDS else None,
            height=entry.height,
            past=entry.past,
        )

    def _text(self, entry: Entry) -> bytes | None:
        key = self._keyring.key(entry.epoch) if entry.epoch is not None else None
        if key is None or entry.epoch is None:
            return None
        return open_body(key, self.id, entry.epoch, entry.author, entry.position, entry.body)


class _Deliveries:
    def __init__(self, group: Group, since: int) -> None:
        self._group = group
        self._last = since
        self._page: list[Stored] = []

    def __aiter__(self) -> _Deliveries:
        return self

    async def __anext__(self) -> Delivery:
        if self._page:
            await trio.lowlevel.checkpoint()
        else:
            self._page = list(reversed(await self._group.page_after(self._last)))
        stored = self._page.pop()
        self._last = stored.number
        return self._group.delivery(stored)


def key_of(peer: PeerId) -> bytes:
    """The Ed25519 key in a peer id. Raises LocalProtocolError("log-key") when there is none."""
    key = peer.ed25519
    if key is None:
        raise LocalProtocolError(
            f"{peer.short} has no Ed25519 key: members of group logs need one", code="log-key"
        )
    try:
        check_member_key(key)
    except RemoteProtocolError as exc:
        raise LocalProtocolError("not an Ed25519 public key", code="log-key") from exc
    return key


def _damaged(group: bytes, number: int) -> LogDamaged:
    return LogDamaged(
        f"entry {number} of group {group.hex()[:8]} is not what was stored",
        hint="restore the database from a backup, or delete the group and fetch it again",
    )
