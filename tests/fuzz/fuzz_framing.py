"""Frames: however a stream is cut, the same frames or the same refusal.

Run by hand: `make fuzz TARGET=framing`.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports():
    from fogp2p.errors import RemoteProtocolError
    from fogp2p.framing import FrameDecoder


def outcome(pieces: list[bytes]) -> list[bytes | str]:
    decoder, found = FrameDecoder(max_bytes=200), []
    try:
        for piece in pieces:
            decoder.receive_data(piece)
            while (frame := decoder.next_frame()) is not None:
                found.append(frame)
    except RemoteProtocolError as exc:
        found.append(exc.code)
    return found


def one_input(data: bytes) -> None:
    assert outcome([data]) == outcome([data[at : at + 1] for at in range(len(data))])


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
