"""Limits of the lottery, each with its reason."""

from typing import Final

# Candidates in one lottery. A network of this size still verifies within a second.
MAX_CANDIDATES: Final = 65_536
# Sum of all weights: leaves 2**16 fold head room below the 64-bit words that are drawn, so that
# a word is rejected less than once in 65,536 times.
MAX_TOTAL_WEIGHT: Final = 2**48
# Draws per call: 8 MiB of expanded seed at once.
MAX_DRAWS: Final = 2**20
# Mix networks use 3 layers, at most 5 fit a packet; more room for other uses.
MAX_LAYERS: Final = 16
# Candidate names are peer ids (34-44 bytes) or keys (32 bytes).
MAX_NAME_BYTES: Final = 64
# The input of the function is public and small: epoch, beacon, purpose.
MAX_ALPHA_BYTES: Final = 4_096
# An encoded ticket: two keys' worth of proof, beacon and purpose.
MAX_TICKET_BYTES: Final = 512
# Up to this total weight a table says who owns each unit (half a megabyte); above, a search does.
MAX_OWNER_TABLE: Final = 65_536
