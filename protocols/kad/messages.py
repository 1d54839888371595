"""Messages of the Kad-DHT: values to bytes and back. Spec: libp2p/specs kad-dht/README.md (RPC)."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from fogp2p import protobuf
from fogp2p.addresses import Multiaddr, parse_address, without_peer
from fogp2p.errors import LocalProtocolError, RemoteProtocolError
from fogp2p.framing import decode_varint
from fogp2p.ids import PeerId
from fogp2p.limits import ADDRESSES_PER_PEER

from .config import MAX_KEY_BYTES, K

__all__ = ["Kind", "PeerRecord", "Request", "Response", "key_of", "multihash_of"]

_TYPES: Final = protobuf.define(
    "fogp2p.kad",
    {
        "Record": [("key", 1, "bytes"), ("value", 2, "bytes"), ("timeReceived", 5, "bytes")],
        "Peer": [("id", 1, "bytes"), ("addrs", 2, "bytes*"), ("connection", 3, "int32")],
        "Message": [
            ("type", 1, "int32"),
            ("key", 2, "bytes"),
            ("record", 3, "Record"),
            ("closerPeers", 8, "Peer*"),
            ("providerPeers", 9, "Peer*"),
            ("clusterLevelRaw", 10, "int32"),
        ],
    },
)
_CODE: Final = "kad-message"
_CAN_CONNECT: Final = 2
# Addresses of one peer that are looked at; `believable` keeps a few of them.
_LOOKED_AT: Final = 2 * ADDRESSES_PER_PEER
_CID_V1: Final = 1


class Kind(enum.IntEnum):
    """What is asked."""

    PUT_VALUE = 0
    GET_VALUE = 1
    ADD_PROVIDER = 2
    GET_PROVIDERS = 3
    FIND_NODE = 4
    PING = 5


@dataclass(frozen=True, slots=True)
class PeerRecord:
    """A peer and where it is said to be. Hints, never truth."""

    peer: PeerId
    addresses: tuple[Multiaddr, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """`key`: a binary peer id (FIND_NODE) or a multihash; `providers` for ADD_PROVIDER."""

    kind: Kind
    key: bytes = b""
    providers: tuple[PeerRecord, ...] = ()

    def to_bytes(self) -> bytes:
        """The encoded message."""
        return _encode(self.kind, self.key, (), self.providers)

    @classmethod
    def from_bytes(cls, data: bytes) -> Request:
        """Read a request. Raises RemoteProtocolError("kad-message")."""
        message = protobuf.parse(_TYPES["Message"], data, code=_CODE)
        try:
            kind = Kind(message.type)
        except ValueError as exc:
            raise RemoteProtocolError("unknown kind of request", code=_CODE) from exc
        if kind is not Kind.PING and not 1 <= len(message.key) <= MAX_KEY_BYTES:
            raise RemoteProtocolError("a key has 1-80 bytes", code=_CODE)
        return cls(kind, message.key, _peers(message.providerPeers))


@dataclass(frozen=True, slots=True)
class Response:
    """`closer`: peers nearer to the key, at most 20; `providers`: peers that have it, as many."""

    kind: Kind
    closer: tuple[PeerRecord, ...] = ()
    providers: tuple[PeerRecord, ...] = ()

    def to_bytes(self, key: bytes) -> bytes:
        """The encoded message; the key is repeated in it."""
        return _encode(self.kind, key, self.closer, self.providers)

    @classmethod
    def from_bytes(cls, data: bytes, kind: Kind) -> Response:
        """Read the response to such a request. Raises RemoteProtocolError("kad-message")."""
        message = protobuf.parse(_TYPES["Message"], data, code=_CODE)
        if message.type != kind:
            raise RemoteProtocolError("the response answers something else", code=_CODE)
        return cls(kind, _peers(message.closerPeers), _peers(message.providerPeers))


def key_of(name: bytes) -> bytes:
    """The place of a key or a binary peer id in the DHT: its SHA-256, 32 bytes."""
    return hashlib.sha256(name).digest()


def multihash_of(name: bytes) -> bytes:
    """The multihash in a binary CID, or the multihash that `name` is.

    Raises LocalProtocolError("kad-key") for anything else.
    """
    if name[:1] == bytes([_CID_V1]):
        _, at = _varint(name, 1)
        name = name[at:]
    _, at = _varint(name, 0)
    length, at = _varint(name, at)
    if len(name) - at != length or not length or len(name) > MAX_KEY_BYTES:
        raise _no_key()
    return name


def _varint(data: bytes, at: int) -> tuple[int, int]:
    try:
        found = decode_varint(data, at)
    except RemoteProtocolError as exc:
        raise _no_key() from exc
    if found is None:
        raise _no_key()
    return found


def _no_key() -> LocalProtocolError:
    return LocalProtocolError("not a CID and not a multihash", code="kad-key")


def _encode(
    kind: Kind, key: bytes, closer: Iterable[PeerRecord], providers: Iterable[PeerRecord]
) -> bytes:
    message = _TYPES["Message"](type=int(kind), key=key)
    for field, records in (("closerPeers", closer), ("providerPeers", providers)):
        getattr(message, field).extend(
            _TYPES["Peer"](
                id=record.peer.raw,
                addrs=[without_peer(address).to_bytes() for address in record.addresses],
                connection=_CAN_CONNECT,
            )
            for record in records
        )
    return bytes(message.SerializeToString())


def _peers(entries: Iterable[Any]) -> tuple[PeerRecord, ...]:
    """At most 20 records; malformed ones are skipped: one bad hint does not spoil the others."""
    found: list[PeerRecord] = []
    for entry in entries:
        try:
            peer = PeerId.from_bytes(entry.id)
        except RemoteProtocolError:
            continue
        found.append(PeerRecord(peer, _addresses(entry.addrs[:_LOOKED_AT])))
        if len(found) == K:
            break
    return tuple(found)


def _addresses(raw: Iterable[bytes]) -> tuple[Multiaddr, ...]:
    found = []
    for each in raw:
        try:
            found.append(without_peer(parse_address(each)))
        except RemoteProtocolError:
            continue
    return tuple(found)
