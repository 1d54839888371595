"""Waits of the conformance checks, each with its reason."""

from typing import Final

# The longest that one check may take.
CHECK_TIMEOUT_S: Final = 25.0
# A whole connection, honest on both sides, over a slow link.
CONNECT_TIMEOUT_S: Final = 10.0
# How long a peer may take to refuse: the specifications say "refuse", and a stream that is merely
# left open until its own deadline (10 s for a handshake) is not that.
REFUSAL_TIMEOUT_S: Final = 5.0
# How long we listen for something that must not come.
SILENCE_S: Final = 0.4
# Between connections to a peer that is not on this machine: ours admit one each 5 s and 16 at once.
PACE_S: Final = 5.0
BURST: Final = 8
