"""Kad-DHT: finding peers by their id and providers of content, without a server.

Spec: specs/kad/kad-v1.md, a profile of libp2p/specs kad-dht/README.md.
"""

from .config import KadConfig
from .handler import Kad, open_kad

__all__ = ["Kad", "KadConfig", "open_kad"]
