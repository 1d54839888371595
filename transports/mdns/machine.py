"""What to ask, what to answer, what to believe: pure, time and randomness are arguments.

Theory of operation: one machine for each interface. Questions go out at 0, 0.5, 1.5 and 4.5 s and
then at the interval. A question by others is answered after a random delay, at most once a second,
and not at all if the asker knows us. Who asks for a content of ours gets an answer about it in
the same way, at most five a second. Announcements count until their TTL runs out;
everything a stranger can make grow is counted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

from fogp2p.addresses import Multiaddr, Scope, believable
from fogp2p.ids import PeerId

from .config import (
    ANSWER_DELAY_S,
    ANSWER_INTERVAL_S,
    CONTENT_INTERVAL_S,
    FIRST_QUERIES_S,
    MAX_PEERS,
    NEW_PEERS_PER_MINUTE,
    PACKETS_PER_S,
    TTL_S,
    MdnsConfig,
)
from .messages import Announcement, Query

__all__ = ["Heard", "Machine"]


@dataclass(slots=True)
class _Seen:
    name: str
    addresses: tuple[Multiaddr, ...]
    expires_at: float
    told_until: float


@dataclass(frozen=True, slots=True)
class Heard:
    """News of a peer; one that expires at once has said goodbye."""

    peer: PeerId
    addresses: tuple[Multiaddr, ...]
    expires_at: float


class Machine:
    """The conversation on one interface."""

    def __init__(
        self,
        config: MdnsConfig,
        own_name: str,
        own_peer: PeerId,
        source: Scope,
        now: float,
        contents: Collection[str] = (),
    ) -> None:
        """`own_name`: our full instance name; `source`: how far this interface reaches.

        `contents`: labels of what we have, as it is at the moment.
        """
        self._config = config
        self._own_name = own_name.lower()
        self._own_peer = own_peer
        self._source = source
        self._queries = [now + delay for delay in FIRST_QUERIES_S]
        self._answer_at: float | None = None
        self._last_answer = now - ANSWER_INTERVAL_S
        self._contents = contents
        # Labels that were asked for: each is one of ours, so there are not many.
        self._asked: dict[str, None] = {}
        self._content_at = now
        self._seen: OrderedDict[PeerId, _Seen] = OrderedDict()
        self._minute = (now, 0)
        self._second = (now, 0)
        self.heard = 0
        """Packets of others about our service."""
        self.dropped = 0
        """Packets and peers left out because of a limit."""

    def next_deadline(self) -> float:
        """When `due` has something to do at the latest."""
        times = [self._queries[0]]
        if self._answer_at is not None:
            times.append(self._answer_at)
        if self._asked:
            times.append(self._content_at)
        if self._seen:
            times.append(min(seen.expires_at for seen in self._seen.values()))
        return min(times)

    def may_read(self, now: float) -> bool:
        """Whether another packet may be looked at in this second."""
        start, count = self._second
        if now - start >= 1.0:
            start, count = now, 0
        self._second = (start, count + 1)
        if count >= PACKETS_PER_S:
            self.dropped += 1
            return False
        return True

    def query_due(self, now: float) -> list[tuple[str, int]] | None:
        """If a question is due: the names known, with TTLs, to put into it. None if not."""
        if now < self._queries[0]:
            return None
        self._queries.pop(0)
        if not self._queries:
            self._queries.append(now + self._config.interval_s)
        # Names with less than half their TTL left are asked for again (RFC 6762 section 7.1).
        return [
            (seen.name, int(seen.expires_at - now))
            for seen in self._seen.values()
            if seen.expires_at - now > TTL_S / 2
        ][:10]

    def answer_due(self, now: float) -> bool:
        """Whether to announce ourselves now."""
        if self._answer_at is None or now < self._answer_at:
            return False
        self._answer_at = None
        self._last_answer = now
        return True

    def content_due(self, now: float) -> str | None:
        """The label of a content to announce now."""
        if not self._asked or now < self._content_at:
            return None
        label = next(iter(self._asked))
        del self._asked[label]
        self._content_at = now + CONTENT_INTERVAL_S
        return label

    def announce_soon(self, now: float) -> None:
        """Our addresses changed: say so as soon as the rate allows."""
        self._answer_at = max(now, self._last_answer + ANSWER_INTERVAL_S)

    def receive_query(self, query: Query, now: float, chance: float) -> None:
        """Somebody asked. `chance`: uniform in 0..1."""
        self.heard += 1
        low, high = ANSWER_DELAY_S
        delay = low + chance * (high - low)
        ours = sorted(label for label in query.labels if label in self._contents)
        if ours and not self._asked:
            self._content_at = max(now + delay, self._content_at)
        self._asked.update(dict.fromkeys(ours))
        known = self._own_name in query.known
        if not query.is_for_all or known or self._answer_at is not None:
            return
        self._answer_at = max(now + delay, self._last_answer + ANSWER_INTERVAL_S)

    def receive_announcement(self, told: Announcement, now: float) -> Heard | None:
        """Somebody says it is there; None if it is no news."""
        if told.peer == self._own_peer or told.name == self._own_name:
            return None
        self.heard += 1
        if told.ttl_s == 0:
            return self._farewell(told, now)
        addresses = believable(told.addresses, source=self._source)
        seen = self._seen.get(told.peer)
        if not addresses or (seen is None and not self._admit(now)):
            return None
        expires_at = now + min(told.ttl_s, TTL_S)
        # The same again is news only when what we told of it is about to run out.
        known = seen is not None and seen.addresses == addresses
        fresh = seen is None or not known or seen.told_until - now < TTL_S / 2
        told_until = expires_at if fresh or seen is None else seen.told_until
        self._seen[told.peer] = _Seen(told.name, addresses, expires_at, told_until)
        self._seen.move_to_end(told.peer)
        if not fresh:
            return None
        return Heard(told.peer, addresses, expires_at)

    def receive_provider(self, told: Announcement, now: float) -> Heard | None:
        """Somebody says it has a content; None when that is of no use."""
        addresses = believable(told.addresses, source=self._source)
        if told.peer == self._own_peer or told.ttl_s == 0 or not addresses:
            return None
        return Heard(told.peer, addresses, now + min(told.ttl_s, TTL_S))

    def expire(self, now: float) -> None:
        """Forget who has not been heard for a TTL."""
        for peer in [peer for peer, seen in self._seen.items() if seen.expires_at <= now]:
            del self._seen[peer]

    def addresses_of(self, peer: PeerId) -> tuple[Multiaddr, ...]:
        """Where `peer` says it is."""
        seen = self._seen.get(peer)
        return seen.addresses if seen is not None else ()

    def present(self) -> list[Heard]:
        """Everybody heard of now."""
        return [Heard(peer, s.addresses, s.expires_at) for peer, s in self._seen.items()]

    @property
    def peers(self) -> int:
        """Peers heard of now."""
        return len(self._seen)

    def _farewell(self, told: Announcement, now: float) -> Heard | None:
        """Believed only under the name the peer announced itself by."""
        seen = self._seen.get(told.peer)
        if seen is None or seen.name != told.name:
            return None
        del self._seen[told.peer]
        return Heard(told.peer, seen.addresses, now)

    def _admit(self, now: float) -> bool:
        start, count = self._minute
        if now - start >= 60.0:
            start, count = now, 0
        if count >= NEW_PEERS_PER_MINUTE or len(self._seen) >= MAX_PEERS:
            self.dropped += 1
            return False
        self._minute = (start, count + 1)
        return True
