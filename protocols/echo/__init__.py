"""`/fog/echo`: the smallest complete protocol, and the example for others.

Version 1.0 returns every message. Version 1.1 adds what the receiver has got so far: the number of
bytes and their SHA-256, so that a sender can prove what arrived. Spec: specs/echo/echo-v1.md.
"""

from .client import EchoResult, echo
from .handler import Counters, install, remove
from .machine import NAME, OFFER_1_0, OFFER_1_1

__all__ = ["NAME", "OFFER_1_0", "OFFER_1_1", "Counters", "EchoResult", "echo", "install", "remove"]
