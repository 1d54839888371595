"""Settings and limits of gossipsub, each with its reason.

Names and values are those of libp2p/specs pubsub/gossipsub where it has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from fogp2p.ids import ProtocolId

__all__ = ["GossipConfig"]

# The newest that both sides speak is used; IDONTWANT goes to peers of 1.2 only.
V12: Final = ProtocolId("/meshsub/1.2.0")
PROTOCOLS: Final = (V12, ProtocolId("/meshsub/1.1.0"), ProtocolId("/meshsub/1.0.0"))
KIB: Final = 1024
# One message of 64 KiB with its signature, or a few thousand message ids.
MAX_RPC_BYTES: Final = 256 * KIB
MAX_DATA_BYTES: Final = 64 * KIB
MAX_TOPIC_BYTES: Final = 256
# An id is a peer id and a number: 52 bytes for Ed25519.
MAX_ID_BYTES: Final = 128
# GHSA-4f8r-922h-2vgv: what one RPC and one peer may subscribe to.
MAX_SUBSCRIPTIONS_PER_RPC: Final = 5_000
MAX_TOPICS_PER_PEER: Final = 100
MAX_OWN_TOPICS: Final = 100
# Messages of one RPC that are looked at: 256 KiB hold 1,600 of the smallest.
MAX_MESSAGES_PER_RPC: Final = 2_000
# Control entries of one RPC that are looked at.
MAX_CONTROL: Final = 200
MAX_IDS: Final = 5_000
# IHAVE of one peer between two heartbeats.
MAX_IHAVE_PER_HEARTBEAT: Final = 10
# IDONTWANT: told for messages from this size on, below which the ids cost more than they save
# (go: 1 KiB); heard for so many ids of one peer between two heartbeats (js: 512), more is counted
# against it; kept for three heartbeats, within which a message has spread.
IDONTWANT_FROM_BYTES: Final = 1_024
MAX_IDONTWANT_PER_HEARTBEAT: Final = 512
IDONTWANT_HEARTBEATS: Final = 3
# Ids that a peer is known to have, by its IDONTWANT or by its sending them: three heartbeats of
# the fullest topic. The oldest go first, which costs a duplicate.
MAX_HAS: Final = 2_048
# How often one peer gets the same message by IWANT.
MAX_RETRANSMISSIONS: Final = 3
# Ids remembered against duplicates, for so long: 2,000 a second.
SEEN_TTL_S: Final = 120.0
MAX_SEEN: Final = 240_000
# The number of a message.
SEQNO_BYTES: Final = 8
# Authors whose highest forgotten number is remembered (about 250 bytes each), and for how long
# after it was raised: somebody whose clock was set back is heard again after an hour.
MAX_FLOORS: Final = 10_000
FLOOR_TTL_S: Final = 3_600.0
# A number is a time when it is within a year of now, in nanoseconds: one in 300 random ones is.
TIME_RANGE_S: Final = 366 * 86_400.0
# Windows of the message cache: kept, and told of by IHAVE; and all of it in bytes.
CACHE_WINDOWS: Final = 5
GOSSIP_WINDOWS: Final = 3
MAX_CACHE_BYTES: Final = 16 * 1024 * KIB
# Messages waiting for one subscriber, and their bytes: a second of the fullest topic.
SUBSCRIBER_QUEUE: Final = 1_024
SUBSCRIBER_BYTES: Final = 4 * 1024 * KIB
# Messages handed to one subscriber before others have their turn.
MESSAGES_AT_ONCE: Final = 64
# RPCs waiting for one peer, of at most so many bytes: a second of a busy topic of small messages.
OUTBOX: Final = 256
OUTBOX_BYTES: Final = 1_024 * KIB
# A message that waited longer is dropped: by then its receiver has it from another or asks for it.
OUTBOX_AGE_S: Final = 2.0
# RPCs to one peer are collected for so long when the last went less than that ago: one encryption
# and one system call for many, and what the peer meanwhile shows to have is not sent to it at all.
COLLECT_S: Final = 0.02
# RPCs that wait go out together up to this much: fewer frames and system calls.
BATCH_BYTES: Final = 64 * KIB
# Frames of one peer that are taken before others have their turn: under 5 ms.
FRAMES_AT_ONCE: Final = 8
FANOUT_TTL_S: Final = 60.0
PRUNE_BACKOFF_S: Final = 60.0
UNSUBSCRIBE_BACKOFF_S: Final = 10.0
# A peer may not keep us from grafting it for longer (F3: the field holds 64 bits).
MAX_BACKOFF_S: Final = 3_600.0
IWANT_FOLLOWUP_S: Final = 3.0
STREAM_TIMEOUT_S: Final = 10.0
# New streams of one peer towards us within a minute: one, and a few after faults.
MAX_STREAMS_PER_MINUTE: Final = 6


# A validator may hold the loop for a quarter of a second in each second; beyond that messages of
# its topic are ignored (`validator-slow`). One call of 5 ms and more is counted.
VALIDATOR_SHARE: Final = 0.25
VALIDATOR_SLOW_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class GossipConfig:
    """The mesh: `d` peers are wanted in each topic, `d_low`-`d_high` tolerated.

    `d_lazy` is twice gossipsub's: among 20 Sybils for each honest peer six out of the mesh are too
    few to reach those who need it (97.9 % instead of 99.8 % in the first ten heartbeats, see
    docs/explain/gossip.md); it costs six lists of ids more in a heartbeat.

    Rates are messages a second that are new to us: `peer_rate` bounds what one peer can make us
    verify (0.1 ms each: a twentieth of a core), `topic_rate` what a topic's subscribers and our
    neighbours get from us. `*_burst`: how many may come at once. `topic_rates` names topics with
    a rate of their own; it stands for the burst, too.
    """

    d: int = 6
    d_low: int = 5
    d_high: int = 12
    d_lazy: int = 12
    d_score: int = 4
    d_out: int = 2
    gossip_factor: float = 0.25
    heartbeat_s: float = 1.0
    flood_publish: bool = True
    opportunistic_every: int = 60
    replace_silent: bool = True
    peer_rate: float = 500.0
    peer_burst: float = 1_000.0
    topic_rate: float = 1_000.0
    topic_burst: float = 2_000.0
    topic_rates: Mapping[str, float] = field(default_factory=dict)


# --- a mesh that is silent (instead of P3) ------------------------------------------------------
# P3 of gossipsub 1.1 punishes whoever brings less than a topic's parameter says: quiet topics, and
# peers behind us that have nothing to bring. Here nobody is punished; but when of the last messages
# of a topic more than this share came from neither a member of its mesh nor their author, members
# that brought none of the last 20 are replaced, two in each heartbeat.
SILENT_SHARE: Final = 0.25
SILENT_MESSAGES: Final = 8
SILENT_AFTER: Final = 20
SILENT_REPLACED: Final = 2

# --- scores (gossipsub 1.1 section "Peer scoring"; without P3, see above) -----------------------
# P1: a point for each 100 s in the mesh, at most 10. P2: one for each first delivery, at most 40.
P1_PER_S: Final = 0.01
P1_MOST: Final = 10.0
P2_MOST: Final = 40.0
P2_HALF_LIFE_S: Final = 60.0
# P4: a message that a validator rejects counts 1, a false signature 10; 10 x the square, forgotten
# by half in ten minutes. P7: likewise for broken promises and for grafting too early.
P4_WEIGHT: Final = -10.0
P4_HALF_LIFE_S: Final = 600.0
FORGERY: Final = 10.0
P7_WEIGHT: Final = -5.0
P7_FREE: Final = 3.0
P7_HALF_LIFE_S: Final = 120.0
# P6: more peers than this behind one public address count against each of them.
P6_WEIGHT: Final = -5.0
P6_FREE: Final = 5
# Below these a peer gets no gossip, none of our own messages, and is not listened to at all.
GOSSIP_THRESHOLD: Final = -10.0
PUBLISH_THRESHOLD: Final = -50.0
GRAYLIST_THRESHOLD: Final = -80.0
# A mesh whose median is below this looks for better peers.
OPPORTUNISTIC_THRESHOLD: Final = 1.0
OPPORTUNISTIC_PEERS: Final = 2
# Scores of peers that went are kept so long, so that leaving does not wash anything off.
SCORE_KEPT_S: Final = 600.0
MAX_SCORES: Final = 2_000
