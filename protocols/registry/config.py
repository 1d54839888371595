"""Limits of the registry, each with its reason."""

from __future__ import annotations

from typing import Final

from fogp2p.ids import ProtocolId

PROTOCOL: Final = ProtocolId("/fog/registry/1.0.0")

# --- one descriptor -----------------------------------------------------------------------------
# A full one with post-quantum keys has about 3 KiB; what is larger is refused unread.
MAX_ENVELOPE_BYTES: Final = 4_096
# What its members, full lists and all, count in the codec's way is below 200.
MAX_ITEMS: Final = 1_024
# A description is believed for an hour at most: then the peer itself has to say it again.
MAX_LIFETIME_S: Final = 3_600
# How wrong two clocks may be before peers stop believing each other's dates.
SKEW_S: Final = 120
# Exact in every language's numbers, JSON's too; at one a second it lasts 285 million years.
MAX_SEQUENCE: Final = 2**53 - 1
# Roles of one peer: a handful are defined, a few more are somebody's own.
MAX_ROLES: Final = 16
MAX_NAME_BYTES: Final = 32
MAX_KEYS: Final = 8
# Room for the public keys of hybrid key encapsulation (X-Wing has 1,216 bytes).
MAX_KEY_BYTES: Final = 1_600
MAX_CAPACITY: Final = 16
MAX_STAKE_BYTES: Final = 1_024
MAX_EXTENSIONS: Final = 16
MAX_SOFTWARE_CHARS: Final = 64
MAX_ADDRESS_BYTES: Final = 256

# --- the store ----------------------------------------------------------------------------------
# As many peers as the address book remembers.
MAX_HELD: Final = 10_000
# 10,000 usual descriptors have 4 MB; 10,000 of the largest would have 40.
MAX_HELD_BYTES: Final = 16 * 1024 * 1024
# Peers of one public IPv4 /24 or IPv6 /48: a rack of machines, but not a network of one owner.
PER_NETWORK: Final = 64
# What one source may fill with descriptors of others: a tenth.
PER_TELLER: Final = 1_000
# Sequences remembered of peers whose descriptor is no longer held, against replays.
MAX_FLOORS: Final = 20_000
# Proofs of equivocation: two envelopes each, 2 MiB at most.
MAX_PROOFS: Final = 256
# Alarms of each kind, so that a crowd that forges does not push out a proof.
MAX_ALARMS: Final = 64

# --- the exchange -------------------------------------------------------------------------------
# Descriptors in one answer: 256 KiB at most.
MAX_ANSWER: Final = 64
# The largest message: a descriptor and a few bytes round it.
MAX_MESSAGE_BYTES: Final = MAX_ENVELOPE_BYTES + 64
REQUEST_TIMEOUT_S: Final = 10.0
# A served stream that says nothing for this long is closed.
IDLE_S: Final = 30.0
# A peer's requests a second, and at once. A query costs up to 64 envelopes, a descriptor of
# somebody else one signature check, its own nothing more often than its facts change.
QUERIES_PER_S: Final = 1.0
QUERY_BURST: Final = 16.0
TOLD_PER_S: Final = 1.0
TOLD_BURST: Final = 64.0
OWN_PER_S: Final = 0.2
OWN_BURST: Final = 8.0
# Peers told of our own news at the same time.
TELL_AT_ONCE: Final = 16
# Our own descriptor is made anew at half its life; facts are looked at this often in between.
RENEW_AFTER_S: Final = MAX_LIFETIME_S / 2
LOOK_S: Final = 30.0
# Sources asked by one `find`: two can contradict each other, a third outvotes nobody but is told.
SOURCES: Final = 3
# Descriptors that one source lacked and is asked about in one `find`.
MAX_CHECKED: Final = 8
# Providers from the DHT that one `find` connects to.
MAX_DIALLED: Final = 8
DISCOVERY_TIMEOUT_S: Final = 20.0
# A role that nobody holds our announcement of (no peers yet) is announced again.
ANNOUNCE_AGAIN_S: Final = 60.0

# --- our own sequence ---------------------------------------------------------------------------
# Numbers reserved by one write of the file: half a day of renewals.
RESERVED: Final = 32
MAX_FILE_BYTES: Final = 256
