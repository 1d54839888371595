"""`/fog/version/1.0.0`: what two peers may speak with each other, agreed once per connection.

Spec: specs/versioning/versioning-v1.md.
"""

from .catalogue import Catalogue, Offer, Release
from .handler import Versioning, open_versioning
from .machine import PROTOCOL_ID
from .messages import Agreement, Notice

__all__ = [
    "PROTOCOL_ID",
    "Agreement",
    "Catalogue",
    "Notice",
    "Offer",
    "Release",
    "Versioning",
    "open_versioning",
]
