"""The CBOR door: any bytes decode or raise RemoteProtocolError, and what decodes is deterministic.

Run by hand: `make fuzz TARGET=codec`.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports():
    from fogp2p.codec import Schema, decode, encode
    from fogp2p.errors import RemoteProtocolError

SCHEMAS = [
    Schema.load("versioning/v1.cddl", "hello"),
    Schema.load("versioning/v1.cddl", "choice"),
    Schema.load("echo/v1.cddl", "answer"),
    Schema.load("peerbook/v1.cddl", "book"),
]


def one_input(data: bytes) -> None:
    for schema in SCHEMAS:
        try:
            value = decode(data, schema=schema)
        except RemoteProtocolError:
            continue
        assert encode(value) == data


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
