"""How one replica keeps level with one peer, for one group. Pure.

Theory of operation: each side tells its frontier on connecting, after changes and periodically.
Equal fingerprints: done. A peer's head that is unknown here is asked for, and then the parents
that it turns out to lack, a few steps back: this is how news travels, at the cost of the news. When
that does not reach known ground, or the frontiers differ by much, ranges are compared: the side
with the smaller peer id asks (the other may ask it to), learns what either side lacks, sends what
the peer lacks and asks for the rest.

Every message may be lost, repeated or late: what is outstanding has a deadline, and the next
frontier begins anew. The peer's questions are answered from the replica alone.

Time and randomness are arguments. Spec: specs/log/log-v1.md section 8.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from fogp2p.errors import RemoteProtocolError

from .config import (
    ANSWER_TIMEOUT_S,
    CHASE_ENTRIES,
    CHASE_STEPS,
    MAX_FOUND,
    MAX_GROUP_ENTRIES,
    MAX_HEADS,
    MAX_QUEUED_QUERIES,
    MAX_WANT,
)
from .entries import Entry
from .machine import Replica
from .messages import Frontier, Query, Reply, Want
from .reconcile import Asker, answer

__all__ = ["Action", "PeerSync", "Push", "Say"]

SESSION_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Say:
    """Send this message."""

    message: Frontier | Query | Reply | Want


@dataclass(frozen=True, slots=True)
class Push:
    """Send these entries, in this order."""

    ids: tuple[bytes, ...]


Action: TypeAlias = Say | Push


class PeerSync:
    """One peer, one group."""

    def __init__(self, replica: Replica, *, is_asker: bool, draw: Callable[[int], bytes]) -> None:
        """`is_asker`: our peer id is the smaller one. `draw(n)`: n fresh random bytes."""
        self._replica = replica
        self._is_asker = is_asker
        self._draw = draw
        self._theirs: Frontier | None = None
        self._told: bytes | None = None
        self._session: Asker | None = None
        self._to_fetch: deque[bytes] = deque()
        self._wanted: set[bytes] = set()
        self._lacking: dict[bytes, None] = {}
        self._steps = CHASE_STEPS
        self._is_pushing = False
        self._compared: tuple[bytes, bytes] | None = None
        self._deadline: float | None = None
        self._queries: deque[Query] = deque()
        self.actions: deque[Action] = deque()
        self.broken_promises = 0
        self.sessions = 0
        self.rounds = 0

    @property
    def is_level(self) -> bool:
        """Whether the peer's last frontier equals ours."""
        return self._theirs is not None and self._theirs.fingerprint == self._replica.fingerprint

    @property
    def is_busy(self) -> bool:
        """Whether an answer of the peer is awaited, or it is sent what it lacks."""
        return self._session is not None or bool(self._wanted) or self._is_pushing

    # --- what the owner calls --------------------------------------------------------------------

    def tell(self) -> None:
        """Tell our frontier, unless the peer is known to have the same or we are busy with it."""
        if not self.is_busy and not (self.is_level and self._told == self._replica.fingerprint):
            self._say_frontier(asks=False)

    def repeat(self) -> None:
        """Tell it even if it was told before: something may have been lost."""
        if not self.is_busy:
            self._compared = None
            self._say_frontier(asks=False)

    def handle_time(self, now: float) -> None:
        """Give up what was not answered in time; promises that were not kept are counted."""
        if self._deadline is not None and now >= self._deadline:
            self.broken_promises += len(self._wanted)
            self._forget()

    def next_deadline(self) -> float | None:
        """When `handle_time` has something to do."""
        return self._deadline

    def receive(self, message: Frontier | Query | Reply | Want, now: float) -> None:
        """Take a message; then look at `actions`.

        Raises RemoteProtocolError "log-frontier", "log-ranges", "log-flood".
        """
        match message:
            case Frontier():
                self._take_frontier(message, now)
            case Query():
                if len(self._queries) >= MAX_QUEUED_QUERIES:
                    raise RemoteProtocolError("queries without waiting", code="log-flood")
                self._queries.append(message)
            case Reply():
                self._take_reply(message, now)
            case Want():
                self.actions.append(Push(message.ids))

    def expects(self, name: bytes) -> bool:
        """Whether we asked the peer for this entry."""
        return name in self._wanted

    def answer_next(self) -> Reply | None:
        """The reply to the oldest unanswered query. Raises RemoteProtocolError("log-ranges")."""
        return answer(self._replica.index, self._queries.popleft()) if self._queries else None

    def pushed(self, now: float) -> None:
        """All that was to be pushed is on its way."""
        if self._is_pushing:
            self._is_pushing = False
            if not self.is_busy:
                self._go_on(now)

    def took(self, entries: Iterable[Entry], now: float) -> None:
        """Entries of the peer were ingested, or refused: go on."""
        for entry in entries:
            self._wanted.discard(entry.id)
            behind = entry.position - self._replica.next_position(entry.author)
            if behind > CHASE_STEPS:
                self._steps = 0  # its author's chain alone is further than a chase goes
            for parent in entry.past:
                if not self._replica.is_known(parent) and len(self._lacking) < MAX_WANT:
                    self._lacking[parent] = None
        if self._wanted or self._session is not None:
            if self._deadline is not None:
                self._deadline = now + ANSWER_TIMEOUT_S
            return
        self._go_on(now)

    # --- frontiers and chasing -------------------------------------------------------------------

    def _say_frontier(self, *, asks: bool) -> None:
        replica = self._replica
        self._told = replica.fingerprint
        frontier = Frontier(replica.group, len(replica), self._told, replica.heads(), asks)
        self.actions.append(Say(frontier))

    def _take_frontier(self, frontier: Frontier, now: float) -> None:
        if not len(frontier.heads) <= frontier.count <= MAX_GROUP_ENTRIES or (
            bool(frontier.heads) != bool(frontier.count)
        ):
            raise RemoteProtocolError(
                f"a frontier of {frontier.count} entries, at most {MAX_GROUP_ENTRIES} are held",
                code="log-frontier",
            )
        self._theirs = frontier
        if not self.is_busy:
            self._consider(now)

    def _consider(self, now: float) -> None:
        """Act on what the peer said it has."""
        frontier = self._theirs
        if frontier is None or self.is_level:
            return
        difference = frontier.count - len(self._replica)
        unknown = [name for name in frontier.heads if not self._replica.is_known(name)]
        if frontier.asks or difference > CHASE_ENTRIES or len(frontier.heads) == MAX_HEADS:
            self._theirs = replace(frontier, asks=False)
            self._compare(now)
        elif unknown:
            self._steps = CHASE_STEPS
            self._want(unknown, now)
        elif difference >= 0:
            self._compare(now)
        elif self._told != self._replica.fingerprint:
            self._say_frontier(asks=False)

    def _want(self, names: list[bytes], now: float) -> None:
        names = names[:MAX_WANT]
        self._wanted = set(names)
        self._deadline = now + ANSWER_TIMEOUT_S
        self.actions.append(Say(Want(self._replica.group, tuple(names))))

    def _go_on(self, now: float) -> None:
        """Nothing is outstanding: the next of what is known to be missing, or the end."""
        self._deadline = None
        if self._to_fetch:
            names: list[bytes] = []
            while self._to_fetch and len(names) < MAX_WANT:
                name = self._to_fetch.popleft()
                if not self._replica.is_known(name):
                    names.append(name)
            if names:
                self._want(names, now)
                return
        lacking = [name for name in self._lacking if not self._replica.is_known(name)]
        self._lacking.clear()
        if lacking and self._steps > 0:
            self._steps -= 1
            self._want(lacking, now)
        elif lacking:
            self._compare(now)
        elif not self.is_level:
            if self._told != self._replica.fingerprint:
                self._say_frontier(asks=False)
            self._consider(now)

    # --- comparing ranges ------------------------------------------------------------------------

    def _compare(self, now: float) -> None:
        replica = self._replica
        pair = (replica.fingerprint, self._theirs.fingerprint if self._theirs else b"")
        if pair == self._compared:
            return  # it brought nothing: entries we may not keep, or a peer that lies
        self._compared = pair
        if not self._is_asker:
            self._say_frontier(asks=True)
            return
        self._session = Asker(replica.index, replica.group, self._draw(SESSION_BYTES))
        self.sessions += 1
        self._ask(now)

    def _ask(self, now: float) -> None:
        session = self._session
        assert session is not None
        query = session.next_query()
        if query is not None:
            self.rounds += 1
            self._deadline = now + ANSWER_TIMEOUT_S
            self.actions.append(Say(query))
            return
        self._session = None
        if self._theirs is not None:
            self._theirs = replace(self._theirs, asks=False)  # this was the session it asked for
        self._to_fetch = deque(dict.fromkeys(session.need[:MAX_FOUND]))
        have = self._replica.in_order(dict.fromkeys(session.have[:MAX_FOUND]))
        if have:
            self._is_pushing = True
            self.actions.append(Push(tuple(have)))
        self._go_on(now)

    def _take_reply(self, reply: Reply, now: float) -> None:
        if self._session is not None and self._session.receive(reply):
            self._ask(now)

    def _forget(self) -> None:
        self._session = None
        self._deadline = None
        self._is_pushing = False
        self._wanted.clear()
        self._to_fetch.clear()
        self._lacking.clear()
