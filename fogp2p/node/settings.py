"""Limits of the node's own work, each with its reason."""

from typing import Final

# Peers worth a try that are remembered: ten times what a LAN announces in a minute.
MAX_CANDIDATES: Final = 512
# Dials under way at once: each may hold a socket for 15 s.
MAX_DIALS: Final = 8
# Peers that we dialled ourselves, whoever dialled us: a majority of the mesh's degree of 6.
OWN_CHOICES: Final = 4
# After a failure a peer is tried again after 1 s, 2 s, ... 300 s, each with up to half on top, so
# that two peers that fail together do not try together.
RETRY_FIRST_S: Final = 1.0
RETRY_MOST_S: Final = 300.0
# A connection that ended is made again after a moment: the peer may just be starting.
RECONNECT_S: Final = 0.5
CONNECT_TIMEOUT_S: Final = 20.0
# A DHT that started again has this long to announce a key again; later it does so by itself.
PROVIDE_AGAIN_S: Final = 60.0
