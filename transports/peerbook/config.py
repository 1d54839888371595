"""Limits of the two, each with its reason."""

from typing import Final

from fogp2p.limits import MIB

# 10,000 peers with 8 addresses of about 20 bytes each.
MAX_FILE_BYTES: Final = 4 * MIB
# Written at most this often: a crash loses the addresses of half a minute, which are hints.
SAVE_INTERVAL_S: Final = 30.0
# Known peers offered at the start: more than any peer keeps connections.
OFFERED_AT_START: Final = 64
