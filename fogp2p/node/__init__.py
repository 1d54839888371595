"""A whole peer, put together: this is the only place where transports and protocols meet."""

from .node import Node, open_node
from .open import open_peer
from .status import DiscoveryStatus, NodeStatus, Peers, PeerStatus

__all__ = [
    "DiscoveryStatus",
    "Node",
    "NodeStatus",
    "PeerStatus",
    "Peers",
    "open_node",
    "open_peer",
]
