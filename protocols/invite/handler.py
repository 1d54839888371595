"""The inviter's side on a host: answers questions, pairs, and writes down what happens."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import trio

from fogp2p.addresses import Scope
from fogp2p.counting import counted
from fogp2p.environment import Environment, deadline_of, within
from fogp2p.errors import LimitExceeded
from fogp2p.events import EventHub, Gap
from fogp2p.host import Host, Stream
from fogp2p.ids import PeerId
from fogp2p.killpoints import killpoint

from .book import InviteRecord, JoinRecord, Stage
from .budget import Budget
from .codes import Kind, password
from .config import (
    HELLO_TIMEOUT_S,
    MAX_GUESSES,
    MAX_OFFERS,
    PAIRING_TIMEOUT_S,
    SERVED_AT_ONCE,
    SERVED_PER_PEER,
)
from .machine import Asked, Finished, Inviter, Proved, Shown, WrongGuess
from .messages import Contact, Hello, Intent, Reason
from .pake import ENTROPY_BYTES
from .store import Store
from .talk import believed, flush, next_event, reach_of

__all__ = ["Progress", "Reporter", "Server"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """A step of an invite or a join. `what`: "invite" or "join". `detail` is for people."""

    what: str
    id: str
    stage: Stage
    peer: PeerId | None = None
    detail: str = ""


class Reporter:
    """Tells whoever listens how invites and joins proceed."""

    def __init__(self) -> None:
        self._hub: EventHub[Progress] = EventHub()

    def tell(
        self,
        record: InviteRecord | JoinRecord,
        stage: Stage,
        peer: PeerId | None = None,
        detail: str = "",
    ) -> None:
        """Publish one step. Neither codes nor secrets are part of it."""
        what = "invite" if isinstance(record, InviteRecord) else "join"
        peer = peer if peer is not None else record.peer
        _LOG.info("%s_%s id=%s", what, stage.value, record.id)
        self._hub.publish(Progress(what, record.id, stage, peer, detail))

    def listen(self) -> AbstractContextManager[AsyncIterator[Progress | Gap]]:
        """What happens from now on."""
        return self._hub.listen()


class Server:
    """Serves the protocol for the invites of one book."""

    def __init__(
        self,
        host: Host,
        environment: Environment,
        store: Store,
        reporter: Reporter,
        contact: Callable[[], Contact],
    ) -> None:
        self._host = host
        self._environment = environment
        self._store = store
        self._reporter = reporter
        self._contact = contact
        self._budget = Budget()
        self._serving: Counter[PeerId] = Counter()
        self._pairing: defaultdict[str, set[PeerId]] = defaultdict(set)

    def pairing_with(self, id: str) -> PeerId | None:
        """A peer that is pairing on this invite right now."""
        return next(iter(self._pairing.get(id, ())), None)

    async def serve(self, stream: Stream) -> None:
        """One stream of a joiner."""
        peer = stream.remote_peer
        with self._admitted(peer):
            machine = Inviter(
                local=self._host.peer_id,
                remote=peer,
                entropy=self._environment.random.randbytes(ENTROPY_BYTES),
            )
            with deadline_of(within(HELLO_TIMEOUT_S), "waiting for a hello"):
                event = await next_event(stream, machine, self._environment)
            assert isinstance(event, Asked), "an inviter's first event"
            with deadline_of(within(PAIRING_TIMEOUT_S), "a pairing"):
                if event.hello.intent is Intent.ASK:
                    self._answer(machine, event.hello, peer)
                else:
                    await self._pair(stream, machine, event.hello.nameplate)
                await flush(stream, machine)

    @contextmanager
    def _admitted(self, peer: PeerId) -> Iterator[None]:
        """Cheap checks first: nothing is read from a peer that asks too much."""
        if self._serving.total() >= SERVED_AT_ONCE or self._serving[peer] >= SERVED_PER_PEER:
            raise LimitExceeded("too many questions about invites at once")
        if not self._budget.take(peer, trio.current_time()):
            raise LimitExceeded("too many questions about invites")
        with counted(self._serving, peer):
            yield

    # --- questions -------------------------------------------------------------------------------

    def _answer(self, machine: Inviter, hello: Hello, peer: PeerId) -> None:
        now = self._store.dates.now_ms()
        if hello.nameplate == 0:
            near = reach_of(self._host, peer) in (Scope.LOOPBACK, Scope.LINK, Scope.LAN)
            machine.offer(self._listed(now) if near else ())
            return
        found = self._store.book.judge(hello.nameplate, peer, now)
        if isinstance(found, Reason):
            machine.refuse(found)
        else:
            machine.offer(((found.nameplate, _seconds_left(found, now)),))

    def _listed(self, now_ms: int) -> tuple[tuple[int, int], ...]:
        """Open invites in words; a link is for whom has it."""
        return tuple(
            (record.nameplate, _seconds_left(record, now_ms))
            for record in self._store.book.invites.values()
            if record.kind is Kind.WORDS
            and record.stage is Stage.INVITED
            and now_ms < record.expires_ms
        )[:MAX_OFFERS]

    # --- pairing ---------------------------------------------------------------------------------

    async def _pair(self, stream: Stream, machine: Inviter, nameplate: int) -> None:
        peer, now = stream.remote_peer, self._store.dates.now_ms()
        record = self._store.book.judge(nameplate, peer, now)
        if isinstance(record, Reason):
            machine.refuse(record)
            return
        running = self._pairing[record.id]
        if peer in running or len(running) >= min(MAX_GUESSES, record.guesses_left):
            machine.refuse(Reason.BUSY)
            return
        running.add(peer)
        try:
            self._reporter.tell(record, Stage.SEEN, peer)
            code = record.code(self._host.peer_id, ())
            assert code is not None, "a live invite has its secret"
            machine.pair(record.nameplate, _seconds_left(record, now), password(code))
            await self._prove(stream, machine, record)
        finally:
            running.discard(peer)
            if not running:
                del self._pairing[record.id]
            after = self._store.book.invites.get(record.id)
            if after is not None and after.stage is Stage.INVITED:
                self._reporter.tell(after, Stage.INVITED, detail="open again")

    async def _prove(self, stream: Stream, machine: Inviter, record: InviteRecord) -> None:
        event = await next_event(stream, machine, self._environment)
        if isinstance(event, WrongGuess):
            await self._guessed(machine, record, stream.remote_peer)
            return
        assert isinstance(event, Proved), "what follows an offer"
        peer, store = stream.remote_peer, self._store
        refused = store.book.claim(record.id, peer, store.dates.now_ms())
        if refused is not None:
            machine.refuse(refused)
            return
        await store.save()
        killpoint("invite.claimed")
        self._reporter.tell(record, Stage.ACCEPTED, peer)
        machine.accept(self._contact())
        event = await next_event(stream, machine, self._environment)
        assert isinstance(event, Shown), "what follows a proof"
        store.book.stored(record.id, believed(self._host, event.contact), store.dates.now_ms())
        await store.save()
        killpoint("invite.stored")
        machine.stored()
        event = await next_event(stream, machine, self._environment)
        assert isinstance(event, Finished), "what follows a contact"
        store.book.verified(record.id)
        await store.save()
        killpoint("invite.verified")
        self._reporter.tell(record, Stage.VERIFIED, peer)

    async def _guessed(self, machine: Inviter, record: InviteRecord, peer: PeerId) -> None:
        left = self._store.book.wrong_guess(record.id)
        await self._store.save()
        killpoint("invite.guessed")
        after = self._store.book.invite(record.id)
        detail = f"wrong guess {after.wrong}"
        if record.kind is Kind.WORDS:
            detail += f" of {MAX_GUESSES}"
        self._reporter.tell(after, Stage.WRONG_GUESS, peer, detail)
        if after.stage is Stage.BURNT:
            self._reporter.tell(after, Stage.BURNT, peer, "make a new one")
        machine.refuse(Reason.WRONG_GUESS, left)


def _seconds_left(record: InviteRecord, now_ms: int) -> int:
    return max(0, record.expires_ms - now_ms) // 1000
