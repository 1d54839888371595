"""Tells, takes, answers and asks: the registry on any host."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from fogp2p.environment import DiskError, Environment, deadline_of, within
from fogp2p.errors import (
    FogError,
    LimitExceeded,
    LocalProtocolError,
    ProtocolRefused,
    RemoteProtocolError,
)
from fogp2p.events import EventHub, Gap
from fogp2p.framing import FrameDecoder, encode_frame, read_frame
from fogp2p.host import Connected, Disconnected, Discovery, Host, Stream
from fogp2p.identity import Identity, verify
from fogp2p.ids import PeerId
from fogp2p.tasks import open_tasks

from .alarms import Alarm, AlarmBook, AlarmKind
from .config import (
    ANNOUNCE_AGAIN_S,
    DISCOVERY_TIMEOUT_S,
    IDLE_S,
    LOOK_S,
    MAX_ANSWER,
    MAX_LIFETIME_S,
    MAX_MESSAGE_BYTES,
    OWN_BURST,
    OWN_PER_S,
    PROTOCOL,
    QUERIES_PER_S,
    QUERY_BURST,
    RENEW_AFTER_S,
    REQUEST_TIMEOUT_S,
    SKEW_S,
    TELL_AT_ONCE,
    TOLD_BURST,
    TOLD_PER_S,
)
from .descriptor import Claim, Descriptor, OwnFacts, is_name, role_key
from .exchange import Budget, answer_frames, push
from .machine import Origin, Outcome, Store, network_of
from .messages import Push, Query, Receipt, Verdict, read_request
from .search import Found, Search
from .sequence import OwnSequence

__all__ = ["Registry", "RegistryEvent", "Renewed", "Updated", "open_registry"]

_LOG = logging.getLogger(__name__)
# Dates differ between honest clocks: these refusals are nobody's forgery.
_DATED = frozenset({"registry-expired", "registry-future"})


@dataclass(frozen=True, slots=True)
class Updated:
    """A descriptor of another peer is new here."""

    descriptor: Descriptor


@dataclass(frozen=True, slots=True)
class Renewed:
    """Our own descriptor is a new one."""

    descriptor: Descriptor


RegistryEvent = Updated | Renewed | Alarm


@dataclass(slots=True)
class _Session:
    """One connection: what the peer was told of us, and what it may still ask."""

    number: int
    told: bytes = b""
    is_telling: bool = False
    speaks: bool = False
    is_deaf: bool = False
    has_asked: bool = False
    refuses: bool = False
    queries: Budget = field(default_factory=lambda: Budget(QUERIES_PER_S, QUERY_BURST))
    others: Budget = field(default_factory=lambda: Budget(TOLD_PER_S, TOLD_BURST))
    own: Budget = field(default_factory=lambda: Budget(OWN_PER_S, OWN_BURST))


@asynccontextmanager
async def open_registry(
    host: Host,
    identity: Identity,
    discoveries: Sequence[Discovery],
    environment: Environment,
    numbers: OwnSequence | Path | None,
    describe: Callable[[], OwnFacts],
) -> AsyncIterator[Registry]:
    """Take part in the registry while the context lasts.

    `describe` says what is true of this peer now; it is called every 30 s and after `update`.
    `numbers`: those of our descriptors, or the file that keeps them. None: they begin anew, and
    this peer's keys must not outlive this registry.
    Raises LocalProtocolError("registry-own") when the first facts cannot be said.
    """
    async with open_tasks() as nursery:
        if not isinstance(numbers, OwnSequence):
            numbers = OwnSequence(numbers, environment)
        registry = Registry(host, identity, discoveries, environment, numbers, describe, nursery)
        await registry.begin()
        host.set_handler(PROTOCOL, registry.serve)
        await nursery.start(registry.watch)
        nursery.start_soon(registry.keep_own)
        nursery.start_soon(registry.keep_announced)
        try:
            yield registry
        finally:
            host.remove_handler(PROTOCOL)
            nursery.cancel_scope.cancel()


class Registry:
    """Made by `open_registry`."""

    def __init__(
        self,
        host: Host,
        identity: Identity,
        discoveries: Sequence[Discovery],
        environment: Environment,
        numbers: OwnSequence,
        describe: Callable[[], OwnFacts],
        nursery: trio.Nursery,
    ) -> None:
        self.store = Store()
        self._host = host
        self._identity = identity
        self._discoveries = tuple(discoveries)
        self._environment = environment
        self._describe = describe
        self._nursery = nursery
        self._sequence = numbers
        self._own: Descriptor | None = None
        self._above = 0
        self._alarms = AlarmBook()
        self._hub: EventHub[RegistryEvent] = EventHub()
        self._sessions: dict[PeerId, _Session] = {}
        self._limiter = trio.CapacityLimiter(TELL_AT_ONCE)
        self._look = trio.Event()
        self._new_roles = trio.Event()
        self._set_back = ""
        self._unsayable = ""

    # --- what others ask -------------------------------------------------------------------------

    def own(self) -> Descriptor | None:
        """What we say of ourselves; None while it cannot be said (see `problem`)."""
        return self._own

    def descriptors(self, role: str | None = None) -> tuple[Descriptor, ...]:
        """Every descriptor of another peer that is alive, of one role or of any."""
        found = self.store.all(self._now(), role)
        return tuple(each for each in found if each.peer != self._host.peer_id)

    def descriptor(self, peer: PeerId) -> Descriptor | None:
        """The descriptor of `peer`, if it is held and alive."""
        return self.store.get(peer, self._now())

    async def find(self, role: str, count: int, *, deadline: float) -> Found:
        """Look for up to `count` (1-64) peers of `role`, asking several mirrors.

        Whoever is known already counts. Ends by `deadline`, then with less. Raises
        LocalProtocolError("registry-find") for another count or what is no role.
        """
        if not 1 <= count <= MAX_ANSWER or not is_name(role):
            raise LocalProtocolError(
                f"find 1-{MAX_ANSWER} peers of a role named in a-z, 0-9, dot, hyphen",
                code="registry-find",
            )
        search = Search(self, self._host, self._environment, self._discoveries)
        return await search.run(role, count, deadline)

    def alarms(self) -> tuple[Alarm, ...]:
        """The latest alarms, the oldest first."""
        return self._alarms.all()

    def events(self) -> AbstractContextManager[AsyncIterator[RegistryEvent | Gap]]:
        """Listen to what happens from now on."""
        return self._hub.listen()

    def update(self) -> None:
        """What we say of ourselves may have changed: look at once."""
        self._look.set()

    def problem(self) -> str:
        """Why we are not described as we should be, for people; empty when all is well."""
        told = [session for session in self._sessions.values() if session.speaks]
        unheard = ""
        if told and all(session.refuses for session in told):
            unheard = "no peer accepts this peer's description: is the date of this machine right?"
        texts = (self._sequence.problem, self._unsayable, self._set_back, unheard)
        return "; ".join(text for text in texts if text)

    def mirrors(self) -> tuple[PeerId, ...]:
        """The connected peers that take part."""
        return tuple(peer for peer in self._host.peers() if self._session(peer).speaks)

    # --- our own ---------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Describe ourselves for the first time."""
        try:
            await self._renew(self._describe())
        except DiskError as exc:
            _LOG.warning("registry_not_described reason=%s", exc)

    async def keep_own(self) -> None:
        """Renew our descriptor when it has to be, and tell everybody who does not know it."""
        while True:
            if await self._renew_if_due():
                # Peers take our news at this rate and no faster.
                await trio.sleep(1 / OWN_PER_S)
            for peer in self._host.peers():
                self._tell_soon(peer)
            with trio.move_on_after(LOOK_S):
                await self._look.wait()
            self._look = trio.Event()

    async def _renew_if_due(self) -> bool:
        facts, now, own = self._describe(), self._now(), self._own
        due = (
            own is None
            or own.sequence <= self._above
            or not own.says_the_same(facts)
            or not own.issued - SKEW_S < now < own.issued + RENEW_AFTER_S
        )
        if not due:
            return False
        try:
            await self._renew(facts)
        except (DiskError, LocalProtocolError) as exc:
            self._unsayable = str(exc) if isinstance(exc, LocalProtocolError) else ""
            _LOG.warning("registry_not_described reason=%s", exc)
            if own is not None and own.expires <= now:
                self._own = None
            return False
        for peer in self._host.peers():
            self._tell_soon(peer)
        return True

    async def _renew(self, facts: OwnFacts) -> None:
        sequence = await self._sequence.take(above=self._above)
        now = max(0, int(self._now()))
        had = set(self._own.roles) if self._own is not None else set()
        self._own = Descriptor.make(
            self._host.peer_id,
            facts,
            sequence=sequence,
            issued=now,
            expires=now + MAX_LIFETIME_S,
            sign=self._identity.sign,
        )
        self._unsayable = ""
        self.store.add(self._own, Origin(), self._now())
        self._hub.publish(Renewed(self._own))
        if set(self._own.roles) - had:
            self._new_roles.set()

    def _tell_soon(self, peer: PeerId) -> None:
        if self._host.connection_to(peer) is None:
            return
        session, own = self._session(peer), self._own
        if own is None or session.told == own.content or session.is_telling or session.is_deaf:
            return
        session.is_telling = True
        self._nursery.start_soon(self._tell, peer, session)

    async def _tell(self, peer: PeerId, session: _Session) -> None:
        try:
            while self._own is not None and session.told != self._own.content:
                own = self._own
                async with self._limiter:
                    receipt = await push(
                        self._host, peer, own.raw, deadline=within(REQUEST_TIMEOUT_S)
                    )
                session.speaks = True
                self._heed(peer, receipt)
                session.refuses = receipt.verdict is Verdict.REFUSED
                if session.refuses:
                    return
                session.told = own.content
        except ProtocolRefused:
            session.is_deaf = True
        except FogError as exc:
            _LOG.debug("registry_not_told peer=%s reason=%s", peer.short, exc)
        finally:
            session.is_telling = False

    def _heed(self, peer: PeerId, receipt: Receipt) -> None:
        if receipt.verdict is Verdict.SUPERSEDED and receipt.held is not None:
            self.judge(receipt.held, peer, wanted=self._host.peer_id)

    def _recognise(self, ours: Descriptor, source: PeerId) -> Outcome:
        """Somebody gave us a descriptor of our own, with a good signature."""
        own = self._own
        first_unused = own.sequence if own is not None else self._sequence.next
        if ours.sequence < first_unused or (own is not None and ours.content == own.content):
            return Outcome(Verdict.KNOWN, own)
        self._above = max(self._above, ours.sequence)
        self._set_back = (
            "peers know a newer description of this peer than it does: its data was set back to an "
            "old copy, or its key is in use elsewhere"
        )
        self._raise_alarm(AlarmKind.ROLLED_BACK, ours.peer, source, self._set_back)
        self._look.set()
        return Outcome(Verdict.SUPERSEDED, own)

    async def keep_announced(self) -> None:
        """Announce our roles where peers can be found by them."""
        announced: set[str] = set()
        while True:
            roles = set(self._own.roles) if self._own is not None else set()
            self._new_roles = trio.Event()
            for role in sorted(roles - announced):
                if await self._announce(role):
                    announced.add(role)
            waiting = ANNOUNCE_AGAIN_S if roles - announced else math.inf
            with trio.move_on_after(waiting):
                await self._new_roles.wait()

    async def _announce(self, role: str) -> bool:
        held = 0
        for discovery in self._discoveries:
            try:
                deadline = within(DISCOVERY_TIMEOUT_S)
                held += await discovery.provide(role_key(role), deadline=deadline)
            except FogError as exc:
                _LOG.debug("registry_not_announced role=%s reason=%s", role, exc)
        return held > 0

    # --- taking ----------------------------------------------------------------------------------

    def judge(
        self, envelope: bytes, source: PeerId, *, wanted: PeerId | None = None, role: str = ""
    ) -> Descriptor | None:
        """Check what `source` gave us and keep it, if it is news.

        Returns the newest that is known of the peer it describes; None for what its date, or an
        equivocation, makes unusable. `wanted` and `role` are what it was asked for. Raises
        RemoteProtocolError, with an alarm for what no honest mirror passes on.
        """
        try:
            claim = Claim.from_bytes(envelope, now=self._now())
            self._take(claim, source)
        except RemoteProtocolError as exc:
            if exc.code in _DATED:
                return None
            self._raise_alarm(AlarmKind.FORGED, source, source, f"it passed on: {exc}")
            raise
        described = claim.descriptor
        if described.peer != (wanted or described.peer) or not {role} <= {"", *described.roles}:
            raise RemoteProtocolError("not what was asked for", code="registry-unasked")
        return self.descriptor(described.peer)

    def _take(self, claim: Claim, source: PeerId) -> Outcome:
        described, now = claim.descriptor, self._now()
        if described.peer == self._host.peer_id:
            return self._recognise(claim.prove(verify), source)
        if self.store.settled(described, now) is None:
            claim.prove(verify)
        outcome = self.store.add(described, self._origin(described, source), now)
        if outcome.verdict is Verdict.KEPT:
            self._hub.publish(Updated(described))
        if outcome.equivocation is not None:
            text = f"it signed two descriptors with sequence {described.sequence}"
            self._raise_alarm(AlarmKind.EQUIVOCATED, described.peer, source, text)
        return outcome

    def _origin(self, described: Descriptor, source: PeerId) -> Origin:
        connection = self._host.connection_to(source)
        network = network_of([connection.address]) if connection is not None else ""
        if described.peer == source:
            return Origin(network)
        return Origin(network_of(described.multiaddrs()), network or str(source))

    def _raise_alarm(self, kind: AlarmKind, peer: PeerId, source: PeerId, text: str) -> None:
        alarm = Alarm(kind, peer, source, self._now(), text)
        if self._alarms.add(alarm):
            self._hub.publish(alarm)
            _LOG.warning(
                "registry_alarm kind=%s peer=%s source=%s", kind.value, peer.short, source.short
            )

    def met(self, peer: PeerId) -> None:
        """Note that `peer` answered."""
        self._session(peer).speaks = True
        self._tell_soon(peer)

    def withheld(self, peer: PeerId, source: PeerId) -> None:
        """Note that `source` leaves out a descriptor that it said it has."""
        text = "it has this descriptor and leaves it out of its answers"
        self._raise_alarm(AlarmKind.WITHHELD, peer, source, text)

    # --- answering -------------------------------------------------------------------------------

    async def serve(self, stream: Stream) -> None:
        """Answer the requests of one stream."""
        peer = stream.remote_peer
        decoder = FrameDecoder(max_bytes=MAX_MESSAGE_BYTES)
        while True:
            with deadline_of(within(IDLE_S), "waiting for a request"):
                frame = await read_frame(stream, decoder)
            if frame is None:
                return
            response = self._answer(peer, frame)
            with deadline_of(within(REQUEST_TIMEOUT_S), "sending an answer"):
                await stream.write_all(response)

    def _answer(self, peer: PeerId, frame: bytes) -> bytes:
        session, request = self._session(peer), read_request(frame)
        if not session.has_asked:
            # It may have begun to take part after it had refused our first stream.
            session.has_asked, session.is_deaf = True, False
            self._tell_soon(peer)
        if isinstance(request, Push):
            receipt = self._receive(peer, session, request.envelope)
            return encode_frame(receipt.to_bytes(), max_bytes=MAX_MESSAGE_BYTES)
        if not session.queries.spend(trio.current_time()):
            raise LimitExceeded(f"more than {QUERIES_PER_S:.0f} registry query a second")
        if isinstance(request, Query):
            chance = self._environment.random
            found, total = self.store.sample(request.role, request.limit, self._now(), chance)
        else:
            known = self.store.get(request.peer, self._now())
            found = (known,) if known is not None else ()
            total = len(found)
        return answer_frames(tuple(each.raw for each in found), total)

    def _receive(self, peer: PeerId, session: _Session, envelope: bytes) -> Receipt:
        try:
            claim = Claim.from_bytes(envelope, now=self._now())
            own = claim.descriptor.peer == peer
            budget = session.own if own else session.others
            if not budget.spend(trio.current_time()):
                return Receipt(Verdict.REFUSED)
            outcome = self._take(claim, peer)
        except RemoteProtocolError as exc:
            if exc.code in _DATED:
                return Receipt(Verdict.REFUSED)
            self._raise_alarm(AlarmKind.FORGED, peer, peer, f"it passed on: {exc}")
            raise
        if outcome.verdict is Verdict.SUPERSEDED and outcome.held is not None:
            return Receipt(Verdict.SUPERSEDED, outcome.held.raw)
        return Receipt(outcome.verdict)

    # --- connections -----------------------------------------------------------------------------

    async def watch(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell every peer that connects, and forget what belonged to a connection with it."""
        with self._host.events() as events:
            for peer in self._host.peers():
                self._tell_soon(peer)
            task_status.started()
            async for event in events:
                match event:
                    case Connected(connection=connection):
                        self._tell_soon(connection.peer)
                    case Disconnected(connection=connection):
                        self._forget(connection.peer, connection.number)
                    case Gap():
                        for peer, session in tuple(self._sessions.items()):
                            self._forget(peer, session.number)
                        for peer in self._host.peers():
                            self._tell_soon(peer)
                    case _:
                        pass

    def _session(self, peer: PeerId) -> _Session:
        """The session of the present connection; a stream may be served just after its end."""
        connection = self._host.connection_to(peer)
        session = self._sessions.get(peer)
        if connection is None:
            return session if session is not None else _Session(0)
        if session is None or session.number != connection.number:
            session = self._sessions[peer] = _Session(connection.number)
        return session

    def _forget(self, peer: PeerId, number: int) -> None:
        session = self._sessions.get(peer)
        connection = self._host.connection_to(peer)
        if session is None or (connection is not None and connection.number == session.number):
            return
        if session.number == number:
            del self._sessions[peer]

    def _now(self) -> float:
        return self._environment.clock.wall()
