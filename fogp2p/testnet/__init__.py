"""Several peers as separate processes on this machine, for a person alone, the demo and tests."""

from .network import Testnet, open_testnet
from .peers import LocalPeer, PeerFailed
from .stage import Chapter, Check, Stage

__all__ = ["Chapter", "Check", "LocalPeer", "PeerFailed", "Stage", "Testnet", "open_testnet"]
