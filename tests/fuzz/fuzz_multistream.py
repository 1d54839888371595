"""multistream-select: any bytes give an answer or RemoteProtocolError.

Run by hand: `make fuzz TARGET=multistream`.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports():
    from fogp2p.errors import RemoteProtocolError
    from fogp2p.ids import ProtocolId
    from fogp2p.transports.libp2p.multistream import Opener, Responder

NAME = ProtocolId("/a/1")


def one_input(data: bytes) -> None:
    for machine in (Opener([NAME]), Responder({NAME}.__contains__)):
        try:
            machine.receive_data(data)
        except RemoteProtocolError:
            continue


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
