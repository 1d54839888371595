"""Sizes and limits of the BitChat wire, each with its reason.

Numbers without another reason are what both phone apps accept (specs/bitchat section 4).
"""

from typing import Final

PEER_ID_BYTES: Final = 8
KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
MAX_TTL: Final = 7
MAX_ROUTE_HOPS: Final = 255

# The largest file (1 MiB) in the largest frame the iOS app accepts. Neither app sends more.
MAX_PAYLOAD_BYTES: Final = 1_179_760
# A whole frame around it: header, two ids, the longest route, size field, signature.
MAX_FRAME_BYTES: Final = MAX_PAYLOAD_BYTES + 16 + 16 + 1 + 8 * MAX_ROUTE_HOPS + 4 + 64
MAX_RATIO: Final = 50_000
COMPRESS_FROM_BYTES: Final = 100
# What Apple documents for its encoder; a signed, compressed packet must match its bytes.
DEFLATE_LEVEL: Final = 5

# --- fragments ---------------------------------------------------------------------------------
MAX_FRAGMENTS: Final = 256  # the Android app's limit, and so the portable one
FRAGMENT_DATA_BYTES: Final = 469  # frames of at most 512 bytes
MAX_ASSEMBLIES: Final = 128
# One flooding sender may not push out everybody else's messages.
MAX_ASSEMBLIES_PER_SENDER: Final = 16
MAX_ASSEMBLY_BYTES: Final = 1_048_576
MAX_ASSEMBLY_BYTES_MEDIA: Final = MAX_PAYLOAD_BYTES
MAX_ALL_ASSEMBLIES_BYTES: Final = 4 * 1_048_576
ASSEMBLY_LIFETIME_S: Final = 30.0

# --- sync --------------------------------------------------------------------------------------
MAX_FILTER_BYTES: Final = 1_024
DEFAULT_FILTER_BYTES: Final = 400
MAX_FILTER_P: Final = 32
MAX_STREAM_IDS: Final = 60
MAX_STREAM_FIELD_BYTES: Final = 1_024

# --- contents ----------------------------------------------------------------------------------
MAX_SHORT_TEXT_BYTES: Final = 255  # fields with a one-byte length
MAX_PUBLIC_TEXT_BYTES: Final = 240_000  # 60,000 characters of UTF-8
MAX_NEIGHBOURS: Final = 10
MAX_GEOHASH_CHARS: Final = 12
MAX_FILE_BYTES: Final = 1_048_576
MAX_VOICE_PACKET_BYTES: Final = 210
MAX_VOICE_UNITS: Final = 8
MAX_COURIER_BYTES: Final = 16_384
MAX_COURIER_COPIES: Final = 8
MAX_PREKEYS: Final = 8
MAX_BOARD_TEXT_BYTES: Final = 512
MAX_BOARD_NICK_BYTES: Final = 64
MAX_BOARD_LIFETIME_MS: Final = 7 * 24 * 3600 * 1000
MAX_GROUP_MEMBERS: Final = 16
MAX_VOUCHES: Final = 16
MAX_CARRIER_BYTES: Final = 16_384
# Display: a nickname longer than this hides the message beside it.
MAX_DISPLAY_CHARS: Final = 64
