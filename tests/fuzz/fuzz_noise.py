"""Z5: no mutation of a handshake or transport message is accepted.

Invariant: whatever is read, only RemoteProtocolError comes out, and neither side believes itself
connected when a byte that matters was altered. Run by hand: `make fuzz TARGET=noise`.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports():
    from fogp2p.errors import RemoteProtocolError
    from fogp2p.protocols.noise import Handshake, KeyPair, Pattern

PATTERNS = list(Pattern)


def one_input(data: bytes) -> None:
    if len(data) < 3:
        return
    pattern = PATTERNS[data[0] % len(PATTERNS)]
    target, flips = data[1] % len(pattern.messages), data[2:]
    statics = KeyPair(b"\1" * 32), KeyPair(b"\2" * 32)
    sides = [
        Handshake(
            pattern,
            initiator=initiator,
            ephemeral=KeyPair(bytes([3 + initiator]) * 32),
            static=statics[not initiator] if pattern.needs_static(initiator) else None,
            remote_static=statics[initiator].public if pattern.knows_remote(initiator) else None,
        )
        for initiator in (True, False)
    ]
    altered = False
    try:
        for number in range(len(pattern.messages)):
            message = sides[number % 2].write_message(b"payload")
            if number == target:
                mask = flips[: len(message)].ljust(len(message), b"\0")
                changed = bytes(a ^ b for a, b in zip(message, mask, strict=True))
                changed += flips[len(message) :]
                altered, message = changed != message, changed
            sides[1 - number % 2].read_message(message)
        sealed = sides[0].ordered_transport().encrypt(b"x")
        sides[1].ordered_transport().decrypt(sealed)
    except RemoteProtocolError:
        return
    assert not altered, (pattern, target)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
