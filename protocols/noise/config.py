"""Limits of the Noise room, each with its reason."""

from typing import Final

# Noise section 3: every message, with its keys and tags, fits a 16-bit length.
MAX_MESSAGE_BYTES: Final = 65_535
# Messages a peer may be overtaken by before late ones are dropped. As the BitChat apps.
REPLAY_WINDOW: Final = 1_024
# Largest window anybody may ask for: 8 KiB of bitmap for each session.
MAX_REPLAY_WINDOW: Final = 65_536
