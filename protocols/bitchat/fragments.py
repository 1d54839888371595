"""Splitting a frame that a link cannot carry, and putting the pieces together in bounded memory.

Spec: specs/bitchat section 9. The reassembler is a value: `now` is an argument.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from fogp2p.errors import LocalProtocolError, RemoteProtocolError

from .config import (
    ASSEMBLY_LIFETIME_S,
    FRAGMENT_DATA_BYTES,
    MAX_ALL_ASSEMBLIES_BYTES,
    MAX_ASSEMBLIES,
    MAX_ASSEMBLIES_PER_SENDER,
    MAX_ASSEMBLY_BYTES,
    MAX_ASSEMBLY_BYTES_MEDIA,
    MAX_FRAGMENTS,
    PEER_ID_BYTES,
)
from .packet import Packet, PacketType, decode_packet
from .wire import refuse

__all__ = ["Fragment", "Reassembler", "decode_fragment", "encode_fragment", "split"]

FRAGMENT_ID_BYTES: Final = 8
HEADER_BYTES: Final = FRAGMENT_ID_BYTES + 2 + 2 + 1
_MEDIA_TYPES: Final = (PacketType.FILE_TRANSFER, PacketType.NOISE_ENCRYPTED)


@dataclass(frozen=True, slots=True)
class Fragment:
    """One piece: `index` below `total` (1-256), the inner packet's type, and 1 or more bytes."""

    fragment_id: bytes
    index: int
    total: int
    inner_type: int
    data: bytes


def encode_fragment(fragment: Fragment) -> bytes:
    """The payload of a FRAGMENT packet. Raises LocalProtocolError."""
    in_range = 0 <= fragment.index < fragment.total <= MAX_FRAGMENTS and fragment.data
    if not in_range or len(fragment.fragment_id) != FRAGMENT_ID_BYTES:
        raise LocalProtocolError("fragment field out of range", code="bitchat-fragment")
    return (
        fragment.fragment_id
        + fragment.index.to_bytes(2)
        + fragment.total.to_bytes(2)
        + bytes((fragment.inner_type,))
        + fragment.data
    )


def decode_fragment(payload: bytes) -> Fragment:
    """Raises RemoteProtocolError("bitchat-fragment")."""
    if len(payload) <= HEADER_BYTES:
        raise refuse("fragment", "fragment without data")
    index, total = int.from_bytes(payload[8:10]), int.from_bytes(payload[10:12])
    if not 0 <= index < total <= MAX_FRAGMENTS:
        raise refuse("fragment", "fragment index or total out of range")
    return Fragment(payload[:8], index, total, payload[12], payload[HEADER_BYTES:])


def split(
    packet: Packet, *, fragment_id: bytes, data_bytes: int = FRAGMENT_DATA_BYTES
) -> Iterator[Packet]:
    """The FRAGMENT packets that carry `packet`, `data_bytes` (64-469) of its frame in each.

    `fragment_id` is 8 fresh random bytes. Raises LocalProtocolError when more than 256 would be
    needed: neither app reassembles them everywhere.
    """
    if not 64 <= data_bytes <= FRAGMENT_DATA_BYTES:
        raise LocalProtocolError("64 to 469 bytes in a fragment", code="bitchat-fragment")
    frame = packet.encode()
    pieces = [frame[at : at + data_bytes] for at in range(0, len(frame), data_bytes)]
    if len(pieces) > MAX_FRAGMENTS:
        raise LocalProtocolError(
            f"packet of {len(frame)} bytes needs more than 256 fragments",
            code="bitchat-fragment",
            hint="send less at once: about 117 kB reach every phone",
        )
    outer = replace(
        packet,
        type=PacketType.FRAGMENT,
        version=2 if packet.route else 1,
        signature=None,
        compressed=None,
    )
    for index, piece in enumerate(pieces):
        fragment = Fragment(fragment_id, index, len(pieces), packet.type, piece)
        yield replace(outer, payload=encode_fragment(fragment))


@dataclass(slots=True)
class _Assembly:
    total: int
    inner_type: int
    expires_at: float
    pieces: dict[int, bytes] = field(default_factory=dict)
    size: int = 0

    @property
    def limit(self) -> int:
        return MAX_ASSEMBLY_BYTES_MEDIA if self.inner_type in _MEDIA_TYPES else MAX_ASSEMBLY_BYTES


_Key = tuple[bytes, bytes]


class Reassembler:
    """Collects fragments of many senders at once.

    At most 128 assemblies (16 for each sender), 4 MiB together, each for 30 s from its first piece.
    When a limit is reached the oldest assembly goes, of the same sender first.
    """

    def __init__(self) -> None:
        self._assemblies: OrderedDict[_Key, _Assembly] = OrderedDict()
        self._size = 0
        self.dropped = 0
        """Assemblies given up so far: expired, pushed out, or inconsistent."""

    def __len__(self) -> int:
        return len(self._assemblies)

    @property
    def size(self) -> int:
        """Bytes held."""
        return self._size

    def next_deadline(self) -> float | None:
        """When the oldest assembly expires; call `expire` then."""
        first = next(iter(self._assemblies.values()), None)
        return first.expires_at if first is not None else None

    def expire(self, now: float) -> int:
        """Drop what is 30 s old; return how many."""
        count = 0
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            self._drop(next(iter(self._assemblies)))
            count += 1
        return count

    def add(self, packet: Packet, now: float) -> Packet | None:
        """Take one FRAGMENT packet; return the inner packet once it is whole.

        The inner packet comes with TTL 0: its fragments are relayed, it is not. Its sender must be
        the outer one. Raises RemoteProtocolError: "bitchat-fragment", or as `decode_packet`.
        """
        self.expire(now)
        fragment = decode_fragment(packet.payload)
        key = (packet.sender[:PEER_ID_BYTES], fragment.fragment_id)
        assembly = self._assemblies.get(key)
        if assembly is None:
            self._make_room(key[0])
            expires_at = now + ASSEMBLY_LIFETIME_S
            assembly = _Assembly(fragment.total, fragment.inner_type, expires_at)
            self._assemblies[key] = assembly
        self._store(key, assembly, fragment)
        if len(assembly.pieces) < assembly.total:
            return None
        del self._assemblies[key]
        self._size -= assembly.size
        return _inner(assembly, packet.sender)

    def _store(self, key: _Key, assembly: _Assembly, fragment: Fragment) -> None:
        if (fragment.total, fragment.inner_type) != (assembly.total, assembly.inner_type):
            self._drop(key)
            raise refuse("fragment", "fragments of one message disagree")
        grown = len(fragment.data) - len(assembly.pieces.get(fragment.index, b""))
        if assembly.size + grown > assembly.limit:
            self._drop(key)
            raise refuse("fragment", "message of fragments too long")
        assembly.pieces[fragment.index] = fragment.data
        assembly.size += grown
        self._size += grown
        while self._size > MAX_ALL_ASSEMBLIES_BYTES:
            oldest = next(iter(self._assemblies))
            self._drop(oldest)
            if oldest == key:
                raise refuse("fragment", "no room for more fragments")

    def _make_room(self, sender: bytes) -> None:
        own = [key for key in self._assemblies if key[0] == sender]
        if len(own) >= MAX_ASSEMBLIES_PER_SENDER:
            self._drop(own[0])
        elif len(self._assemblies) >= MAX_ASSEMBLIES:
            self._drop(next(iter(self._assemblies)))

    def _drop(self, key: _Key) -> None:
        self._size -= self._assemblies.pop(key).size
        self.dropped += 1


def _inner(assembly: _Assembly, sender: bytes) -> Packet:
    frame = b"".join(assembly.pieces[index] for index in range(assembly.total))
    inner = decode_packet(frame)
    if inner.sender != sender or inner.type == PacketType.FRAGMENT:
        raise RemoteProtocolError(
            "BitChat: fragments carry another sender's packet or fragments",
            code="bitchat-fragment",
        )
    return replace(inner, ttl=0)
