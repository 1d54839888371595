"""Settings and limits of the Kad-DHT, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fogp2p.ids import ProtocolId

__all__ = ["KadConfig"]

PROTOCOL: Final = ProtocolId("/fogp2p/kad/1.0.0")
# libp2p/specs kad-dht: bucket size and replication; queries in flight.
K: Final = 20
ALPHA: Final = 10
# A lookup among a million peers asks about 60; more is somebody leading us round.
MAX_QUERIES: Final = 120
# Candidates kept in one lookup, the closest: 20 answers of 20 peers.
MAX_HEARD: Final = 400
# A response carries 20 closer peers and 20 providers with 8 addresses each; 512 bytes a peer.
MAX_MESSAGE_BYTES: Final = 64 * 1024
# A request names a key and at most ourselves.
MAX_REQUEST_BYTES: Final = 8 * 1024
# As in go-libp2p-kad-dht: a multihash of 64 bytes and its prefix fit.
MAX_KEY_BYTES: Final = 80
# Provider records: expire as the specification says, and stay below 20 MB.
PROVIDER_TTL_S: Final = 48 * 3_600.0
REPROVIDE_S: Final = 22 * 3_600.0
# A key that nobody took is announced again after this long, then after twice as long, and so on.
PROVIDE_RETRY_S: Final = 60.0
MAX_PROVIDED_KEYS: Final = 10_000
MAX_PROVIDERS_PER_KEY: Final = 40
# One peer may fill a tenth of the store.
MAX_KEYS_PER_PROVIDER: Final = 1_000
# What we announce ourselves.
MAX_OWN_KEYS: Final = 1_000
# Peers of one network (IPv4 /16, IPv6 /32) in one bucket and in the table: against eclipses.
PER_NETWORK_IN_BUCKET: Final = 2
PER_NETWORK: Final = 10
REQUEST_TIMEOUT_S: Final = 10.0
# A served stream that says nothing for this long is closed.
IDLE_S: Final = 60.0
# Requests of one peer a second, and at once: a lookup asks each peer a few times.
REQUESTS_PER_S: Final = 20.0
REQUEST_BURST: Final = 100.0
REFRESH_S: Final = 600.0
# After a new peer appeared, wait for its neighbours; while many come, look around this often.
SETTLE_S: Final = 1.0
LOOK_S: Final = 30.0
# How long what a lookup brought is worth a dial.
SIGHTING_TTL_S: Final = 1_800.0


@dataclass(frozen=True, slots=True)
class KadConfig:
    """`protocol` is what separates one DHT from another; peers of ours share the default.

    `serve`: answer others (a peer that can be reached) or only ask (one that cannot).
    """

    protocol: ProtocolId = PROTOCOL
    serve: bool = True
    k: int = K
    alpha: int = ALPHA
    refresh_s: float = REFRESH_S
    reprovide_s: float = REPROVIDE_S
