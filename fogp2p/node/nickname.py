"""A name for a peer that nobody has named: two words that follow from its id."""

from __future__ import annotations

import hashlib

from fogp2p.ids import PeerId
from fogp2p.protocols.invite import word_list

__all__ = ["nickname"]


def nickname(peer: PeerId) -> str:
    """Two words, such as `copper-lake`: easy to tell apart, no proof of anything.

    From the English list of BIP 39; 4 million pairs.
    """
    words = word_list()
    digest = hashlib.sha256(b"fogp2p nickname" + peer.raw).digest()
    first, second = int.from_bytes(digest[:2]), int.from_bytes(digest[2:4])
    return f"{words[first % len(words)]}-{words[second % len(words)]}"
