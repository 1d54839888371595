"""Z11 and Z20: what a worker that was taken over may say, and what is admitted as a module.

Invariants: the parent's reader raises RemoteProtocolError and nothing else, however the bytes are
cut; what it accepts makes a Result whose value reads as JSON or raises RemoteProtocolError; a job
is refused with LocalProtocolError, and only WebAssembly is admitted. Run by hand:
`make fuzz TARGET=sandbox`.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports():
    from fogp2p.codec import Schema, decode
    from fogp2p.errors import LocalProtocolError, RemoteProtocolError
    from fogp2p.framing import FrameDecoder
    from fogp2p.sandbox import Ending, Job, Kind, Result
    from fogp2p.sandbox.config import MAX_FRAME_BYTES

RULES = {rule: Schema.load("sandbox/v1.cddl", rule) for rule in ("hello", "outcome")}


def one_input(data: bytes) -> None:
    if len(data) < 2:
        return
    if data[0] % 4 == 0:
        _admit(data[1] % 3, data[2:])
    else:
        _hear("hello" if data[0] % 4 == 1 else "outcome", data[1], data[2:])


def _hear(rule: str, cut: int, data: bytes) -> None:
    decoder = FrameDecoder(max_bytes=MAX_FRAME_BYTES)
    try:
        for part in (data[:cut], data[cut:]):
            decoder.receive_data(part)
            while (frame := decoder.next_frame()) is not None:
                message = decode(frame, schema=RULES[rule], max_bytes=MAX_FRAME_BYTES)
                if rule == "outcome":
                    Result(Ending(message[1]), message[2], message[6], message[7]).json()
    except RemoteProtocolError:
        return


def _admit(kind: int, module: bytes) -> None:
    try:
        job = Job(list(Kind)[kind], module)
        job.arguments()
    except LocalProtocolError:
        return
    assert job.kind is Kind.PY_FUNC or module[:4] == b"\0asm", "admitted something else"


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
