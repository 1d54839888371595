"""Z6 and Z7: unwrapping mutated packets, and every parser of mix messages.

Invariants: only RemoteProtocolError comes out; an altered header never leads to forwarding; what a
decoder accepts it would encode to the same bytes. Run by hand: `make fuzz TARGET=mix`.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports():
    from fogp2p.errors import RemoteProtocolError
    from fogp2p.protocols.mix import (
        Hop,
        ReplayFilter,
        build,
        decode_address,
        decode_forward,
        encode_address,
        encode_forward,
        pad,
        unpad,
        unwrap,
    )
    from fogp2p.protocols.mix.primitives import public_key

PRIVATE = [bytes([n]) * 32 for n in (1, 2, 3)]
PACKET = build(
    [Hop(public_key(key), bytes([n + 1]) * 94, 5) for n, key in enumerate(PRIVATE)],
    pad(b"fuzz"),
    ephemeral=b"\x07" * 32,
)


def one_input(data: bytes) -> None:
    if len(data) < 4:
        return
    kind, body = data[0] % 5, data[1:]
    try:
        if kind == 0:
            start = int.from_bytes(body[:2]) % len(PACKET)
            packet = bytearray(PACKET)
            for index, value in enumerate(body[2:]):
                packet[(start + index) % len(PACKET)] ^= value
            unwrap(PRIVATE[0], bytes(packet))
            assert packet[:624] == PACKET[:624], "forwarded an altered header"
        elif kind == 1:
            hop = decode_address(body)
            assert encode_address(hop, extended=body[0] == 0) == body
        elif kind == 2:
            forward = decode_forward(body)
            if len(forward.protocol) <= 127 and len(body) <= 3966:
                assert encode_forward(forward) == body
        elif kind == 3:
            assert pad(unpad(body.ljust(3968, b"\0"))) == body.ljust(3968, b"\0")
        else:
            ReplayFilter.from_bytes(body)
    except RemoteProtocolError:
        return


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
