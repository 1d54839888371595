"""One iterative lookup: whom to ask next, and when to stop. Pure.

Theory of operation: keep the peers heard of, nearest to the target first. Ask the nearest ones
that were not asked yet, a few at a time; what they name is heard of, too. The lookup is finished
when the `k` nearest that did not fail have all answered, or when it has asked enough.
Spec: specs/kad/kad-v1.md.
"""

from __future__ import annotations

import enum
from bisect import insort
from collections.abc import Iterable

from fogp2p.ids import PeerId

from .config import MAX_HEARD, MAX_QUERIES
from .messages import key_of
from .table import distance

__all__ = ["Lookup"]


class _State(enum.Enum):
    HEARD = 1
    ASKED = 2
    ANSWERED = 3
    FAILED = 4


class Lookup:
    """The `k` peers nearest to a target, as far as others know."""

    def __init__(
        self, target: bytes, seeds: Iterable[PeerId], *, own: PeerId, k: int, alpha: int
    ) -> None:
        """`target`: 32 bytes, see `key_of`. `seeds`: the nearest peers we know ourselves."""
        self._target = target
        self._own = own
        self._k, self._alpha = k, alpha
        self._order: list[tuple[int, PeerId]] = []
        self._states: dict[PeerId, _State] = {}
        self._asked = 0
        self.hear(seeds)

    def hear(self, peers: Iterable[PeerId]) -> None:
        """These peers exist, somebody says."""
        for peer in peers:
            if peer != self._own and peer not in self._states:
                self._states[peer] = _State.HEARD
                insort(self._order, (distance(key_of(peer.raw), self._target), peer))
        while len(self._order) > MAX_HEARD:
            last = self._order[-1][1]
            if self._states[last] is not _State.HEARD:
                break  # whoever was asked is remembered: nobody is asked twice
            self._order.pop()
            del self._states[last]

    def next_queries(self) -> list[PeerId]:
        """Peers to ask now; each is given out once."""
        busy = sum(state is _State.ASKED for state in self._states.values())
        room = min(self._alpha - busy, MAX_QUERIES - self._asked)
        due = [peer for peer in self._nearest() if self._states[peer] is _State.HEARD]
        due = due[: max(0, room)]
        for peer in due:
            self._states[peer] = _State.ASKED
        self._asked += len(due)
        return due

    def answered(self, peer: PeerId, closer: Iterable[PeerId]) -> None:
        """`peer` answered and named these."""
        self._states[peer] = _State.ANSWERED
        self.hear(closer)

    def failed(self, peer: PeerId) -> None:
        """`peer` did not answer, or not properly."""
        self._states[peer] = _State.FAILED

    @property
    def is_finished(self) -> bool:
        """Whether nobody is left to ask and no answer is awaited among the nearest."""
        states = [self._states[peer] for peer in self._nearest()]
        if _State.ASKED in states:
            return False
        return _State.HEARD not in states or self._asked >= MAX_QUERIES

    def closest(self) -> list[PeerId]:
        """The nearest that answered, nearest first, at most `k`."""
        found = [peer for _, peer in self._order if self._states[peer] is _State.ANSWERED]
        return found[: self._k]

    @property
    def asked(self) -> int:
        """How many peers were asked."""
        return self._asked

    def _nearest(self) -> list[PeerId]:
        """The `k` nearest that did not fail."""
        found = []
        for _, peer in self._order:
            if self._states[peer] is not _State.FAILED:
                found.append(peer)
                if len(found) == self._k:
                    break
        return found
