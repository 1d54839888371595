"""Limits of the version handshake, each with its reason."""

from typing import Final

# 64 protocols with their features in one message.
MAX_HELLO_BYTES: Final = 16_384
MAX_PROTOCOLS: Final = 64
MAX_RELEASES: Final = 16
MAX_FEATURES: Final = 64
MAX_LIMITS: Final = 64
MAX_NOTICES: Final = 4
# Two round trips over a slow radio link, and a busy peer.
HANDSHAKE_TIMEOUT_S: Final = 10.0
# How long a stream may wait at the gate for an agreement under way.
GATE_TIMEOUT_S: Final = HANDSHAKE_TIMEOUT_S
# A deprecation is worth a word when its end is this near, in days.
WARN_DAYS: Final = 90
