"""Which chunk to ask whom for next: pure. Chance is an argument.

Rarest first: what few sources have is asked for before it is gone. A chunk is asked of one source
at a time, until nothing else is left; then those still under way are asked of others as well, so
that one slow source does not hold up the end.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable

from fogp2p.errors import RemoteProtocolError

from .config import MAX_FAULTS, RUN_CHUNKS, RUNS
from .messages import Chunk, Manifest

__all__ = ["Swarm"]


class Swarm:
    """The download of one blob. A source is anything hashable."""

    def __init__(self, manifest: Manifest, present: Iterable[int], chance: random.Random) -> None:
        self.manifest = manifest
        self._missing = set(range(len(manifest.hashes))) - set(present)
        self._asked: dict[int, set[Hashable]] = {}
        self._has: dict[Hashable, frozenset[int]] = {}
        self._faults: dict[Hashable, int] = {}
        self._order: list[int] = []
        self._next: dict[Hashable, int] = {}
        self._again: set[int] = set()
        self._chance = chance
        self.received: dict[Hashable, int] = {}
        """Good chunks by source."""

    @property
    def is_done(self) -> bool:
        """Whether every chunk is here."""
        return not self._missing

    @property
    def missing(self) -> int:
        """How many chunks are not here yet."""
        return len(self._missing)

    @property
    def sources(self) -> tuple[Hashable, ...]:
        """Who is being asked."""
        return tuple(self._has)

    def is_banned(self, source: Hashable) -> bool:
        """Whether `source` sent what the blob does not name."""
        return self._faults.get(source, 0) >= MAX_FAULTS

    def join(self, source: Hashable, has: frozenset[int]) -> None:
        """`source` has these chunks; called again when it has more."""
        self._has[source] = has
        self._arrange()

    def leave(self, source: Hashable) -> None:
        """`source` is gone; what it was asked for is asked of others."""
        self._has.pop(source, None)
        self._next.pop(source, None)
        for index in [index for index, asked in self._asked.items() if source in asked]:
            self._release(index, source)

    def next_for(self, source: Hashable) -> int | None:
        """A chunk to ask `source` for, marked as asked; None when there is none for it now."""
        has = self._has.get(source, frozenset())
        found = next((i for i in self._again if i in has), None)
        if found is None:
            found = self._from_order(source, has)
        if found is None:
            found = self._nearly_done(source, has)
        if found is not None:
            self._again.discard(found)
            self._asked.setdefault(found, set()).add(source)
        return found

    def took(self, source: Hashable, index: int, data: Chunk) -> bool:
        """`source` sent chunk `index`. True: it is good and new, store it; False: here already.

        Raises RemoteProtocolError("blob-chunk") for wrong content; the source is banned then.
        """
        asked = index in self._asked and source in self._asked[index]
        if not asked or index not in self._missing:
            self._release(index, source)
            return False
        try:
            self.manifest.check(index, data)
        except RemoteProtocolError:
            self._faults[source] = self._faults.get(source, 0) + 1
            self._release(index, source)
            raise
        self._missing.discard(index)
        self._asked.pop(index, None)
        self.received[source] = self.received.get(source, 0) + 1
        return True

    def failed(self, source: Hashable, index: int) -> None:
        """`source` does not have chunk `index` after all."""
        self._has[source] = self._has.get(source, frozenset()) - {index}
        self._release(index, source)

    # --- choosing --------------------------------------------------------------------------------

    def _arrange(self) -> None:
        """Sort what is missing by how few have it; equals in runs, in an order unlike others'.

        Both disks like what lies together better. There are always many runs: peers that fetch
        the same blob have something for one another only as long as their orders differ.
        """
        owners = dict.fromkeys(self._missing, 0)
        for has in self._has.values():
            for index in has & self._missing:
                owners[index] += 1
        total = len(self.manifest.hashes)
        run = min(RUN_CHUNKS, total // RUNS + 1)
        place = [self._chance.random() for _ in range(0, total, run)]
        self._order = sorted(owners, key=lambda i: (owners[i], place[i // run], i))
        self._next = dict.fromkeys(self._has, 0)

    def _from_order(self, source: Hashable, has: frozenset[int]) -> int | None:
        at = self._next.get(source, len(self._order))
        while at < len(self._order):
            index = self._order[at]
            at += 1
            if index in has and index in self._missing and index not in self._asked:
                self._next[source] = at
                return index
        self._next[source] = at
        return None

    def _nearly_done(self, source: Hashable, has: frozenset[int]) -> int | None:
        """Something under way elsewhere, once nothing is left that nobody was asked for."""
        if len(self._asked) < len(self._missing):
            return None
        candidates = ((len(asked), i) for i, asked in self._asked.items() if source not in asked)
        return min((each for each in candidates if each[1] in has), default=(0, None))[1]

    def _release(self, index: int, source: Hashable) -> None:
        asked = self._asked.get(index)
        if asked is None:
            return
        asked.discard(source)
        if not asked:
            del self._asked[index]
            if index in self._missing:
                self._again.add(index)
