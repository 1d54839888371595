"""Telling a neighbour what one has: packet ids, Golomb-coded sets, REQUEST_SYNC.

Spec: specs/bitchat section 10.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from fogp2p.errors import LocalProtocolError

from .config import (
    DEFAULT_FILTER_BYTES,
    MAX_FILTER_BYTES,
    MAX_FILTER_P,
    MAX_STREAM_FIELD_BYTES,
    MAX_STREAM_IDS,
    PEER_ID_BYTES,
)
from .packet import Packet, PacketType
from .wire import fixed, integer, only, refuse, tagged, tlv

__all__ = [
    "Filter",
    "SyncRequest",
    "build_filter",
    "decode_sync_request",
    "encode_sync_request",
    "packet_id",
]

PACKET_ID_BYTES: Final = 16
# Bit numbers in the field of wanted types.
SYNC_TYPES: Final = (
    PacketType.ANNOUNCE,
    PacketType.MESSAGE,
    PacketType.LEAVE,
    PacketType.NOISE_HANDSHAKE,
    PacketType.NOISE_ENCRYPTED,
    PacketType.FRAGMENT,
    PacketType.REQUEST_SYNC,
    PacketType.FILE_TRANSFER,
    PacketType.BOARD_POST,
    PacketType.PREKEY_BUNDLE,
    PacketType.GROUP_MESSAGE,
)
DEFAULT_TYPES: Final = frozenset({PacketType.ANNOUNCE, PacketType.MESSAGE})
_P, _M, _DATA, _TYPES, _SINCE, _STREAMS = range(1, 7)
_FALSE_POSITIVE_RANGE: Final = (1e-6, 0.25)
_TRIM: Final = 0.9


def packet_id(packet: Packet) -> bytes:
    """The 16-byte id that sync uses; TTL, recipient, flags and signature do not enter it."""
    head = bytes((packet.type,)) + packet.sender + packet.timestamp_ms.to_bytes(8)
    return hashlib.sha256(head + packet.payload).digest()[:PACKET_ID_BYTES]


@dataclass(frozen=True, slots=True)
class Filter:
    """A Golomb-coded set: `p` 1-32 (a false positive in 2**p), `modulus` below 2**32, `values`.

    An empty set has modulus 1.
    """

    p: int
    modulus: int
    values: frozenset[int]

    def __contains__(self, identifier: object) -> bool:
        """Whether a 16-byte packet id is probably in the set. Never False for one that is."""
        return isinstance(identifier, bytes) and _bucket(identifier, self.modulus) in self.values


def build_filter(
    identifiers: Sequence[bytes],
    *,
    max_bytes: int = DEFAULT_FILTER_BYTES,
    false_positive_rate: float = 0.01,
) -> tuple[Filter, bytes, int]:
    """(filter, its encoding, how many of `identifiers` it holds), newest first.

    `max_bytes` 1-1,024; the rate is clamped to 1e-6..0.25. What does not fit is left out from the
    end. Raises LocalProtocolError.
    """
    if not 1 <= max_bytes <= MAX_FILTER_BYTES:
        raise LocalProtocolError("a filter has 1-1,024 bytes", code="bitchat-filter")
    low, high = _FALSE_POSITIVE_RANGE
    p = max(1, math.ceil(-math.log2(min(high, max(low, false_positive_rate)))))
    capacity = max(1, 8 * max_bytes // max(3, p + 2))
    count = min(len(identifiers), capacity)
    while count:
        modulus = min(count << p, 2**32 - 1)
        values = sorted({_bucket(identifier, modulus) for identifier in identifiers[:count]})
        data = _encode_values(values, p)
        if len(data) <= max_bytes:
            return Filter(p, modulus, frozenset(values)), data, count
        count = int(count * _TRIM)
    return Filter(p, 1, frozenset()), b"", 0


def _bucket(identifier: bytes, modulus: int) -> int:
    """Where an id falls: never 0, which the code cannot express."""
    number = int.from_bytes(hashlib.sha256(identifier).digest()[:8]) & (2**63 - 1)
    return number % modulus or 1


def _encode_values(values: Iterable[int], p: int) -> bytes:
    bits: list[str] = []
    previous = 0
    for value in values:
        gap = value - previous - 1
        bits.append("1" * (gap >> p) + "0" + format(gap & ((1 << p) - 1), f"0{p}b"))
        previous = value
    joined = "".join(bits)
    size = (len(joined) + 7) // 8
    return int(joined.ljust(8 * size, "0"), 2).to_bytes(size) if joined else b""


def _decode_values(data: bytes, p: int, modulus: int) -> frozenset[int]:
    """Values below `modulus`; the last bits are filling. At most 8 * len(data) steps."""
    bits = format(int.from_bytes(data), f"0{8 * len(data)}b") if data else ""
    values: set[int] = set()
    at, previous = 0, 0
    while True:
        end = bits.find("0", at)
        if end < 0 or end + 1 + p > len(bits):
            return frozenset(values)
        remainder = int(bits[end + 1 : end + 1 + p], 2)
        previous += ((end - at) << p) + remainder + 1
        if previous >= modulus:
            return frozenset(values)
        values.add(previous)
        at = end + 1 + p


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """Send me what is not in `filter`.

    `types` None means announces and messages. `since_ms`: nothing older. `streams`: ids (8 bytes)
    of fragment streams that stalled.
    """

    filter: Filter
    data: bytes
    types: frozenset[PacketType] | None = None
    since_ms: int | None = None
    streams: tuple[bytes, ...] = ()

    @property
    def wanted(self) -> frozenset[PacketType]:
        """The types asked for."""
        return DEFAULT_TYPES if self.types is None else self.types


def encode_sync_request(request: SyncRequest) -> bytes:
    """The payload of REQUEST_SYNC. Raises LocalProtocolError."""
    if len(request.data) > MAX_FILTER_BYTES or len(request.streams) > MAX_STREAM_IDS:
        raise LocalProtocolError("sync request too long", code="bitchat-filter")
    out = tlv(_P, bytes((request.filter.p,)), width=2)
    out += tlv(_M, request.filter.modulus.to_bytes(4), width=2)
    out += tlv(_DATA, request.data, width=2)
    if request.types is not None:
        bits = sum(1 << SYNC_TYPES.index(kind) for kind in request.types)
        size = max(1, (bits.bit_length() + 7) // 8)
        out += tlv(_TYPES, bits.to_bytes(size, "little"), width=2)
    if request.since_ms is not None:
        out += tlv(_SINCE, request.since_ms.to_bytes(8), width=2)
    if request.streams:
        listed = ",".join(stream.hex() for stream in request.streams)
        out += tlv(_STREAMS, listed.encode("ascii"), width=2)
    return out


def decode_sync_request(payload: bytes) -> SyncRequest:
    """Read it within 8,192 steps whatever it says.

    Raises RemoteProtocolError: "bitchat-filter" (P, M or size out of range), `bitchat-tlv`,
    `bitchat-field`.
    """
    fields = only(payload, width=2, known=range(_P, _STREAMS + 1))
    p = integer(tagged(fields, _P, "filter parameter"), 1, "filter parameter")
    modulus = integer(tagged(fields, _M, "filter modulus"), 4, "filter modulus")
    data = tagged(fields, _DATA, "filter")
    if not 1 <= p <= MAX_FILTER_P or modulus == 0 or len(data) > MAX_FILTER_BYTES:
        raise refuse("filter", "filter parameters out of range")
    values = _decode_values(data, p, modulus)
    since = fields.get(_SINCE)
    return SyncRequest(
        Filter(p, modulus, values),
        data,
        _read_types(fields[_TYPES]) if _TYPES in fields else None,
        integer(since, 8, "since") if since is not None else None,
        _read_streams(fields.get(_STREAMS, b"")),
    )


def _read_types(value: bytes) -> frozenset[PacketType]:
    if not 1 <= len(value) <= 8:
        raise refuse("field", "wanted types of impossible size")
    bits = int.from_bytes(value, "little")
    return frozenset(kind for bit, kind in enumerate(SYNC_TYPES) if bits >> bit & 1)


def _read_streams(value: bytes) -> tuple[bytes, ...]:
    """The listed ids; an oversized or malformed list is ignored, as in the app."""
    parts = value.split(b",") if value else []
    if len(value) > MAX_STREAM_FIELD_BYTES or len(parts) > MAX_STREAM_IDS:
        return ()
    digits = frozenset(b"0123456789abcdef")
    if any(len(part) != 2 * PEER_ID_BYTES or not digits.issuperset(part) for part in parts):
        return ()
    return tuple(fixed(bytes.fromhex(part.decode("ascii")), 8, "stream id") for part in parts)
