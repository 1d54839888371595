"""A whole peer, put together: this is the only place where transports and protocols meet."""

from .health import Health, Reason, ServiceCounts
from .node import Node, open_node
from .open import open_peer
from .parts import Way
from .status import DiscoveryStatus, NodeStatus, Peers, PeerStatus, Services

__all__ = [
    "DiscoveryStatus",
    "Health",
    "Node",
    "NodeStatus",
    "PeerStatus",
    "Peers",
    "Reason",
    "ServiceCounts",
    "Services",
    "Way",
    "open_node",
    "open_peer",
]
