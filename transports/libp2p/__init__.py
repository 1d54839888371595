"""The libp2p host: TCP, Noise and yamux as other libp2p peers speak them.

libp2p (py-libp2p 0.8.1) is imported in this folder and nowhere else; what is used of it and what is
not is recorded in docs/decisions/0002-hardening-libp2p.md.
"""

from .config import Libp2pConfig
from .host import LibP2PHost, open_host

__all__ = ["LibP2PHost", "Libp2pConfig", "open_host"]
