"""Settings of the libp2p host."""

from __future__ import annotations

from dataclasses import dataclass

from fogp2p.addresses import Multiaddr, parse_address
from fogp2p.limits import (
    CONNECTION_BURST_PER_IP,
    CONNECTION_RATE_PER_IP,
    CONNECTIONS_PER_IP,
    CONNECTIONS_PER_IPV6_48,
    HANDSHAKE_TIMEOUT_S,
    INBOUND_CONNECTIONS,
    INBOUND_HANDSHAKES,
    INBOUND_STREAMS,
    OUTBOUND_CONNECTIONS,
    PING_INTERVAL_S,
    PING_TIMEOUT_S,
)

__all__ = ["Libp2pConfig"]


@dataclass(frozen=True, slots=True)
class Libp2pConfig:
    """Everything that may be set; the defaults have their reasons in `fogp2p.limits`.

    `listen`: TCP addresses, `/ip4/0.0.0.0/tcp/0` for every interface and any port. `agent`: how we
    name our software to peers. `exempt_loopback`: no per-address limits for 127.0.0.0/8 and ::1, as
    in go-libp2p. WebSocket and QUIC are not offered: libp2p 0.8.1's lose data under load.
    """

    listen: tuple[Multiaddr, ...] = (parse_address("/ip4/127.0.0.1/tcp/0"),)
    agent: str = "fogp2p/0.1.0"
    exempt_loopback: bool = True
    connections_per_ip: int = CONNECTIONS_PER_IP
    connections_per_ipv6_48: int = CONNECTIONS_PER_IPV6_48
    connection_rate_per_ip: float = CONNECTION_RATE_PER_IP
    connection_burst_per_ip: int = CONNECTION_BURST_PER_IP
    inbound_connections: int = INBOUND_CONNECTIONS
    outbound_connections: int = OUTBOUND_CONNECTIONS
    inbound_handshakes: int = INBOUND_HANDSHAKES
    inbound_streams: int = INBOUND_STREAMS
    handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S
    ping_interval_s: float = PING_INTERVAL_S
    ping_timeout_s: float = PING_TIMEOUT_S
