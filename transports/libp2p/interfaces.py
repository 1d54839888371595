"""Which addresses this machine really has."""

from __future__ import annotations

import ipaddress
import socket

import psutil

from fogp2p.addresses import Multiaddr, parse_address

__all__ = ["concrete_addresses", "tcp_endpoint"]


def tcp_endpoint(address: Multiaddr) -> tuple[str, int] | None:
    """(ip, port) of a plain TCP address; None for anything else (WebSocket, names, relays)."""
    parts = [(protocol.name, str(value)) for protocol, value in address.items()]
    names = [name for name, _ in parts]
    if names[:2] not in (["ip4", "tcp"], ["ip6", "tcp"]) or names[2:] not in ([], ["p2p"]):
        return None
    return parts[0][1], int(parts[1][1])


def concrete_addresses(ip: str, port: int) -> tuple[Multiaddr, ...]:
    """The addresses behind a bound socket: every interface's for 0.0.0.0 and ::.

    Link-local IPv6 is left out: it means nothing without the interface it was seen on.
    """
    bound = ipaddress.ip_address(ip)
    found = [bound]
    if bound.is_unspecified:
        family = socket.AF_INET if bound.version == 4 else socket.AF_INET6
        found = sorted(
            {
                ipaddress.ip_address(entry.address.split("%")[0])
                for entries in psutil.net_if_addrs().values()
                for entry in entries
                if entry.family == family
            },
            key=lambda each: (each.is_loopback, int(each)),
        )
    return tuple(
        parse_address(f"/ip{each.version}/{each}/tcp/{port}")
        for each in found
        if not (each.version == 6 and each.is_link_local)
    )
