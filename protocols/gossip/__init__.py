"""Gossipsub 1.1: messages that spread to everybody who subscribed to a topic.

Spec: specs/gossip/gossip-v1.md, a profile of libp2p/specs pubsub/gossipsub.
"""

from .config import GossipConfig
from .handler import Gossip, open_gossip

__all__ = ["Gossip", "GossipConfig", "open_gossip"]
