"""Names of BitChat peers, and how untrusted text is shown (specs/bitchat sections 3 and 13)."""

from __future__ import annotations

import hashlib
import unicodedata

from fogp2p.errors import LocalProtocolError

from .config import KEY_BYTES, MAX_DISPLAY_CHARS, PEER_ID_BYTES

__all__ = ["BROADCAST", "display_text", "fingerprint", "peer_id"]

BROADCAST = b"\xff" * PEER_ID_BYTES


def fingerprint(noise_key: bytes) -> str:
    """64 lower-case hexadecimal digits: SHA-256 of the 32-byte Noise static public key."""
    return _digest(noise_key).hex()


def peer_id(noise_key: bytes) -> bytes:
    """The 8-byte peer id: the beginning of the fingerprint."""
    return _digest(noise_key)[:PEER_ID_BYTES]


def _digest(noise_key: bytes) -> bytes:
    if len(noise_key) != KEY_BYTES:
        raise LocalProtocolError("a Noise public key has 32 bytes", code="bitchat-key")
    return hashlib.sha256(noise_key).digest()


def display_text(untrusted: str, *, limit: int = MAX_DISPLAY_CHARS) -> str:
    """`untrusted` as one line that cannot move the cursor, reorder or hide its surroundings.

    Control characters (ESC among them), line breaks, bidirectional overrides, zero-width and other
    format characters, surrogates and private-use characters become U+FFFD; stacked combining marks
    are cut after four; the result has at most `limit` characters, the last one an ellipsis when
    something was cut. HTML escaping remains the page's duty.
    """
    shown: list[str] = []
    marks = 0
    for character in untrusted[: 4 * limit]:
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if marks > 4:
            continue
        hidden = category[0] == "C" or category in ("Zl", "Zp")
        shown.append("\ufffd" if hidden else character)
    cut = len(shown) > limit or len(untrusted) > 4 * limit
    return "".join(shown[: limit - 1]) + "\u2026" if cut else "".join(shown)
