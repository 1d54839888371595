"""Gossipsub 1.2: messages that spread to everybody who subscribed to a topic.

Spec: specs/gossip/gossip-v1.md, a profile of libp2p/specs pubsub/gossipsub.
"""

from .config import GossipConfig
from .handler import Gossip, open_gossip
from .stats import DROP_LABELS, GossipStats

__all__ = ["DROP_LABELS", "Gossip", "GossipConfig", "GossipStats", "open_gossip"]
