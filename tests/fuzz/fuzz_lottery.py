"""Z14: no mutation of a ticket or proof verifies, and only our error is raised.

Invariant: for any input, `Ticket.from_bytes(...).seed()` and `verify(...)` either raise
RemoteProtocolError or return the value of the honest ticket the input is equal to.
Run by hand: `make fuzz TARGET=lottery`.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports():
    from fogp2p.errors import RemoteProtocolError
    from fogp2p.protocols.lottery import Suite, Ticket, verify

HONEST = Ticket.issue(bytes(32), epoch=3, beacon=bytes(32), purpose="fuzz")
ENCODED = HONEST.to_bytes()


def one_input(data: bytes) -> None:
    mask = data[: len(ENCODED)].ljust(len(ENCODED), b"\0")
    mutated = bytes(a ^ b for a, b in zip(ENCODED, mask, strict=True))
    for candidate in (data, mutated):
        try:
            Ticket.from_bytes(candidate).seed()
        except RemoteProtocolError:
            continue
        assert candidate == ENCODED, candidate.hex()
    try:
        verify(data[:32], data[112:], data[32:112], suite=Suite.TAI)
    except RemoteProtocolError:
        return
    raise AssertionError(f"accepted garbage {data.hex()}")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
