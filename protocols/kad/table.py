"""The routing table: who is known at which distance. Pure.

Distance is the XOR of two keys; bucket n holds up to 20 peers whose keys share exactly n leading
bits with ours. Old peers that answer are kept in favour of new ones (Maymounkov, Mazieres 2002):
whoever wants to surround us has to be there first, and to keep answering.
"""

from __future__ import annotations

import heapq
import ipaddress
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from fogp2p.addresses import Multiaddr, Scope, scope_of
from fogp2p.ids import PeerId

from .config import PER_NETWORK, PER_NETWORK_IN_BUCKET, K
from .messages import key_of

__all__ = ["RoutingTable", "distance", "network_of"]


@dataclass(slots=True)
class _Entry:
    key: int
    network: str
    useful_at: float


class RoutingTable:
    """At most 256 buckets of `k` peers."""

    def __init__(self, own: PeerId, *, k: int = K, stale_after_s: float) -> None:
        self._own = own
        self._key = int.from_bytes(key_of(own.raw))
        self._k = k
        self._stale_after_s = stale_after_s
        self._entries: dict[PeerId, _Entry] = {}
        self._buckets: dict[int, list[PeerId]] = {}
        self._networks: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[PeerId]:
        return iter(self._entries)

    def __contains__(self, peer: PeerId) -> bool:
        return peer in self._entries

    def add(self, peer: PeerId, address: Multiaddr | None, now: float) -> bool:
        """Note that `peer` was useful at `now`; whether it is in the table afterwards.

        `address` is where it was reached; public networks may fill a bucket only in part.
        """
        if peer == self._own:
            return False
        found = self._entries.get(peer)
        if found is not None:
            found.useful_at = now
            return True
        entry = _Entry(int.from_bytes(key_of(peer.raw)), network_of(address), now)
        bucket = self._buckets.setdefault(self._index(entry.key), [])
        if not self._has_room(bucket, entry, now):
            return False
        bucket.append(peer)
        self._entries[peer] = entry
        self._networks[entry.network] += 1
        return True

    def remove(self, peer: PeerId) -> None:
        """`peer` did not answer."""
        entry = self._entries.pop(peer, None)
        if entry is None:
            return
        index = self._index(entry.key)
        self._buckets[index].remove(peer)
        if not self._buckets[index]:
            del self._buckets[index]
        self._networks[entry.network] -= 1

    def closest(self, key: bytes, count: int) -> list[PeerId]:
        """The `count` known peers nearest to a 32-byte key, nearest first."""
        target, entries = int.from_bytes(key), self._entries
        return heapq.nsmallest(count, entries, key=lambda peer: entries[peer].key ^ target)

    def depth(self) -> int:
        """The highest bucket that is in use: targets beyond it are our own neighbourhood."""
        return max(self._buckets, default=0)

    def _index(self, key: int) -> int:
        return 256 - (key ^ self._key).bit_length()

    def _has_room(self, bucket: list[PeerId], entry: _Entry, now: float) -> bool:
        if entry.network:
            there = sum(self._entries[peer].network == entry.network for peer in bucket)
            if there >= PER_NETWORK_IN_BUCKET or self._networks[entry.network] >= PER_NETWORK:
                return False
        if len(bucket) < self._k:
            return True
        oldest = min(bucket, key=lambda peer: self._entries[peer].useful_at)
        if self._entries[oldest].useful_at + self._stale_after_s > now:
            return False
        self.remove(oldest)
        # remove() may have dropped the emptied list (k = 1): the caller appends to the one it has.
        self._buckets[self._index(entry.key)] = bucket
        return True


def distance(one: bytes, other: bytes) -> int:
    """The XOR of two 32-byte keys as a number."""
    return int.from_bytes(one) ^ int.from_bytes(other)


def network_of(address: Multiaddr | None) -> str:
    """The network that a public address belongs to, `a.b` or an IPv6 /32; "" for others."""
    if address is None or scope_of(address) is not Scope.PUBLIC:
        return ""
    for protocol, value in address.items():
        if protocol.name == "ip4":
            return ".".join(str(value).split(".")[:2])
        if protocol.name == "ip6":
            return ipaddress.IPv6Address(str(value)).exploded[:9]
    return ""
