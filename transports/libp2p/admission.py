"""Who may come in: limits by address, asked before a single byte is read. Pure; `now` is told."""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Final

from .config import Libp2pConfig

__all__ = ["Admission"]

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
# Addresses whose rate is remembered; the least recently seen is forgotten first.
_REMEMBERED: Final = 4_096


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Admission:
    """Counts connections by address and by IPv6 /56 and /48, and their rate."""

    def __init__(self, config: Libp2pConfig) -> None:
        self._config = config
        self._open: Counter[str] = Counter()
        self._rates: OrderedDict[str, _Bucket] = OrderedDict()
        self._total = 0

    @property
    def total(self) -> int:
        """Inbound connections and handshakes under way."""
        return self._total

    def refusal(self, ip: IpAddress, now: float) -> str:
        """Why a connection from `ip` is turned away: a stable word, or "" when it may come in.

        A connection let in counts until `leave`.
        """
        config = self._config
        if self._total >= config.inbound_connections + config.inbound_handshakes:
            return "too-many-connections"
        if not (ip.is_loopback and config.exempt_loopback):
            narrow, wide = _groups(ip)
            if self._open[narrow] >= config.connections_per_ip:
                return "too-many-from-address"
            if wide is not None and self._open[wide] >= config.connections_per_ipv6_48:
                return "too-many-from-network"
            if not self._take(narrow, now):
                return "too-fast-from-address"
        self._count(ip, 1)
        return ""

    def leave(self, ip: IpAddress) -> None:
        """A connection that was let in is gone."""
        self._count(ip, -1)

    def _count(self, ip: IpAddress, change: int) -> None:
        self._total += change
        for group in _groups(ip):
            if group is not None:
                self._open[group] += change
                if not self._open[group]:
                    del self._open[group]

    def _take(self, group: str, now: float) -> bool:
        burst = float(self._config.connection_burst_per_ip)
        bucket = self._rates.get(group)
        if bucket is None:
            bucket = self._rates[group] = _Bucket(burst, now)
            if len(self._rates) > _REMEMBERED:
                self._rates.popitem(last=False)
        self._rates.move_to_end(group)
        earned = (now - bucket.at) * self._config.connection_rate_per_ip
        bucket.tokens = min(burst, bucket.tokens + earned)
        bucket.at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


def _groups(ip: IpAddress) -> tuple[str, str | None]:
    """The groups an address is counted in: itself, or its IPv6 /56 and /48."""
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped), None
        bits = int(ip)
        return f"{bits >> 72:x}/56", f"{bits >> 80:x}/48"
    return str(ip), None
