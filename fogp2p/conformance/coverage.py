"""Which binding sentences no check can reach from outside, and why.

Every sentence with MUST of specs/ is either cited by a check or stands here; a test holds the
table to the texts. An entry is an anchor, or the three letters of a whole specification.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["NOT_ON_THE_WIRE", "reason_for"]

NOT_ON_THE_WIRE: Final[Mapping[str, str]] = {
    # --- specifications that no protocol of a running peer speaks with strangers
    "BAK": "about a file of the peer's own",
    "BTC": "spoken over Bluetooth LE and other links, not on a stream; its vectors check it",
    "BOK": "about a file of the peer's own",
    "IDN": "about the keystore, a file of the peer's own",
    "LOT": "a computation, not a conversation: its vectors check it",
    "MIX": "no peer serves the mix protocol on a stream yet; its vectors check the packets",
    "SBX": "about processes inside the peer",
    # --- Noise as BitChat uses it: of this, a libp2p connection shows only the handshake
    "NOI-001": "the vectors check it; that a libp2p handshake succeeds shows it for XX",
    "NOI-002": "libp2p's prologue is empty, which looks the same as none",
    "NOI-003": "a connection that succeeds shows it",
    "NOI-006": "the two bytes of length on the wire cannot say more than 65,535",
    "NOI-010": "a connection that carries many messages shows it; 2^64 of them cannot be sent",
    "NOI-012": "a TCP connection is an ordered transport",
    "NOI-013": "libp2p never rekeys",
    "NOI-014": "libp2p uses no one-way pattern",
    "NOI-015": "about keys inside the peer",
    # --- single sentences
    "BLO-003": "about the text of a name, which does not travel; its vectors check it",
    "BLO-020": "binds the sender, and the peer under test is the receiver",
    "BLO-021": "what a name became shows to the owner of the peer",
    "BLO-022": "a gigabyte, or an hour, of offers shows it",
    "BLO-030": "pieces are sealed and opened by people who share the key; its vectors check it",
    "ECH-011": "binds the sender, and the peer under test is the receiver",
    "GOS-005": "when a signature is checked is inside the peer",
    "GOS-006": "no blame is a score, which is not told to anybody",
    "GOS-007": "an old copy shows after two minutes, and a check takes seconds",
    "GOS-010": "a backoff's cap shows after an hour; what is stored shows nowhere",
    "GOS-012": "a broken promise changes a score, which is not told to anybody",
    "GOS-014": "whom the peer does not dial cannot be seen",
    "GOS-020": "how much waits for a slow peer is inside the peer",
    "GOS-021": "what is freed is inside the peer",
    "GOS-022": "a peer's rates are configuration: what is dropped is counted inside it",
    "GOS-023": "about validators inside the peer",
    "GOS-040": "the checks speak 1.1",
    "GOS-041": "the checks speak 1.1",
    "GOS-042": "a score is not told to anybody",
    "INV-001": "about what people type; its vectors check it",
    "INV-003": "about what people paste and scan; its vectors check it",
    "INV-011": "shows only to somebody with an open invite; its vectors check it",
    "INV-013": "shows only to somebody with an open invite; its vectors check it",
    "INV-017": "which addresses are kept shows to the owner of the peer",
    "INV-030": "shows only to somebody with an open invite",
    "INV-031": "wrong guesses need an open invite, and burn it",
    "INV-032": "shows only to somebody with an open invite",
    "INV-033": "shows only to two with the same code",
    "INV-034": "shows only to somebody whose pairing was cut",
    "INV-040": "about the disk of the peer",
    "INV-042": "binds the joiner, who acts when its owner was given a code",
    "INV-050": "shows only to somebody whose invite has expired",
    "INV-051": "about the clock of the peer",
    "KAD-005": "a record's 48 hours take 48 hours",
    "KAD-010": "this program's address is as near as it is; it cannot come from elsewhere",
    "KAD-020": "about the lookups of the peer itself",
    **dict.fromkeys(
        ("LOG-001", "LOG-002", "LOG-004", "LOG-010", "LOG-011", "LOG-012", "LOG-021", "LOG-030"),
        "entries are taken in groups that both carry, and a group is known to its members only",
    ),
    "LOG-013": "about the disk of the peer",
    "LOG-034": "what a replica keeps of removed members shows to members only",
    "LOG-040": "shows to members only; its vectors check it",
    "LOG-041": "checked without a peer; its vectors check it",
    "LOG-042": "about the peer's own writing",
    "LOG-050": "about keys of members; its vectors check it",
    "LOG-051": "about keys of members; its vectors check it",
    "LOG-052": "about the peer's own writing",
    "LOG-061": "frontiers are read in groups that both carry",
    "LOG-063": "queries are read in groups that both carry",
    "LOG-064": "queries are answered in groups that both carry",
    "LOG-066": "whoever is refused for its conduct has broken rules of a group that both carry",
    "REG-020": "a peer's sequence rises when what it says has changed, not when we want it to",
    "REG-021": "needs the peer's own keys",
    "REG-042": "ten thousand peers, or a thousand told by one, show it",
    "REG-043": "shows only when there is no room",
    "REG-050": "binds whoever looks for a role, and the peer under test is asked",
    "REG-051": "an alarm is told to the owner of the peer",
    "REG-052": "an alarm is told to the owner of the peer",
}


def reason_for(anchor: str) -> str:
    """Why no check can reach the sentence; empty when there is no such reason."""
    return NOT_ON_THE_WIRE.get(anchor) or NOT_ON_THE_WIRE.get(anchor[:3], "")
