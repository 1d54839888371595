"""Where a peer can be reached: multiaddrs, and which of them may be believed and dialled.

An address that a peer tells us is a place that peer would like us to connect to. Without the rules
here it could aim us at our own machine, our home network or somebody else's server.
Spec: multiformats/multiaddr; the address classes are those of RFC 6890.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from multiaddr import Multiaddr
from multiaddr import exceptions as multiaddr_exceptions

from .errors import RemoteProtocolError
from .ids import PeerId
from .limits import ADDRESSES_PER_PEER

__all__ = [
    "Multiaddr",
    "Scope",
    "believable",
    "parse_address",
    "peer_of",
    "scope_of",
    "without_peer",
]

# A chain of relays and certificate hashes stays below this; longer text is an attack.
_MAX_TEXT = 1024
# Reading an address takes 50 microseconds, and the same few hundred pass by again and again.
_REMEMBERED = 4096


class Scope(enum.IntEnum):
    """How far an address reaches. A wider scope has the larger number."""

    LOOPBACK = 1
    LINK = 2
    LAN = 3
    PUBLIC = 4


def parse_address(text: str | bytes) -> Multiaddr:
    """Read a multiaddr in text or binary form. Raises RemoteProtocolError("address")."""
    if len(text) > _MAX_TEXT:
        raise RemoteProtocolError("address too long", code="address")
    return _parse(text)


@lru_cache(_REMEMBERED)
def _parse(text: str | bytes) -> Multiaddr:
    try:
        address = Multiaddr(text)
        # The library checks parts as they are looked at, and lets a cut binary form pass.
        if not address.to_bytes() or Multiaddr(str(address)).to_bytes() != address.to_bytes():
            raise ValueError("cut or empty")  # noqa: TRY301 - one exit for all malformed input
        return address
    except (multiaddr_exceptions.Error, ValueError, TypeError, LookupError) as exc:
        raise RemoteProtocolError(
            "not a multiaddr",
            code="address",
            hint="an address looks like /ip4/192.168.1.7/tcp/7460/p2p/12D3KooW...",
        ) from exc


def peer_of(address: Multiaddr) -> PeerId | None:
    """The peer named by the address' last `/p2p/` part, or None without one."""
    last = None
    for protocol, value in address.items():
        if protocol.name == "p2p":
            last = value
    return PeerId.parse(last) if last is not None else None


@lru_cache(_REMEMBERED)
def without_peer(address: Multiaddr) -> Multiaddr:
    """The address without a `/p2p/...` part at its end."""
    items = list(address.items())
    if items and items[-1][0].name == "p2p":
        return Multiaddr(str(address).rsplit("/p2p/", 1)[0])
    return address


@lru_cache(_REMEMBERED)
def scope_of(address: Multiaddr) -> Scope | None:
    """How far the address reaches; None when it names no IP address or one nobody can have.

    Unspecified (0.0.0.0), multicast, broadcast and reserved addresses give None. Names (`/dns`)
    give PUBLIC: what they resolve to is checked when they are resolved.
    """
    for protocol, value in address.items():
        if protocol.name in ("ip4", "ip6"):
            return _ip_scope(ipaddress.ip_address(str(value)))
        if protocol.name in ("dns", "dns4", "dns6", "dnsaddr"):
            return Scope.PUBLIC
        if protocol.name == "memory":
            return Scope.LOOPBACK
    return None


def _ip_scope(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Scope | None:
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip.is_unspecified or ip.is_multicast or str(ip) == "255.255.255.255":
        return None
    if ip.is_loopback:
        return Scope.LOOPBACK
    if ip.is_link_local:
        return Scope.LINK
    if ip.is_reserved:  # Python counts 240.0.0.0/4 as private, too
        return None
    return Scope.LAN if ip.is_private else Scope.PUBLIC


def believable(
    told: Iterable[Multiaddr], *, source: Scope, limit: int = ADDRESSES_PER_PEER
) -> tuple[Multiaddr, ...]:
    """Of the addresses a peer told us, the ones we may dial, at most `limit`, as given.

    `source` is how far away the teller is: the scope of the address it reached us from. Somebody
    on the internet may name only public addresses; somebody on our LAN also LAN and link-local
    ones; only somebody on this machine may name loopback.
    """
    kept: dict[bytes, Multiaddr] = {}
    for address in told:
        scope = scope_of(address)
        if scope is None:
            continue
        # Link-local and LAN are the same room: a neighbour on the LAN may name either.
        if scope >= source or (scope is Scope.LINK and source is Scope.LAN):
            kept.setdefault(address.to_bytes(), address)
        if len(kept) == limit:
            break
    return tuple(kept.values())
