"""Limits of the local API, each with its reason."""

from typing import Final

# Requests carry a few settings; nothing larger is read.
MAX_BODY_BYTES: Final = 64 * 1024
# Clients of one owner: a dashboard, a script, a shell. More is a program gone wrong.
MAX_CONNECTIONS: Final = 64
# The longest a request may wait for a peer.
MAX_TIMEOUT_S: Final = 60.0
DEFAULT_TIMEOUT_S: Final = 10.0
MAX_PINGS: Final = 100
MAX_ECHOES: Final = 10_000
# Requests that are being answered get this long when the peer stops.
GRACE_S: Final = 1.0
KEEP_ALIVE_S: Final = 15.0
"""How long an idle connection of a client is kept."""
