"""Sizes and limits of mix packets. The sizes are the wire format (specs/mix section 4)."""

from typing import Final

# --- geometry: kappa = 16, r = 5 hops at most, t = 6 ------------------------------------------
MAX_HOPS: Final = 5
ALPHA_BYTES: Final = 32
GAMMA_BYTES: Final = 16
ADDRESS_BYTES: Final = 94  # t * kappa - 2
DELAY_BYTES: Final = 2
# What one hop finds at the front of its decrypted header: address, delay, the next gamma.
BLOCK_BYTES: Final = ADDRESS_BYTES + DELAY_BYTES + GAMMA_BYTES  # (t + 1) * kappa = 112
BETA_BYTES: Final = MAX_HOPS * BLOCK_BYTES + 16  # (r * (t + 1) + 1) * kappa = 576
HEADER_BYTES: Final = ALPHA_BYTES + BETA_BYTES + GAMMA_BYTES  # 624
ZERO_BYTES: Final = 16  # leading zeros of the payload: any tampering breaks them
MESSAGE_BYTES: Final = 3_968
PAYLOAD_BYTES: Final = ZERO_BYTES + MESSAGE_BYTES  # delta, 3,984
PACKET_BYTES: Final = HEADER_BYTES + PAYLOAD_BYTES  # 4,608
DATA_BYTES: Final = MESSAGE_BYTES - 2  # behind the length of the padding
SURB_ID_BYTES: Final = 16
REPLY_KEY_BYTES: Final = 16
SURB_BYTES: Final = ADDRESS_BYTES + HEADER_BYTES + REPLY_KEY_BYTES  # 734
# As many as fit a message beside its count.
MAX_SURBS: Final = (MESSAGE_BYTES - 2) // SURB_BYTES  # 5
MAX_CODEC_BYTES: Final = 127  # older peers read a length of one byte only
MAX_DELAY_MS: Final = 65_535

# --- replay filter -----------------------------------------------------------------------------
# 2**25 bits (4 MiB) and 16 positions for each tag: with 1,000,000 tags in it, a new packet is
# mistaken for a replay with probability (1 - e**(-16e6 / 2**25))**16 = 1.9e-7.
FILTER_BITS_LOG2: Final = 25
FILTER_POSITIONS: Final = 16
FILTER_CAPACITY: Final = 1_000_000
# Epochs whose keys may be in use at once: previous, current and next (clock skew at the edge).
LIVE_EPOCHS: Final = 3

# --- batches -----------------------------------------------------------------------------------
# Packets handed to a worker process at once: 64 take about 6 ms to unwrap and 0.2 ms to carry.
BATCH: Final = 64
MAX_BATCH: Final = 256
