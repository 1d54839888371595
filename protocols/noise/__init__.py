"""The Noise protocol framework (revision 34) over 25519, ChaChaPoly and SHA256, without I/O.

Patterns N, X, KK, NK, XX and IK; transport in order, or out of order behind a replay window.
Randomness is an argument: the caller draws the ephemeral key. Spec: specs/noise/noise-v1.md.
"""

from .machine import Handshake
from .patterns import Pattern
from .primitives import KeyPair
from .transport import OrderedTransport, ReplayWindow, UnorderedTransport

__all__ = [
    "Handshake",
    "KeyPair",
    "OrderedTransport",
    "Pattern",
    "ReplayWindow",
    "UnorderedTransport",
]
