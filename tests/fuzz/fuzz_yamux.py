"""yamux: any bytes give events or RemoteProtocolError. Run by hand: `make fuzz TARGET=yamux`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports():
    from fogp2p.errors import RemoteProtocolError
    from fogp2p.limits import INBOUND_STREAMS_PER_PEER
    from fogp2p.transports.libp2p.yamux import Yamux


def one_input(data: bytes) -> None:
    machine = Yamux(client=bool(data[:1] and data[0] & 1))
    cut = data[1] + 1 if len(data) > 1 else 1
    try:
        for at in range(0, len(data), cut):
            machine.receive_data(data[at : at + cut], at / 1000)
    except RemoteProtocolError:
        pass
    assert machine.inbound_streams <= INBOUND_STREAMS_PER_PEER


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
