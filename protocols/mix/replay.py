"""Which packets were seen before, in bounded memory (specs/mix section 7).

A Bloom filter over replay tags: it never forgets a tag, and takes a new packet for a replay with a
stated probability. Positions come from a keyed hash, so that nobody without the key can choose
packets that collide. A full filter refuses new packets, with a label, until its epoch's key is
retired; it never lets one through unchecked.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from fogp2p.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError

from .config import FILTER_BITS_LOG2, FILTER_CAPACITY, FILTER_POSITIONS, LIVE_EPOCHS

__all__ = ["ReplayFilter", "ReplayFilters"]

TAG_BYTES: Final = 32
KEY_BYTES: Final = 32
_MAGIC: Final = b"fogp2p replay filter 1\n"
_CHECK_BYTES: Final = 32
_MASK: Final = (1 << FILTER_BITS_LOG2) - 1


class ReplayFilter:
    """The tags of one key epoch: up to 1,000,000, false drops below 2e-7 even when full."""

    def __init__(self, key: bytes, *, capacity: int = FILTER_CAPACITY) -> None:
        """`key`: 32 secret random bytes. `capacity`: 1 to 1,000,000 tags."""
        if len(key) != KEY_BYTES or not 1 <= capacity <= FILTER_CAPACITY:
            raise LocalProtocolError("replay filter out of range", code="mix-filter")
        self._key = key
        self._capacity = capacity
        self._count = 0
        self._bits = bytearray(1 << (FILTER_BITS_LOG2 - 3))

    def __len__(self) -> int:
        """How many different tags were added, false matches excepted."""
        return self._count

    def check_and_add(self, tag: bytes) -> bool:
        """Return True for a new tag and remember it, False for one seen before.

        Call it only after the header has authenticated: junk must not fill the filter. Raises
        LimitExceeded when it is full and the tag is new: drop the packet as `replay_full`.
        """
        positions = self._positions(tag)
        if all(self._bits[place >> 3] >> (place & 7) & 1 for place in positions):
            return False
        if self._count >= self._capacity:
            raise LimitExceeded(
                "replay filter full: packets are refused until the next key epoch",
                hint="shorten the mix key epoch, or lower the packet rate",
            )
        for place in positions:
            self._bits[place >> 3] |= 1 << (place & 7)
        self._count += 1
        return True

    def to_bytes(self) -> bytes:
        """A snapshot of 4 MiB, with its key: store it where secrets are stored."""
        head = _MAGIC + self._key + self._capacity.to_bytes(8) + self._count.to_bytes(8)
        body = head + self._bits
        return body + hashlib.sha256(body).digest()

    @classmethod
    def from_bytes(cls, data: bytes) -> ReplayFilter:
        """Restore a snapshot; then add the tags logged since.

        Raises RemoteProtocolError("mix-filter") for a damaged one. The only safe answer is a new
        key epoch: with a new key, old packets no longer authenticate.
        """
        body, check = data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
        fields = len(_MAGIC) + KEY_BYTES
        whole = len(data) == fields + 16 + (1 << (FILTER_BITS_LOG2 - 3)) + _CHECK_BYTES
        intact = hmac.compare_digest(hashlib.sha256(body).digest(), check)
        if not whole or not data.startswith(_MAGIC) or not intact:
            raise RemoteProtocolError("damaged replay filter", code="mix-filter")
        key = body[len(_MAGIC) : fields]
        restored = cls(key, capacity=int.from_bytes(body[fields : fields + 8]))
        restored._count = int.from_bytes(body[fields + 8 : fields + 16])
        restored._bits[:] = body[fields + 16 :]
        return restored

    def _positions(self, tag: bytes) -> list[int]:
        """Double hashing (Kirsch and Mitzenmacher 2006): as good as independent positions."""
        digest = hashlib.blake2b(tag, key=self._key, digest_size=16).digest()
        start = int.from_bytes(digest[:8])
        step = int.from_bytes(digest[8:]) | 1  # odd: never returns early to where it began
        return [(start + index * step) & _MASK for index in range(FILTER_POSITIONS)]

    def __repr__(self) -> str:
        return f"ReplayFilter({self._count} of {self._capacity})"


class ReplayFilters:
    """One filter for each live key epoch: previous, current and next."""

    def __init__(self, epoch: int, *, capacity: int = FILTER_CAPACITY) -> None:
        self._current = epoch
        self._capacity = capacity
        self._filters: dict[int, ReplayFilter] = {}

    @property
    def current(self) -> int:
        """The current epoch."""
        return self._current

    def open(self, epoch: int, key: bytes) -> ReplayFilter:
        """Start the filter of `epoch`, or return the one there is. `key` as in `ReplayFilter`.

        Raises LocalProtocolError("mix-epoch") for an epoch that is not live.
        """
        self._check_live(epoch)
        if epoch not in self._filters:
            self._filters[epoch] = ReplayFilter(key, capacity=self._capacity)
        return self._filters[epoch]

    def restore(self, epoch: int, snapshot: bytes) -> ReplayFilter:
        """Take over a stored filter. Raises as `ReplayFilter.from_bytes` and `open`."""
        self._check_live(epoch)
        self._filters[epoch] = ReplayFilter.from_bytes(snapshot)
        return self._filters[epoch]

    def check_and_add(self, epoch: int, tag: bytes) -> bool:
        """As `ReplayFilter.check_and_add`, for a packet that authenticated under `epoch`'s key."""
        if epoch not in self._filters:
            raise LocalProtocolError("no replay filter for this epoch", code="mix-epoch")
        return self._filters[epoch].check_and_add(tag)

    def advance(self, epoch: int) -> None:
        """Make `epoch` the current one and forget all before the previous one.

        The keys of the forgotten epochs have to be destroyed at the same time. Going back is
        refused: it would bring back keys whose filters are gone.
        """
        if epoch < self._current:
            raise LocalProtocolError("mix epochs do not go back", code="mix-epoch")
        self._current = epoch
        self._filters = {kept: f for kept, f in self._filters.items() if kept >= epoch - 1}

    def _check_live(self, epoch: int) -> None:
        if not -1 <= epoch - self._current <= LIVE_EPOCHS - 2:
            raise LocalProtocolError("not the previous, current or next epoch", code="mix-epoch")
