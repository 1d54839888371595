"""Limits of the two, each with its reason."""

from typing import Final

from fogp2p.limits import MIB

# 10,000 peers with 8 addresses of about 20 bytes each.
MAX_FILE_BYTES: Final = 4 * MIB
# Written at most this often: a crash loses the addresses of half a minute, which are hints.
SAVE_INTERVAL_S: Final = 30.0
# How long a configured or remembered address counts as worth a try.
SIGHTING_S: Final = 3_600.0
# While nobody is connected, the configured peers are offered again: 5 s, 10 s, ... 300 s.
RETRY_FIRST_S: Final = 5.0
RETRY_MOST_S: Final = 300.0
# Known peers offered at the start: more than any peer keeps connections.
OFFERED_AT_START: Final = 64
