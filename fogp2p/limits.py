"""Limits that more than one room uses, each with its reason.

A room's own limits stand in its `config.py`. Every collection that a peer can make grow has one.
"""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# --- codec -------------------------------------------------------------------------------------
# Fog messages nest 4-6 levels; 16 leaves room and keeps the decoder's recursion trivial.
CBOR_MAX_DEPTH: Final = 16
# A map or array item costs about 60 bytes as a Python object: 10,000 items stay under 1 MiB.
CBOR_MAX_ITEMS: Final = 10_000
# No control message is larger; bulk data travels in chunks beside CBOR, never inside it.
CBOR_MAX_BYTES: Final = 256 * KIB

# --- framing -----------------------------------------------------------------------------------
# Default cap of one length-prefixed frame. Protocols pass a smaller one of their own.
FRAME_MAX_BYTES: Final = 256 * KIB
# An unsigned varint of 9 bytes carries 63 bits, the longest that multiformats allows.
VARINT_MAX_BYTES: Final = 9

# --- connections (defaults as in go-libp2p's resource manager where it has them) ----------------
# One address may hold 8 connections: a household behind one NAT, but not a flood.
CONNECTIONS_PER_IP: Final = 8
# IPv6 hands a whole /48 to one customer; 64 of them would be a household of households.
CONNECTIONS_PER_IPV6_48: Final = 64
# New connections per second and address, with a burst for a network that wakes up at once.
CONNECTION_RATE_PER_IP: Final = 0.2
CONNECTION_BURST_PER_IP: Final = 16
# Handshakes in flight cost a key exchange each and hold no proven identity yet.
INBOUND_HANDSHAKES: Final = 32
# 160 inbound peers is go-libp2p's high-water default; about 65 kB each makes 10 MB.
INBOUND_CONNECTIONS: Final = 160
OUTBOUND_CONNECTIONS: Final = 160
# Streams a peer may have open towards us, and all peers together.
INBOUND_STREAMS_PER_PEER: Final = 256
INBOUND_STREAMS: Final = 2_048
# Streams we may have open towards one peer; past it open_stream waits for its deadline.
OUTBOUND_STREAMS_PER_PEER: Final = 256
# Bytes buffered for one stream: the receive window. Past it the peer is in breach.
STREAM_WINDOW_BYTES: Final = 256 * KIB
# Bytes queued towards one connection before writers wait.
WRITE_QUEUE_BYTES: Final = 1 * MIB

# --- addresses ----------------------------------------------------------------------------------
# A record may not make us dial more than this many places (dial amplification).
ADDRESSES_PER_PEER: Final = 8
# Peers whose addresses are remembered; the least recently useful is forgotten first.
KNOWN_PEERS: Final = 10_000

# --- waits (seconds) ----------------------------------------------------------------------------
# A whole upgrade (TCP, multistream, Noise, muxer): three round trips, generous for a radio link.
HANDSHAKE_TIMEOUT_S: Final = 10.0
DIAL_TIMEOUT_S: Final = 15.0
# Next address starts this long after the previous one (RFC 8305 section 5).
HAPPY_EYEBALLS_DELAY_S: Final = 0.25
# A frozen peer is noticed within interval + timeout <= 15 s.
PING_INTERVAL_S: Final = 8.0
PING_TIMEOUT_S: Final = 6.0
# Time given to tasks to finish their goodbyes on an orderly stop.
SHUTDOWN_GRACE_S: Final = 2.0

# --- events -------------------------------------------------------------------------------------
# Events a subscriber may lag behind before the oldest are dropped and counted.
EVENT_QUEUE: Final = 256
