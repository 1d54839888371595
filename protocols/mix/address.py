"""The 94-byte address block: where a hop sends a packet next.

Two forms. *Classic*, as deployed: IPv4 (4) | transport (1) | port (2) | [relay id (39)] | peer id
(39) | zeros, with secp256k1 peer ids only. *Extended*, for peers that agreed to it: 0x00 0x01 |
transport (1) | port (2) | IPv6 or mapped IPv4 (16) | key kind (1) | key (32-33) | [key kind (1) |
relay key (32-33)] | zeros. No classic block begins with 0x00: 0.0.0.0/8 cannot be dialled.
Spec: specs/mix section 5.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final, Literal

from fogp2p.addresses import Multiaddr, parse_address
from fogp2p.errors import LocalProtocolError, RemoteProtocolError
from fogp2p.ids import PeerId

from .config import ADDRESS_BYTES

__all__ = ["NextHop", "decode_address", "encode_address"]

Transport = Literal["tcp", "quic-v1"]
_TRANSPORTS: Final[tuple[Transport, Transport]] = ("tcp", "quic-v1")
_CLASSIC_ID_BYTES: Final = 39
_EXTENDED: Final = b"\x00\x01"
# Key kinds: the libp2p key type for keys inside the id, 0xff for the hash of a longer key.
_ED25519: Final = 1
_SECP256K1: Final = 2
_HASHED: Final = 0xFF
_PREFIXES: Final = {
    _ED25519: (b"\x00\x24\x08\x01\x12\x20", 32),
    _SECP256K1: (b"\x00\x25\x08\x02\x12\x21", 33),
    _HASHED: (b"\x12\x20", 32),
}

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class NextHop:
    """A peer, where it listens, and the relay in front of it, if any."""

    peer: PeerId
    ip: IpAddress
    port: int
    transport: Transport = "tcp"
    relay: PeerId | None = None

    @classmethod
    def from_multiaddr(cls, address: Multiaddr) -> NextHop:
        """From `/ip4|ip6/../tcp/..` or `../udp/../quic-v1`, with `/p2p/<id>` at the end.

        Raises LocalProtocolError("mix-address") for anything else (names, WebSocket, certificates).
        """
        parts = [(protocol.name, value) for protocol, value in address.items()]
        names = [name for name, _ in parts]
        transport: Transport = "quic-v1" if "quic-v1" in names else "tcp"
        middle = ["udp", "quic-v1"] if transport == "quic-v1" else ["tcp"]
        direct = [*middle, "p2p"]
        if names[:1] not in (["ip4"], ["ip6"]) or names[1:] not in (
            direct,
            [*direct, "p2p-circuit", "p2p"],
        ):
            raise LocalProtocolError("no mix address block for this address", code="mix-address")
        ids = [PeerId.parse(str(value)) for name, value in parts if name == "p2p"]
        relay = ids[0] if len(ids) == 2 else None
        ip = ipaddress.ip_address(str(parts[0][1]))
        return cls(ids[-1], ip, int(str(parts[1][1])), transport, relay)

    def to_multiaddr(self) -> Multiaddr:
        """The multiaddr to dial."""
        port = f"tcp/{self.port}" if self.transport == "tcp" else f"udp/{self.port}/quic-v1"
        via = f"/p2p/{self.relay}/p2p-circuit" if self.relay else ""
        return parse_address(f"/ip{self.ip.version}/{self.ip}/{port}{via}/p2p/{self.peer}")


def encode_address(hop: NextHop, *, extended: bool) -> bytes:
    """The 94-byte block; `extended` only towards a hop that agreed to read that form.

    Raises LocalProtocolError("mix-address") when the classic form cannot express `hop`.
    """
    if not 1 <= hop.port <= 0xFFFF or int(hop.ip) == 0:
        raise LocalProtocolError("an address needs a port and an IP", code="mix-address")
    block = _encode_extended(hop) if extended else _encode_classic(hop)
    return block.ljust(ADDRESS_BYTES, b"\0")


def decode_address(block: bytes) -> NextHop:
    """Read either form. Raises RemoteProtocolError("mix-address").

    Whether the address may be dialled (scope, policy) is for the caller to decide.
    """
    if len(block) != ADDRESS_BYTES:
        raise _refused("wrong size")
    extended = block.startswith(_EXTENDED)
    hop = _decode_extended(block) if extended else _decode_classic(block)
    try:
        canonical = encode_address(hop, extended=extended) == block
    except LocalProtocolError as exc:
        raise _refused(str(exc)) from exc
    if not canonical:
        raise _refused("not canonical")
    return hop


def _encode_classic(hop: NextHop) -> bytes:
    fits = isinstance(hop.ip, ipaddress.IPv4Address) and hop.ip.packed[0] != 0
    ids = [peer.raw for peer in (hop.relay, hop.peer) if peer is not None]
    if not fits or any(len(raw) != _CLASSIC_ID_BYTES for raw in ids):
        raise LocalProtocolError(
            "the classic mix address holds IPv4 and secp256k1 ids only",
            code="mix-address",
            hint="use a secp256k1 host key, or a path of relays that agreed to the extended form",
        )
    transport = _TRANSPORTS.index(hop.transport).to_bytes(1)
    return hop.ip.packed + transport + hop.port.to_bytes(2) + b"".join(ids)


def _decode_classic(block: bytes) -> NextHop:
    if block[0] == 0:
        raise _refused("unknown form")
    first, second = block[7:46], block[46:85]
    relay = _read_id(first) if any(second) else None
    peer = _read_id(second if relay else first)
    ip = ipaddress.IPv4Address(block[:4])
    return NextHop(peer, ip, int.from_bytes(block[5:7]), _transport(block[4]), relay)


def _encode_extended(hop: NextHop) -> bytes:
    ip = hop.ip
    packed = ip.packed if ip.version == 6 else bytes(10) + b"\xff\xff" + ip.packed
    keys = b"".join(_encode_key(peer) for peer in (hop.peer, hop.relay) if peer is not None)
    transport = _TRANSPORTS.index(hop.transport).to_bytes(1)
    return _EXTENDED + transport + hop.port.to_bytes(2) + packed + keys


def _decode_extended(block: bytes) -> NextHop:
    number = ipaddress.IPv6Address(block[5:21])
    peer, at = _decode_key(block, 21)
    relay = _decode_key(block, at)[0] if block[at] else None
    port = int.from_bytes(block[3:5])
    return NextHop(peer, number.ipv4_mapped or number, port, _transport(block[2]), relay)


def _encode_key(peer: PeerId) -> bytes:
    for kind, (prefix, size) in _PREFIXES.items():
        if peer.raw.startswith(prefix) and len(peer.raw) == len(prefix) + size:
            return bytes([kind]) + peer.raw[len(prefix) :]
    raise LocalProtocolError("no mix address for this kind of peer id", code="mix-address")


def _decode_key(block: bytes, at: int) -> tuple[PeerId, int]:
    if block[at] not in _PREFIXES:
        raise _refused("unknown kind of key")
    prefix, size = _PREFIXES[block[at]]
    return _read_id(prefix + block[at + 1 : at + 1 + size]), at + 1 + size


def _read_id(raw: bytes) -> PeerId:
    if len(raw) == _CLASSIC_ID_BYTES and not raw.startswith(_PREFIXES[_SECP256K1][0]):
        raise _refused("not a secp256k1 peer id")
    return PeerId.from_bytes(raw)


def _transport(code: int) -> Transport:
    if code >= len(_TRANSPORTS):
        raise _refused("unknown transport")
    return _TRANSPORTS[code]


def _refused(why: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"unusable mix address block: {why}", code="mix-address")
