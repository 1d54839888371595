"""Range-based set reconciliation over sorted keys (Meyer 2023, arXiv 2212.13567).

One side, the asker, halves what differs: it asks for a range in parts, compares each part's
fingerprint with its own, and goes on with those that differ until they are small enough to be
listed. The other side remembers nothing between two questions. Bytes and rounds follow the
difference and the logarithm of the size.

A fingerprint is a salted hash over the number of keys and the sum, modulo 2^2048, of each key
stretched to 2,048 bits by SHAKE-128. Sums can be kept for blocks of keys and added. The modulus is
that large on purpose: with 256 bits, as others use, Wagner's generalised birthday attack finds two
sets of equal sum in about 2^33 steps; here it takes about 2^90. The salt is the asker's, drawn for
the session, so that 16 bytes of hash suffice. Docs: docs/decisions/0007-group-logs.md.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from fogp2p.errors import RemoteProtocolError

from .config import LEAF, MAX_FOUND, MAX_LIST, MAX_PARTS, MAX_QUERIES, MAX_RANGES
from .messages import Listed, Part, Query, Range, Reply, Split

__all__ = ["END", "START", "Asker", "RangeIndex", "answer"]

START: Final = b""
# Greater than every key: heights stay below 2^31.
END: Final = b"\xff"
_ID_BYTES: Final = 32
_HEIGHT_BYTES: Final = 4
_SUM_BYTES: Final = 256
_MODULUS: Final = (1 << (8 * _SUM_BYTES)) - 1
_FINGERPRINT_BYTES: Final = 16
# A block is split when it holds this many keys; a range adds up parts of two blocks at most.
_BLOCK: Final = 64
# Ids found beyond a range that is still open are kept up to here.
_MAX_HELD: Final = 4 * MAX_FOUND


@lru_cache(16_384)  # 5 MB: the keys of the blocks that are asked about again and again
def _lift(key: bytes) -> int:
    return int.from_bytes(hashlib.shake_128(key).digest(_SUM_BYTES))


class _Block:
    __slots__ = ("keys", "total")

    def __init__(self, keys: list[bytes]) -> None:
        self.keys = keys
        self.total = sum(map(_lift, keys)) & _MODULUS


class RangeIndex:
    """A sorted set of keys (height and id) that knows the fingerprint of every range."""

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self._firsts: list[bytes] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, key: bytes) -> None:
        """Insert a key; one that is there already changes nothing."""
        if not self._blocks:
            self._blocks, self._firsts, self._count = [_Block([key])], [key], 1
            return
        at = max(0, bisect_right(self._firsts, key) - 1)
        block = self._blocks[at]
        place = bisect_left(block.keys, key)
        if place < len(block.keys) and block.keys[place] == key:
            return
        block.keys.insert(place, key)
        block.total = (block.total + _lift(key)) & _MODULUS
        self._count += 1
        self._firsts[at] = block.keys[0]
        if len(block.keys) > _BLOCK:
            half = len(block.keys) // 2
            self._blocks[at : at + 1] = [_Block(block.keys[:half]), _Block(block.keys[half:])]
            self._firsts[at : at + 1] = [each.keys[0] for each in self._blocks[at : at + 2]]

    def keys(
        self, lower: bytes = START, upper: bytes = END, most: int | None = None
    ) -> list[bytes]:
        """The keys of a range in order, at most `most`."""
        found: list[bytes] = []
        at = max(0, bisect_right(self._firsts, lower) - 1)
        for block in self._blocks[at:]:
            if block.keys[0] >= upper or (most is not None and len(found) >= most):
                break
            found += block.keys[bisect_left(block.keys, lower) : bisect_left(block.keys, upper)]
        return found if most is None else found[:most]

    def summary(self, lower: bytes = START, upper: bytes = END) -> tuple[int, int]:
        """(number of keys, sum of the stretched keys) of a range."""
        count = total = 0
        at = max(0, bisect_right(self._firsts, lower) - 1)
        for block in self._blocks[at:]:
            if block.keys[0] >= upper:
                break
            if block.keys[0] >= lower and block.keys[-1] < upper:
                count += len(block.keys)
                total += block.total
            else:
                part = block.keys[bisect_left(block.keys, lower) : bisect_left(block.keys, upper)]
                count += len(part)
                total += sum(map(_lift, part))
        return count, total & _MODULUS

    def fingerprint(
        self, salt: bytes, lower: bytes = START, upper: bytes = END
    ) -> tuple[int, bytes]:
        """(number of keys, 16 bytes) of a range, for a session."""
        count, total = self.summary(lower, upper)
        return count, _digest(salt, count, total)[:_FINGERPRINT_BYTES]

    def whole(self) -> bytes:
        """The 32-byte fingerprint of everything."""
        return _digest(b"", *self.summary())

    def cuts(self, lower: bytes, upper: bytes, parts: int) -> list[bytes]:
        """Bounds that divide a range into at most `parts` of equal size; the last is `upper`."""
        keys = self.keys(lower, upper)
        parts = min(parts, len(keys))
        places = [len(keys) * n // parts for n in range(1, parts)]
        return [*(_between(keys[n - 1], keys[n]) for n in places), upper]


def _digest(salt: bytes, count: int, total: int) -> bytes:
    data = salt + count.to_bytes(8) + total.to_bytes(_SUM_BYTES)
    return hashlib.sha256(b"fog/log/1 range\x00" + data).digest()


def _between(before: bytes, after: bytes) -> bytes:
    """The shortest bound greater than `before` and not greater than `after`."""
    same = next(n for n, (x, y) in enumerate(zip(before, after, strict=True)) if x != y)
    return after[: same + 1]


def answer(index: RangeIndex, query: Query) -> Reply:
    """Answer a query. Raises RemoteProtocolError("log-ranges") for ranges out of order.

    Bounded by sixteen ranges of sixteen parts, or of 512 ids for all of them.
    """
    previous, answers, room = START, list[Split | Listed](), MAX_LIST
    for each in query.ranges:
        if not previous <= each.lower < each.upper <= END:
            raise RemoteProtocolError("ranges overlap or are out of order", code="log-ranges")
        previous = each.upper
        listed = each.listed
        if not listed:
            listed = len(index.keys(each.lower, each.upper, LEAF + 1)) <= LEAF
        if listed:
            found = _listed(index, each, room)
            room -= len(found.ids)
            answers.append(found)
        else:
            answers.append(_split(index, each, query.session))
    return Reply(query.group, query.session, query.number, tuple(answers))


def _listed(index: RangeIndex, asked: Range, room: int) -> Listed:
    keys = index.keys(asked.lower, asked.upper, room + 1)
    cut = None
    if len(keys) > room:
        # What did not fit is asked for again from here on; nothing at all fits from `lower` on.
        cut = _between(keys[room - 1], keys[room]) if room else asked.lower
    return Listed(tuple(key[_HEIGHT_BYTES:] for key in keys[:room]), cut)


def _split(index: RangeIndex, asked: Range, salt: bytes) -> Split:
    lower, parts = asked.lower, []
    for upper in index.cuts(asked.lower, asked.upper, MAX_PARTS):
        parts.append(Part(upper, *index.fingerprint(salt, lower, upper)))
        lower = upper
    return Split(tuple(parts))


@dataclass(slots=True)
class _Found:
    """What one range brought."""

    lower: bytes
    need: list[bytes]
    have: list[bytes]


class Asker:
    """One session: finds what the other side has and we lack (`need`), and the reverse (`have`).

    Ends when nothing is left, or early after about `MAX_FOUND` ids or `MAX_QUERIES` queries. Then
    what was found is complete from the lowest key up to some key, and in the order of keys: parents
    come first, and the next session goes on from there.
    """

    def __init__(self, index: RangeIndex, group: bytes, session: bytes) -> None:
        """`session`: eight fresh random bytes, the salt."""
        self._index = index
        self._group = group
        self._session = session
        # Ranges that differ, ascending; with each, whether its list may be long.
        is_empty = len(index) == 0
        self._work: deque[tuple[Range, bool]] = deque([(Range(START, END, is_empty), is_empty)])
        self._asked: tuple[Range, ...] = ()
        self._number = 0
        self._found: list[_Found] = []
        self.need: list[bytes] = []
        self.have: list[bytes] = []

    def next_query(self) -> Query | None:
        """The next question, or None at the end, when `need` and `have` are set."""
        first_open = self._work[0][0].lower if self._work else END
        settled = sum(len(f.need) + len(f.have) for f in self._found if f.lower < first_open)
        total = sum(len(f.need) + len(f.have) for f in self._found)
        enough = settled >= MAX_FOUND or total >= _MAX_HELD or self._number >= MAX_QUERIES
        if not self._work or enough:
            self._finish(first_open)
            return None
        batch: list[Range] = []
        while self._work and len(batch) < MAX_RANGES:
            asked, is_long = self._work[0]
            if is_long and any(not each.listed for each in batch):
                break  # a long list would fill the session with what comes later
            batch.append(asked)
            self._work.popleft()
        self._asked = tuple(batch)
        self._number += 1
        return Query(self._group, self._session, self._number, self._asked)

    def _finish(self, first_open: bytes) -> None:
        self._work.clear()
        self._asked = ()
        self._found.sort(key=lambda found: found.lower)
        complete = [found for found in self._found if found.lower < first_open]
        for found in complete or self._found:
            self.need += found.need
            self.have += found.have
        self._found.clear()

    def receive(self, reply: Reply) -> bool:
        """Take a reply; False when it belongs to no open question (late, or sent twice).

        Raises RemoteProtocolError("log-ranges") for an answer that does not fit its question.
        """
        if reply.session != self._session or reply.number != self._number or not self._asked:
            return False
        if len(reply.answers) != len(self._asked):
            raise _misfit("another number of answers than of ranges")
        asked, self._asked = self._asked, ()
        again: list[tuple[Range, bool]] = []
        for each, found in zip(asked, reply.answers, strict=True):
            match found:
                case Split():
                    again += self._compare(each, found)
                case Listed():
                    again += self._take_list(each, found)
        self._work.extendleft(reversed(again))
        return True

    def _compare(self, asked: Range, split: Split) -> list[tuple[Range, bool]]:
        if asked.listed:
            raise _misfit("a split where a list was asked for")
        lower = asked.lower
        again: list[tuple[Range, bool]] = []
        for part in split.parts:
            if not lower < part.upper <= asked.upper:
                raise _misfit("parts out of order")
            count, fingerprint = self._index.fingerprint(self._session, lower, part.upper)
            if part.count == 0:
                ours = self._index.keys(lower, part.upper, MAX_FOUND)
                self._found.append(_Found(lower, [], [key[_HEIGHT_BYTES:] for key in ours]))
            elif (count, fingerprint) != (part.count, part.fingerprint):
                is_small = count + part.count <= 2 * LEAF
                again.append((Range(lower, part.upper, count == 0 or is_small), not is_small))
            lower = part.upper
        if lower != asked.upper:
            raise _misfit("parts end early")
        return again

    def _take_list(self, asked: Range, listed: Listed) -> list[tuple[Range, bool]]:
        upper = asked.upper if listed.cut is None else listed.cut
        if not asked.lower <= upper <= asked.upper or (listed.cut is not None and upper == END):
            raise _misfit("a list was cut outside its range")
        theirs = set(listed.ids)
        if len(theirs) != len(listed.ids):
            raise _misfit("an id listed twice")
        ours = [key[_HEIGHT_BYTES:] for key in self._index.keys(asked.lower, upper)]
        known = set(ours)
        need = [each for each in listed.ids if each not in known]
        have = [each for each in ours if each not in theirs]
        self._found.append(_Found(asked.lower, need, have))
        return [(Range(upper, asked.upper, True), True)] if upper != asked.upper else []


def _misfit(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"ranges do not fit: {what}", code="log-ranges")
