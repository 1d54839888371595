"""Weighted draws that anybody can repeat from a seed and the list of candidates.

The seed (a ticket's output) and a digest of the candidates are expanded with SHAKE-256 into 64-bit
big-endian words. All arithmetic is on integers, so every implementation draws the same. A word is
turned into a candidate without bias by rejection: with total weight W, q = 2**64 // W, candidate i
owns the words from q times the weight before it up to q times the weight including it, and words
from q * W on are skipped.
"""

from __future__ import annotations

import hashlib
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, chain, islice, repeat
from operator import floordiv
from typing import Final

from fogp2p.codec import encode
from fogp2p.errors import LocalProtocolError, RemoteProtocolError

from .config import (
    MAX_CANDIDATES,
    MAX_DRAWS,
    MAX_LAYERS,
    MAX_NAME_BYTES,
    MAX_OWNER_TABLE,
    MAX_TOTAL_WEIGHT,
)

__all__ = ["Candidate", "Candidates", "draw", "draw_distinct", "stratify"]

SEED_BYTES: Final = 64
_WORDS: Final = 2**64
_DOMAIN: Final = "fog/lottery/draw/1"


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """Somebody who may be drawn: a unique `name` of 1-64 bytes and an integer weight >= 1."""

    name: bytes
    weight: int


class Candidates:
    """A checked list in canonical order (bytewise by name), with its digest.

    The same set always gives the same object, in whatever order it was collected.
    """

    def __init__(self, members: Iterable[Candidate]) -> None:
        """Raises RemoteProtocolError("lottery-candidates"): lists come from the network.

        Refused are an empty list, more than 65,536, a name twice or of wrong length, a weight
        below 1, and a total weight above 2**48.
        """
        ordered = sorted(islice(members, MAX_CANDIDATES + 1))
        if not 1 <= len(ordered) <= MAX_CANDIDATES:
            raise _refused("1 to 65,536 candidates are allowed")
        previous = b""
        for member in ordered:
            if not 1 <= len(member.name) <= MAX_NAME_BYTES or member.weight < 1:
                raise _refused("a name has 1-64 bytes and a weight is at least 1")
            if member.name == previous:
                raise _refused("a name appears twice")
            previous = member.name
        self.members: Final = tuple(ordered)
        self.cumulative: Final = tuple(accumulate(member.weight for member in ordered))
        if self.total_weight > MAX_TOTAL_WEIGHT:
            raise _refused("the total weight exceeds 2**48")
        self.digest: Final = _digest(self.members)
        self._owners: tuple[Candidate | None, ...] | None = None

    def owners(self) -> Sequence[Candidate | None]:
        """Who owns each unit of weight, for total weights up to `MAX_OWNER_TABLE`; then None.

        A word divided by the share of a unit is at most one unit past the end: for weights this
        small the remainder of 2**64 / share is less than a share.
        """
        if self._owners is None:
            members = (repeat(member, member.weight) for member in self.members)
            self._owners = (*chain.from_iterable(members), None, None)
        return self._owners

    @property
    def total_weight(self) -> int:
        """The sum of all weights, 1 to 2**48."""
        return self.cumulative[-1]

    def __len__(self) -> int:
        return len(self.members)


def draw(seed: bytes, purpose: str, candidates: Candidates, count: int) -> list[Candidate]:
    """Draw `count` (0 to 2**20) times with replacement, each time in proportion to weight.

    `seed` is the 64-byte output of a verified proof; `purpose` (text, at most 64 characters)
    separates draws from one seed. Raises LocalProtocolError for arguments out of range.
    """
    share = _WORDS // candidates.total_weight
    words = _words(seed, purpose, candidates, count)
    # One pass in C, because this is what checking a draw costs. Words beyond the last bound find
    # the None behind the members and are skipped.
    if candidates.total_weight <= MAX_OWNER_TABLE:
        owners = candidates.owners()
        found = map(owners.__getitem__, map(floordiv, words, repeat(share)))
    else:
        bounds = [share * weight for weight in candidates.cumulative]
        slots = (*candidates.members, None)
        found = map(slots.__getitem__, map(partial(bisect_right, bounds), words))
    return list(islice(filter(None, found), count))


def draw_distinct(seed: bytes, purpose: str, candidates: Candidates, count: int) -> list[Candidate]:
    """Draw `count` different candidates, each time in proportion to weight among those left.

    `count` is at most the number of candidates. Raises LocalProtocolError otherwise.
    """
    if not 0 <= count <= len(candidates):
        raise LocalProtocolError("more draws than candidates", code="lottery-count")
    urn = _Urn(candidates)
    words = _words(seed, purpose, candidates, count)
    chosen: list[Candidate] = []
    while len(chosen) < count:
        position = urn.take(next(words))
        if position is not None:
            chosen.append(candidates.members[position])
    return chosen


def stratify(
    seed: bytes, purpose: str, candidates: Candidates, layers: int
) -> list[list[Candidate]]:
    """Deal all candidates into `layers` (1 to 16) layers of nearly equal weight.

    The candidates are shuffled (Fisher-Yates, unbiased) and each goes to the layer that is lightest
    at that moment, the lowest-numbered one among equals. Nobody can choose a layer, and no layer
    is heavier than another by more than the heaviest candidate. Raises LocalProtocolError.
    """
    if not 1 <= layers <= min(MAX_LAYERS, len(candidates)):
        raise LocalProtocolError("layers out of range", code="lottery-layers")
    shuffled = list(candidates.members)
    words = _words(seed, purpose, candidates, len(shuffled))
    for last in range(len(shuffled) - 1, 0, -1):
        pick = _below(words, last + 1)
        shuffled[last], shuffled[pick] = shuffled[pick], shuffled[last]
    strata: list[list[Candidate]] = [[] for _ in range(layers)]
    loads = [0] * layers
    for member in shuffled:
        lightest = loads.index(min(loads))
        strata[lightest].append(member)
        loads[lightest] += member.weight
    return strata


class _Urn:
    """Candidates left to draw: a Fenwick tree of weights, O(log n) for each draw."""

    def __init__(self, candidates: Candidates) -> None:
        self._weights = [member.weight for member in candidates.members]
        self._tree = [0, *self._weights]
        for node in range(1, len(self._tree)):
            parent = node + (node & -node)
            if parent < len(self._tree):
                self._tree[parent] += self._tree[node]
        self._total = candidates.total_weight
        self._top = 1 << (len(self._weights).bit_length() - 1)

    def take(self, word: int) -> int | None:
        """Remove and return the position that owns `word`, or None when the word is skipped."""
        target = word // (_WORDS // self._total)
        if target >= self._total:
            return None
        position, step = 0, self._top
        while step:
            following = position + step
            if following < len(self._tree) and self._tree[following] <= target:
                position = following
                target -= self._tree[following]
            step >>= 1
        self._remove(position)
        return position

    def _remove(self, position: int) -> None:
        weight, self._weights[position] = self._weights[position], 0
        self._total -= weight
        node = position + 1
        while node < len(self._tree):
            self._tree[node] -= weight
            node += node & -node


def _below(words: Iterator[int], limit: int) -> int:
    """An unbiased integer in 0..limit-1 from the next words."""
    share = _WORDS // limit
    while True:
        value = next(words) // share
        if value < limit:
            return value


def _words(seed: bytes, purpose: str, candidates: Candidates, count: int) -> Iterator[int]:
    """The endless word stream, expanded in pieces; `count` only sizes the first piece.

    SHAKE-256 output of length n is a prefix of the one of length 2n, so doubling changes nothing.
    """
    if len(seed) != SEED_BYTES or not 1 <= len(purpose) <= MAX_NAME_BYTES:
        raise LocalProtocolError("seed of 64 bytes and a short purpose wanted", code="lottery-seed")
    if not 0 <= count <= MAX_DRAWS:
        raise LocalProtocolError("draw count out of range", code="lottery-count")
    source = encode([_DOMAIN, seed, purpose, candidates.digest])
    return chain.from_iterable(_pieces(source, max(count, 16)))


def _pieces(source: bytes, count: int) -> Iterator[Sequence[int]]:
    stream, done = hashlib.shake_256(source), 0
    while True:
        yield _big_endian_words(stream.digest(8 * count)[8 * done :])
        done, count = count, 2 * count


def _big_endian_words(data: bytes) -> Sequence[int]:
    words = array("Q", data)
    if sys.byteorder == "little":
        words.byteswap()
    return words


def _digest(members: Sequence[Candidate]) -> bytes:
    """SHA-256 over every name and weight, each behind its length, in order."""
    hasher = hashlib.sha256()
    for member in members:
        hasher.update(len(member.name).to_bytes(1) + member.name + member.weight.to_bytes(8))
    return hasher.digest()


def _refused(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"not a usable candidate list: {what}", code="lottery-candidates")
