"""What strangers say of themselves: peer ids, addresses, mDNS packets, identify messages.

Invariants: only RemoteProtocolError comes out; what is accepted is bounded and printable.
Run by hand: `make fuzz TARGET=hints`.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports():
    from fogp2p.addresses import Scope, parse_address
    from fogp2p.errors import RemoteProtocolError
    from fogp2p.ids import PeerId
    from fogp2p.transports.libp2p import identify
    from fogp2p.transports.mdns.messages import parse

ADA = PeerId.from_ed25519(bytes(32))


def one_input(data: bytes) -> None:
    if not data:
        return
    kind, body = data[0] % 5, data[1:]
    try:
        if kind == 0:
            assert PeerId.from_bytes(body).raw == body
        elif kind == 1:
            PeerId.parse(body.decode("utf-8", "replace"))
        elif kind == 2:
            assert parse_address(body).to_bytes() == body
        elif kind == 3:
            parse(body, "_p2p._udp.local.")
        else:
            told = identify.decode(ADA, body, Scope.PUBLIC)
            assert told.agent.isprintable() and len(told.agent) <= 64
            assert len(told.addresses) <= 8 and len(told.protocols) <= 128
    except RemoteProtocolError:
        return


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
