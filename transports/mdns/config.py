"""Settings and limits of LAN discovery, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["MdnsConfig"]

# An answer lives this long without being repeated (libp2p's other implementations use it too).
TTL_S: Final = 120
# RFC 6762 section 17 allows 9,000 bytes; we send less than an Ethernet frame holds.
MAX_RECEIVE_BYTES: Final = 9_000
MAX_SEND_BYTES: Final = 1_400
# Records looked at in one packet: a busy LAN's answers stay far below.
MAX_RECORDS: Final = 128
# A TXT string's length is one byte.
MAX_TXT_BYTES: Final = 255
# Peers remembered, and new ones accepted in a minute: a flat, not a stadium.
MAX_PEERS: Final = 500
NEW_PEERS_PER_MINUTE: Final = 50
# Shared answers are delayed at random so that they do not collide (RFC 6762 section 6).
ANSWER_DELAY_S: Final = (0.02, 0.12)
# On each interface we answer at most this often (RFC 6762 section 6).
ANSWER_INTERVAL_S: Final = 1.0
# Contents we say that we have, as many as in the DHT, and answers about them a second on each
# interface.
MAX_CONTENTS: Final = 1_000
CONTENT_INTERVAL_S: Final = 0.2
# Who has a content answers in this time: the longest delay and a turn of the interval.
CONTENT_WAIT_S: Final = 0.4
# Providers taken from the answers to one question.
MAX_PROVIDERS: Final = 20
# First questions close together, then rarely (RFC 6762 section 5.2).
FIRST_QUERIES_S: Final = (0.0, 0.5, 1.5, 4.5)
# Packets handled in a second on each interface; more is a storm and is dropped unread.
PACKETS_PER_S: Final = 200


@dataclass(frozen=True, slots=True)
class MdnsConfig:
    """`service`: another name makes a private network. `port` and groups are changed by tests only.

    `interfaces`: names to use, empty for all that are up. `interval_s`: between later questions.
    """

    service: str = "_p2p._udp.local."
    port: int = 5353
    group4: str = "224.0.0.251"
    group6: str = "ff02::fb"
    interfaces: tuple[str, ...] = ()
    interval_s: float = 10.0
    ipv6: bool = True
