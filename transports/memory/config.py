"""How links behave, and the memory host's own limits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from fogp2p.errors import LocalProtocolError

__all__ = ["DEAD_AFTER_S", "LinkSettings"]

# A peer that cannot be heard is given up after this long: the bound the libp2p host keeps too.
DEAD_AFTER_S: Final = 15.0
# Round trips of TCP, Noise XX and the multiplexer before a connection can be used.
HANDSHAKE_ROUND_TRIPS: Final = 3
# A lost segment is sent again after the round trip, and at least this long (RFC 6298's minimum,
# as lowered by Linux).
RETRANSMIT_MIN_S: Final = 0.2
# More losses of one segment in a row than this are drawn as this many.
MAX_RETRANSMITS: Final = 6


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """One direction of a link.

    `latency_s`: mean one-way delay, at least 0. `jitter_s`: mean of an exponentially distributed
    addition, so that streams overtake each other (bytes of one stream never do). `loss`: share of
    segments lost, 0 to below 1; streams are reliable, so a loss shows as the delay of sending it
    again. `bandwidth`: bytes per second, shared by all streams of the direction.
    """

    latency_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    bandwidth: float = math.inf

    def __post_init__(self) -> None:
        if self.latency_s < 0 or self.jitter_s < 0 or not 0 <= self.loss < 1 or self.bandwidth <= 0:
            raise LocalProtocolError("link setting out of range", code="memory-link")
