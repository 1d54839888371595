"""Peers we are told of at the start, and peers we met before."""

from .bootstrap import Bootstrap
from .known import KnownPeers, open_known_peers

__all__ = ["Bootstrap", "KnownPeers", "open_known_peers"]
