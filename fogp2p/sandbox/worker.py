"""A worker: raises its walls, says hello, then runs one job after another from stdin.

`python -I -m fogp2p.sandbox.worker CACHE SCRATCH DATA_BYTES FILE_BYTES`. Holds no key and knows no
network; whoever takes it over finds an empty room.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

import wasmtime

from fogp2p.codec import Schema, decode, encode
from fogp2p.framing import FrameDecoder, encode_frame

from .config import MAX_FRAME_BYTES, TICK_S
from .engine import RUNTIME, make_engine
from .guest import Machine, Request
from .walls import end_with_parent, raise_walls


def main() -> NoReturn:
    cache, scratch, data_bytes, file_bytes = sys.argv[1:]
    schema = Schema.load("sandbox/v1.cddl", "request")
    machine = Machine(make_engine())
    engine = machine._engine
    walls = raise_walls(
        readable=[Path(cache)],
        writable=[Path(scratch)],
        data_bytes=int(data_bytes),
        file_bytes=int(file_bytes),
    )
    end_with_parent()
    threading.Thread(target=_tick, args=(engine,), daemon=True).start()
    _say(encode({1: {name: why[:200] for name, why in walls.items()}, 2: RUNTIME}))
    decoder = FrameDecoder(max_bytes=MAX_FRAME_BYTES)
    while True:
        frame = decoder.next_frame()
        if frame is None:
            data = os.read(0, 1 << 16)
            if not data:
                sys.exit(0)
            decoder.receive_data(data)
            continue
        fields = decode(frame, schema=schema, max_bytes=MAX_FRAME_BYTES)
        _say(encode(machine.run(Request.of(fields))))


def _tick(engine: wasmtime.Engine) -> None:
    while True:
        time.sleep(TICK_S)
        engine.increment_epoch()


def _say(message: bytes) -> None:
    frame = memoryview(encode_frame(message, max_bytes=MAX_FRAME_BYTES))
    while frame:
        frame = frame[os.write(1, frame) :]


if __name__ == "__main__":
    main()
