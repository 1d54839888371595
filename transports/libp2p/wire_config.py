"""Limits of one connection's wire: handshake, multiplexer, negotiation. Each with its reason."""

from typing import Final

from fogp2p.limits import KIB, MIB, STREAM_WINDOW_BYTES

# --- multistream-select ------------------------------------------------------------------------
# Protocol names are short; go-libp2p refuses lines over 1 KiB too.
MAX_LINE_BYTES: Final = 1 * KIB
# Names an opener may try before we hang up; the longest honest list is a handful.
MAX_PROPOSALS: Final = 32

# --- Noise -------------------------------------------------------------------------------------
NOISE_MAX_CIPHERTEXT: Final = 65_535
NOISE_MAX_PLAINTEXT: Final = NOISE_MAX_CIPHERTEXT - 16
# Two keys, signature and extensions take about 300 bytes.
NOISE_MAX_HANDSHAKE: Final = 4 * KIB

# --- yamux -------------------------------------------------------------------------------------
# Both sides of yamux begin with this window (the specification's constant).
INITIAL_WINDOW: Final = STREAM_WINDOW_BYTES
# A busy stream's window grows to this: one round trip of 4 ms at 250 MB/s.
MAX_WINDOW: Final = 1 * MIB
# Windows grow only while all of one connection stay below this together.
GROWTH_BUDGET: Final = 16 * MIB
# Data we put into one frame: with its header, a frame fits one Noise message.
MAX_FRAME_DATA: Final = NOISE_MAX_PLAINTEXT - 12
# Refused inbound streams after which the peer is flooding.
MAX_REFUSED_STREAMS: Final = 256
# Control frames a second that we honour; the burst covers a start-up. Pings and go-aways answer
# nothing but curiosity. Window updates are sent by some peers with every small read.
PINGS_PER_S: Final = 100.0
STREAMS_PER_S: Final = 2_000.0
UPDATES_PER_S: Final = 50_000.0
BURST_S: Final = 2.0
# Frames for streams we no longer know: what was under way when we reset them.
STRAYS_PER_S: Final = 5_000.0

# --- driver ------------------------------------------------------------------------------------
# Bytes asked from the socket at once: several Noise messages for one wake-up.
READ_BYTES: Final = 256 * KIB
# Plaintext encrypted for one socket write.
WRITE_BATCH: Final = 4 * NOISE_MAX_PLAINTEXT
# How long a peer may take to end its half of a stream that we have closed.
DISCARD_TIMEOUT_S: Final = 60.0
