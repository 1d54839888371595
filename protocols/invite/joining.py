"""The joiner's side: from a code to a contact, now or after the next restart."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import trio

from fogp2p.addresses import Multiaddr
from fogp2p.environment import Environment, deadline_of, within
from fogp2p.errors import (
    DeadlineExceeded,
    FogError,
    LimitExceeded,
    RemoteProtocolError,
    TransportError,
    Unreachable,
)
from fogp2p.host import Discovery, Host, Stream
from fogp2p.ids import PeerId
from fogp2p.killpoints import killpoint
from fogp2p.supervision import end_distrusted
from fogp2p.tasks import open_tasks

from .book import JoinRecord, Known, Stage
from .codes import Kind, password
from .config import BUSY_RETRY_S, CANDIDATE_S, DIAL_S, MAX_CANDIDATES
from .errors import InviteGone, InviterNotFound, WrongWords
from .handler import Reporter
from .machine import Joiner, Kept, Offered, Refused, Shown
from .messages import Contact, Reason, Refusal
from .search import Candidate, Search
from .store import Store
from .talk import believed, flush, next_event, open_joiner

__all__ = ["JOIN_FAILED", "Joining", "not_found"]

_LOG = logging.getLogger(__name__)

JOIN_FAILED: Final = (WrongWords, InviteGone)
"""Errors that end a join for good. After any other it stays pending."""


class _Busy(TransportError):
    """The inviter pairs with somebody else just now."""


class Joining:
    """Pairs for the joins of one book."""

    def __init__(
        self,
        host: Host,
        discoveries: Sequence[Discovery],
        environment: Environment,
        store: Store,
        reporter: Reporter,
        contact: Callable[[], Contact],
    ) -> None:
        self._host = host
        self._discoveries = discoveries
        self._environment = environment
        self._store = store
        self._reporter = reporter
        self._contact = contact
        self._seen: dict[str, PeerId] = {}

    def pairing_with(self, id: str) -> PeerId | None:
        """The peer this join is pairing with right now."""
        return self._seen.get(id)

    async def attempt(self, record: JoinRecord, deadline: float) -> Known:
        """Pair. Raises WrongWords or InviteGone, after which the join is gone; InviterNotFound,
        DiskError, or as `Host.open_stream`, after which it is still pending.
        """
        try:
            if record.peer is None:
                return await self._pair_by_words(record, deadline)
            return await self._pair_with(record, record.peer, record.addresses, deadline)
        except JOIN_FAILED as exc:
            await self._drop(record, exc)
            raise
        except InviterNotFound:
            raise
        except (TransportError, RemoteProtocolError) as exc:
            raise not_found(str(exc)) from exc

    async def _drop(self, record: JoinRecord, reason: FogError) -> None:
        if self._store.book.joins.pop(record.id, None) is not None:
            await self._store.save()
            killpoint("join.dropped")
        wrong = isinstance(reason, WrongWords)
        stage = Stage.WRONG_GUESS if wrong else Stage.REFUSED
        self._reporter.tell(record, stage, detail=str(reason))

    # --- finding ---------------------------------------------------------------------------------

    async def _pair_by_words(self, record: JoinRecord, deadline: float) -> Known:
        """Try those who have the nameplate, one after another."""
        async with open_tasks() as nursery:
            search = Search(
                self._host, self._discoveries, self._environment, record.nameplate, deadline
            )
            nursery.start_soon(search.run)
            try:
                return await self._try_candidates(record, search, deadline)
            finally:
                nursery.cancel_scope.cancel()

    async def _try_candidates(self, record: JoinRecord, search: Search, deadline: float) -> Known:
        failure: WrongWords | InviteGone | None = None
        later: deque[Candidate] = deque(maxlen=MAX_CANDIDATES)
        while trio.current_time() < deadline:
            candidate = await search.next(patient=failure is None and not later)
            if candidate is None and later:
                candidate = later.popleft()
            if candidate is None:
                break
            until = min(deadline, within(CANDIDATE_S))
            try:
                return await self._pair_with(record, candidate.peer, candidate.addresses, until)
            except JOIN_FAILED as exc:
                # Words that were wrong for one explain more than "somebody else had it".
                failure = exc if not isinstance(failure, WrongWords) else failure
            except (TransportError, RemoteProtocolError) as exc:
                _LOG.info("join_failed peer=%s reason=%s", candidate.peer.short, exc)
                if self._store.book.join(record.id).peer is not None:
                    raise  # proven, and cut off behind that: no other peer has this invite
                if isinstance(exc, DeadlineExceeded):
                    later.append(candidate)  # busy or slow: it does not hold up the others
        if failure is not None:
            raise failure
        if search.refusal is not None:
            raise _refusal(search.refusal, record)
        nobody = "nobody within reach" if not search.answers else f"none of {search.answers} peers"
        raise not_found(f"{nobody} has invite {record.nameplate}")

    async def _pair_with(
        self, record: JoinRecord, peer: PeerId, addresses: Sequence[Multiaddr], deadline: float
    ) -> Known:
        """Pair with one peer, waiting while it is busy."""
        with deadline_of(deadline, f"pairing with {peer.short}"):
            while True:
                try:
                    return await self._pair(record, peer, await self._addresses_of(peer, addresses))
                except _Busy:
                    await trio.sleep(BUSY_RETRY_S)

    async def _addresses_of(
        self, peer: PeerId, addresses: Sequence[Multiaddr]
    ) -> Sequence[Multiaddr]:
        """The given ones, or what the discoveries know when these do not lead there."""
        if self._host.connection_to(peer) is not None:
            return addresses
        deadline = trio.current_effective_deadline()
        try:
            await self._host.connect(peer, addresses, deadline=min(deadline, within(DIAL_S)))
        except (Unreachable, DeadlineExceeded):
            found: list[Multiaddr] = []
            for discovery in self._discoveries:
                found += await discovery.find_peer(peer, deadline=deadline)
            if not found:
                raise
            return found
        return addresses

    # --- pairing ---------------------------------------------------------------------------------

    async def _pair(
        self, record: JoinRecord, peer: PeerId, addresses: Sequence[Multiaddr]
    ) -> Known:
        stream, machine = await open_joiner(
            self._host,
            peer,
            addresses,
            self._environment,
            nameplate=record.nameplate,
            password=password(record.code()),
            deadline=trio.current_effective_deadline(),
        )
        self._seen[record.id] = peer
        try:
            async with stream:
                return await self._exchange(stream, machine, record)
        except RemoteProtocolError as exc:
            await end_distrusted(exc, peer, self._host.disconnect)
            raise
        finally:
            self._seen.pop(record.id, None)

    async def _exchange(self, stream: Stream, machine: Joiner, record: JoinRecord) -> Known:
        environment, store = self._environment, self._store
        event = await next_event(stream, machine, environment)
        if isinstance(event, Refused):
            raise _refusal(event.refusal, record)
        assert isinstance(event, Offered), "what follows a hello"
        self._reporter.tell(record, Stage.SEEN, stream.remote_peer)
        if not store.book.begin(record.id):
            raise WrongWords(
                f"too many peers claimed to have invite {record.nameplate} and did not finish",
                hint="ask for a new code, or for a link",
            )
        await store.save()
        killpoint("join.begun")
        await environment.executor.in_thread(machine.begin)
        event = await next_event(stream, machine, environment)
        if isinstance(event, Refused):
            raise _refusal(event.refusal, record)
        assert isinstance(event, Shown), "what follows a proof"
        store.book.accepted(record.id, believed(self._host, event.contact))
        await store.save()
        killpoint("join.accepted")
        self._reporter.tell(record, Stage.ACCEPTED, stream.remote_peer)
        machine.present(self._contact())
        event = await next_event(stream, machine, environment)
        assert isinstance(event, Kept), "what follows a contact"
        known = store.book.joined(record.id, store.dates.now_ms())
        await store.save()
        killpoint("join.done")
        self._reporter.tell(record, Stage.VERIFIED, stream.remote_peer)
        # Whether the inviter hears of it or not, the contact is ours: it drops its secret later.
        machine.finish()
        try:
            await flush(stream, machine)
        except (TransportError, LimitExceeded) as exc:
            _LOG.info("join_farewell peer=%s failed=%s", stream.remote_peer.short, exc)
        return known


def not_found(reason: str) -> InviterNotFound:
    """The join goes on in the background."""
    return InviterNotFound(
        f"the inviter was not reached: {reason}",
        hint="is its peer running, and on this network? this join stays pending and goes on by "
        "itself: fogp2p join --list",
    )


def _refusal(refusal: Refusal, record: JoinRecord) -> FogError:
    match refusal.reason:
        case Reason.BUSY:
            return _Busy("the inviter is busy")
        case Reason.WRONG_GUESS:
            left = refusal.guesses_left
            what = "words" if record.kind is Kind.WORDS else "link"
            rest = f"{left} more tries" if left != 1 else "one more try"
            hint = f"read the code again: {rest}" if left else "ask for a new code"
            if record.kind is Kind.LINK:
                hint = "copy the whole link again"
            return WrongWords(f"the inviter has other {what} for {record.nameplate}", hint=hint)
        case reason:
            said = {
                Reason.EXPIRED: "has expired",
                Reason.USED: "was used by somebody else",
                Reason.BURNT: "is burnt: it was guessed wrong too often",
                Reason.UNKNOWN: "is not known to the inviter any more",
            }[reason]
            return InviteGone(
                f"invite {record.nameplate} {said}", reason=reason.value, hint="ask for a new code"
            )
