"""The room's public face: make invites, accept them, and see how far they are.

Spec: specs/invite/invite-v1.md.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from fogp2p.addresses import Multiaddr, Scope, scope_of
from fogp2p.environment import DiskError, Environment, within
from fogp2p.errors import (
    FogError,
    LimitExceeded,
    LocalProtocolError,
    RemoteProtocolError,
    TransportError,
)
from fogp2p.events import Gap
from fogp2p.host import Connected, Discovery, Host, Stream
from fogp2p.ids import PeerId
from fogp2p.killpoints import killpoint
from fogp2p.tasks import open_tasks

from .book import InviteRecord, JoinRecord, Known, Secret, Stage
from .codes import Code, Kind, Link, Words, parse_code, word_list
from .config import (
    ANNOUNCE_AGAIN_S,
    ANNOUNCE_RETRY_S,
    CARD_ADDRESSES,
    DEFAULT_TTL_S,
    MAX_CANDIDATES,
    MAX_NAMEPLATE,
    MAX_TTL_S,
    MIN_TTL_S,
    NEARBY_TIMEOUT_S,
    PROVIDE_TIMEOUT_S,
    RESUME_S,
    RETRY_S,
    SECRET_BYTES,
    WORDS,
)
from .errors import CodeError
from .handler import Progress, Reporter, Server
from .joining import JOIN_FAILED, Joining, not_found
from .machine import PROTOCOL_ID
from .messages import Contact, Offer, printable_name
from .search import Candidate, Search, nameplate_key
from .store import Store
from .talk import ask

__all__ = ["Invite", "Invites", "Pending", "open_invites"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Invite:
    """An invite as its owner sees it. `code` is what to give away, None once it is over."""

    record: InviteRecord
    code: Code | None
    stage: Stage
    peer: PeerId | None
    expires_in_s: float


@dataclass(eq=False, slots=True)
class _Attempt:
    """An attempt at a join, and how it ended."""

    done: trio.Event = field(default_factory=trio.Event)
    contact: Known | None = None
    failure: FogError | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """A join as its owner sees it."""

    record: JoinRecord
    stage: Stage
    peer: PeerId | None
    expires_in_s: float


@asynccontextmanager
async def open_invites(
    host: Host,
    discoveries: Sequence[Discovery],
    environment: Environment,
    path: Path,
    *,
    name: str = "",
) -> AsyncIterator[Invites]:
    """Serve and take up invites while the context lasts; keep them in the file at `path`.

    `name` is what our contact card says. Raises DiskError when the file cannot be read, and
    LocalProtocolError when this host serves invites already.
    """
    store = Store(path, environment)
    await store.load()
    async with open_tasks() as nursery:
        invites = Invites(host, discoveries, environment, store, name, nursery)
        host.set_handler(PROTOCOL_ID, invites.serve)
        try:
            nursery.start_soon(invites.keep_time)
            nursery.start_soon(invites.keep_trying)
            nursery.start_soon(invites.keep_announcing)
            yield invites
        finally:
            host.remove_handler(PROTOCOL_ID)
            nursery.cancel_scope.cancel()


class Invites:
    """Invites, joins and contacts of one peer. Made by `open_invites`."""

    def __init__(
        self,
        host: Host,
        discoveries: Sequence[Discovery],
        environment: Environment,
        store: Store,
        name: str,
        nursery: trio.Nursery,
    ) -> None:
        self._host = host
        self._discoveries = tuple(discoveries)
        self._environment = environment
        self._store = store
        self._name = printable_name(name)
        self._nursery = nursery
        self._reporter = Reporter()
        self._server = Server(host, environment, store, self._reporter, self._contact)
        self._joining = Joining(
            host, self._discoveries, environment, store, self._reporter, self._contact
        )
        self._under_way: dict[str, _Attempt] = {}
        self._changed = trio.Event()

    async def serve(self, stream: Stream) -> None:
        """Handles one stream of a joiner."""
        await self._server.serve(stream)

    # --- inviting --------------------------------------------------------------------------------

    async def invite(
        self, kind: Kind = Kind.WORDS, *, ttl_s: float = DEFAULT_TTL_S, name: str = ""
    ) -> Invite:
        """Make an invite that is on the disk when this returns.

        `ttl_s`: 10 s to 7 days. `name`: whom it is for; what the contact will be called.
        Raises LocalProtocolError("invite-ttl"), LimitExceeded when 16 are open, DiskError.
        """
        if not MIN_TTL_S <= ttl_s <= MAX_TTL_S:
            raise LocalProtocolError(
                f"an invite lives {MIN_TTL_S:g} s to {MAX_TTL_S / 86_400:g} days", code="invite-ttl"
            )
        nameplate = await self._free_nameplate(kind)
        now = self._store.dates.now_ms()
        record = InviteRecord(
            id=self._new_id("i"),
            nameplate=nameplate,
            kind=kind,
            secret=self._draw(kind),
            name=printable_name(name),
            made_ms=now,
            expires_ms=now + int(ttl_s * 1000),
        )
        self._store.book.add_invite(record)
        try:
            await self._store.save()
        except DiskError:
            del self._store.book.invites[record.id]
            raise
        killpoint("invite.made")
        self._wake()
        self._reporter.tell(record, Stage.INVITED)
        return self._seen_invite(record)

    def invites(self) -> tuple[Invite, ...]:
        """All of them, oldest first; those that are over for a while, too."""
        return tuple(map(self._seen_invite, self._store.book.invites.values()))

    async def cancel(self, id: str) -> None:
        """End an invite or a join; contacts stay. Raises NoSuchInvite, DiskError."""
        book = self._store.book
        record = book.joins.get(id) or book.invites.get(id)
        book.cancel(id)
        await self._store.save()
        killpoint("invite.cancelled")
        if record is not None:
            self._reporter.tell(record, Stage.CANCELLED)

    # --- joining ---------------------------------------------------------------------------------

    async def join(self, text: str, *, deadline: float, name: str = "") -> Known:
        """Take up the code in `text` and return the contact, which is on both disks then.

        `name`: what to call the inviter; empty: what it calls itself. Raises CodeError (and
        remembers nothing), WrongWords or InviteGone (the end of this join), InviterNotFound (it
        stays pending and goes on by itself, for a day), LimitExceeded, DiskError.
        """
        code = parse_code(text)
        self._refuse_own(code)
        now = self._store.dates.now_ms()
        link = code if isinstance(code, Link) else None
        id = self._new_id("j")
        record = self._store.book.add_join(
            JoinRecord(
                id=id,
                nameplate=code.nameplate,
                kind=Kind.LINK if link is not None else Kind.WORDS,
                secret=_secret_of(code),
                name=printable_name(name),
                made_ms=now,
                expires_ms=now + int(RESUME_S * 1000),
                peer=link.peer if link is not None else None,
                addresses=link.addresses if link is not None else (),
            )
        )
        try:
            await self._store.save()
        except DiskError:
            self._store.book.joins.pop(id, None)  # a join that was there before stays
            raise
        killpoint("join.kept")
        self._wake()
        self._reporter.tell(record, Stage.SEARCHING)
        return await self._attempt(record.id, deadline)

    async def offers(self, *, deadline: float) -> tuple[Candidate, ...]:
        """Peers on the LAN that have open invites in words. Looks until `deadline`, or until it is
        quiet."""
        found: dict[tuple[PeerId, int], Candidate] = {}
        async with open_tasks() as nursery:
            search = Search(self._host, self._discoveries, self._environment, 0, deadline)
            nursery.start_soon(search.run)
            while (candidate := await search.next(patient=not found)) is not None:
                found[candidate.peer, candidate.nameplate] = candidate
            nursery.cancel_scope.cancel()
        return tuple(found.values())

    def pending(self) -> tuple[Pending, ...]:
        """Joins that are not finished, oldest first."""
        now = self._store.dates.now_ms()
        return tuple(self._seen_join(record, now) for record in self._store.book.joins.values())

    # --- contacts --------------------------------------------------------------------------------

    def contacts(self) -> tuple[Known, ...]:
        """Peers that were verified by a code, oldest first."""
        return tuple(self._store.book.contacts.values())

    async def forget(self, peer: PeerId) -> None:
        """Drop a contact here; the other side keeps ours. Raises NoSuchInvite, DiskError."""
        self._store.book.forget(peer)
        await self._store.save()
        killpoint("contact.forgotten")

    # --- seeing ----------------------------------------------------------------------------------

    def events(self) -> AbstractContextManager[AsyncIterator[Progress | Gap]]:
        """How invites and joins proceed from now on."""
        return self._reporter.listen()

    def problem(self) -> str:
        """Why the file is not as it should be, for people; empty when all is well."""
        return self._store.problem

    # --- tasks -----------------------------------------------------------------------------------

    async def keep_time(self) -> None:
        """End what has expired, when it does."""
        while True:
            waker = self._changed
            changed = self._store.book.expire(self._store.dates.now_ms())
            if changed:
                try:
                    await self._store.save()
                    killpoint("invite.expired")
                except DiskError as exc:
                    # Expired here in any case; after a restart the times say the same.
                    _LOG.warning("invites_not_saved reason=%s", exc)
            for record in changed:
                self._reporter.tell(record, record.stage)
            # Not longer than this at once: the wall clock may be put forward meanwhile.
            delay = RETRY_S
            due = self._store.book.next_ms()
            if due is not None:
                delay = min(delay, max(0.05, (due - self._store.dates.now_ms()) / 1000))
            with trio.move_on_after(delay):
                await waker.wait()

    async def keep_trying(self) -> None:
        """Take up pending joins at the start, when their inviter connects, and now and then."""
        with self._host.events() as events:
            while True:
                for record in tuple(self._store.book.joins.values()):
                    if record.id not in self._under_way:
                        self._nursery.start_soon(self._try_again, record.id)
                with trio.move_on_after(RETRY_S):
                    await self._inviter_came(events)

    async def _inviter_came(self, events: AsyncIterator[object]) -> None:
        async for event in events:
            if isinstance(event, Connected):
                peer = event.connection.peer
                if any(record.peer == peer for record in self._store.book.joins.values()):
                    return

    async def _try_again(self, id: str) -> None:
        try:
            await self._attempt(id, within(RETRY_S))
        except FogError as exc:
            # Whoever watches was told by an event; what can be tried again, will be.
            _LOG.info("join_tried id=%s result=%s", id, exc)

    async def keep_announcing(self) -> None:
        """Tell the DHT of open invites in words: a joiner beyond the LAN has only their number."""
        due: dict[str, float] = {}
        while True:
            changed = self._changed
            open_now = {
                record.id: record.nameplate
                for record in self._store.book.invites.values()
                if record.stage is Stage.INVITED and record.kind is Kind.WORDS
            }
            due = {id: at for id, at in due.items() if id in open_now}
            for id, nameplate in open_now.items():
                if due.get(id, 0.0) <= trio.current_time():
                    told = await self._announce(nameplate)
                    due[id] = within(ANNOUNCE_AGAIN_S if told else ANNOUNCE_RETRY_S)
            with trio.move_on_after(ANNOUNCE_RETRY_S):
                await changed.wait()

    async def _announce(self, nameplate: int) -> int:
        """How many peers know of it now. Failing costs only that."""
        key, told = nameplate_key(nameplate), 0
        for discovery in self._discoveries:
            try:
                told += await discovery.provide(key, deadline=within(PROVIDE_TIMEOUT_S))
            except (TransportError, LimitExceeded) as exc:
                _LOG.info("invite_not_announced source=%s reason=%s", discovery.source, exc)
        return told

    # --- inside ----------------------------------------------------------------------------------

    async def _attempt(self, id: str, deadline: float) -> Known:
        """One attempt at a time for each join; others wait for it, and share how it ends."""
        while (other := self._under_way.get(id)) is not None:
            with trio.move_on_at(deadline) as waiting:
                await other.done.wait()
            if other.contact is not None:
                return other.contact
            if isinstance(other.failure, JOIN_FAILED):
                raise other.failure
            if waiting.cancelled_caught:
                raise not_found("it took too long")
        record = self._store.book.join(id)
        attempt = self._under_way[id] = _Attempt()
        try:
            attempt.contact = await self._joining.attempt(record, deadline)
        except FogError as exc:
            attempt.failure = exc
            raise
        finally:
            del self._under_way[id]
            attempt.done.set()
        return attempt.contact

    def _refuse_own(self, code: Code) -> None:
        own = any(
            (record.nameplate, record.secret) == (code.nameplate, _secret_of(code))
            for record in self._store.book.invites.values()
        )
        if own or (isinstance(code, Link) and code.peer == self._host.peer_id):
            raise CodeError(
                "this is an invite of your own", hint="the other person types it, on the other peer"
            )

    async def _free_nameplate(self, kind: Kind) -> int:
        """A number that neither we nor the peers we are connected to use."""
        taken = set(self._store.book.nameplates())
        if kind is Kind.WORDS:
            deadline = within(NEARBY_TIMEOUT_S)
            async with open_tasks() as nursery:
                for peer in self._host.peers()[:MAX_CANDIDATES]:
                    nursery.start_soon(self._ask_taken, peer, taken, deadline)
        free = [number for number in range(1, MAX_NAMEPLATE + 1) if number not in taken]
        return self._environment.random.choice(free)

    async def _ask_taken(self, peer: PeerId, taken: set[int], deadline: float) -> None:
        try:
            said = await ask(
                self._host, peer, (), self._environment, nameplate=0, deadline=deadline
            )
        except (TransportError, RemoteProtocolError, LimitExceeded):
            return  # it has no say
        if isinstance(said, Offer):
            taken.update(nameplate for nameplate, _ in said.invites)

    def _draw(self, kind: Kind) -> Secret:
        random = self._environment.random
        if kind is Kind.LINK:
            return random.randbytes(SECRET_BYTES)
        return tuple(random.choice(word_list()) for _ in range(WORDS))

    def _new_id(self, letter: str) -> str:
        while True:
            id = f"{letter}-{self._environment.random.randbytes(3).hex()}"
            if id not in self._store.book.invites and id not in self._store.book.joins:
                return id

    def _contact(self) -> Contact:
        return Contact(self._name, self._host.peer_id, self._addresses()[:CARD_ADDRESSES])

    def _addresses(self) -> tuple[Multiaddr, ...]:
        """Ours, those that reach furthest first."""
        ranked = sorted(self._host.addresses, key=lambda a: scope_of(a) or Scope(1), reverse=True)
        return tuple(ranked)

    def _seen_invite(self, record: InviteRecord) -> Invite:
        stage, peer = record.stage, record.peer
        if stage is Stage.STORED:
            stage = Stage.ACCEPTED
        busy = self._server.pairing_with(record.id)
        if stage is Stage.INVITED and busy is not None:
            stage, peer = Stage.SEEN, busy
        left = max(0, record.expires_ms - self._store.dates.now_ms()) / 1000
        code = record.code(self._host.peer_id, self._addresses())
        return Invite(record, code, stage, peer, left)

    def _seen_join(self, record: JoinRecord, now_ms: int) -> Pending:
        stage, peer = record.stage, record.peer
        busy = self._joining.pairing_with(record.id)
        if stage is Stage.SEARCHING and busy is not None:
            stage, peer = Stage.SEEN, busy
        return Pending(record, stage, peer, max(0, record.expires_ms - now_ms) / 1000)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def _secret_of(code: Code) -> Secret:
    match code:
        case Words():
            return code.words
        case Link():
            return code.secret
