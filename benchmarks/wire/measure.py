"""The measures themselves, the same for both Python libraries.

Every count is taken at the receiver: the sink answers with the number of bytes it got.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

SINK = "/bench/sink/1.0.0"
ECHO = "/bench/echo/1.0.0"
BULK = 100 * 1024 * 1024
CHUNK = 256 * 1024
CONNECTS = 20
STREAMS = 300
TRIPS = 3_000
MESSAGES = 60_000
SMALL = bytes(100)


class Pipe(Protocol):
    """What a library must do on a stream."""

    async def read(self) -> bytes: ...
    async def write(self, data: bytes) -> None: ...
    async def end(self) -> None: ...
    async def close(self) -> None: ...


class Library(Protocol):
    """What a library must do for a client."""

    async def connect(self) -> None: ...
    async def disconnect(self) -> None: ...
    async def open(self, protocol: str) -> Pipe: ...


async def measure(library: Library) -> dict[str, float]:
    """All figures of one client run."""
    figures: dict[str, float] = {}
    start = time.perf_counter()
    await library.connect()
    figures["first_connect_ms"] = 1e3 * (time.perf_counter() - start)
    await _upload(library, 4 * 1024 * 1024)  # warm-up
    figures["upload_MB_per_s"] = BULK / 1e6 / await _upload(library, BULK)
    opened = await _repeat(STREAMS, lambda: _open_and_use(library))
    figures["new_stream_p50_ms"], figures["new_stream_p99_ms"] = _percentiles(opened)
    trips = await _round_trips(library)
    figures["round_trip_p50_ms"], figures["round_trip_p99_ms"] = _percentiles(trips)
    figures["messages_per_s"] = MESSAGES / await _messages(library)
    connects = await _repeat(CONNECTS, lambda: _reconnect(library))
    figures["warm_connect_p50_ms"], _ = _percentiles(connects)
    return figures


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    ordered = sorted(seconds)
    return 1e3 * statistics.median(ordered), 1e3 * ordered[int(len(ordered) * 0.99)]


async def _repeat(count: int, work: Callable[[], Awaitable[float]]) -> list[float]:
    return [await work() for _ in range(count)]


async def _upload(library: Library, size: int) -> float:
    block = os.urandom(CHUNK)
    pipe = await library.open(SINK)
    start = time.perf_counter()
    for _ in range(size // CHUNK):
        await pipe.write(block)
    await pipe.end()
    got = await _count(pipe)
    took = time.perf_counter() - start
    assert got == size, f"the receiver got {got} of {size} bytes"
    return took


async def _count(pipe: Pipe) -> int:
    text = b""
    while part := await pipe.read():
        text += part
    await pipe.close()
    return int(text)


async def _reconnect(library: Library) -> float:
    await library.disconnect()
    start = time.perf_counter()
    await library.connect()
    return time.perf_counter() - start


async def _open_and_use(library: Library) -> float:
    """Until the first answer: a stream that was not yet heard of is no stream."""
    start = time.perf_counter()
    pipe = await library.open(ECHO)
    await pipe.write(b"x")
    assert await pipe.read() == b"x"
    took = time.perf_counter() - start
    await pipe.close()
    return took


async def _round_trips(library: Library) -> list[float]:
    pipe = await library.open(ECHO)
    found = []
    for turn in range(TRIPS + 200):
        start = time.perf_counter()
        await pipe.write(SMALL)
        got = 0
        while got < len(SMALL):
            got += len(await pipe.read())
        if turn >= 200:
            found.append(time.perf_counter() - start)
    await pipe.close()
    return found


async def _messages(library: Library) -> float:
    pipe = await library.open(SINK)
    start = time.perf_counter()
    for _ in range(MESSAGES):
        await pipe.write(SMALL)
    await pipe.end()
    got = await _count(pipe)
    took = time.perf_counter() - start
    assert got == MESSAGES * len(SMALL), f"the receiver got {got} bytes"
    return took


def rss() -> int:
    """Resident memory of this process in bytes."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


Answer = dict[str, Any]
