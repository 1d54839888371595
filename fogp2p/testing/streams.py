"""What `fogp2p.host.Stream` promises, as functions that check it on any pair of connected streams.

Write `maker`, an async context manager that yields the two ends of a fresh stream, and run

    await check_stream(maker)

For a whole transport see `fogp2p.testing.contract`, which checks hosts and streams together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import trio

from fogp2p.errors import FogError, StreamClosed, StreamReset
from fogp2p.host import Stream

__all__ = ["STREAM_CHECKS", "StreamCheck", "StreamPairMaker", "check_stream"]

StreamPairMaker = Callable[[], AbstractAsyncContextManager[tuple[Stream, Stream]]]
StreamCheck = Callable[[Stream, Stream], Awaitable[None]]

# Long enough for a slow machine; no check waits for it unless something is broken.
_PATIENCE_S = 20.0
_BULK = 1024 * 1024


async def check_stream(maker: StreamPairMaker) -> None:
    """Run every check, each on a fresh pair. A broken promise is an AssertionError."""
    for check in STREAM_CHECKS:
        async with maker() as (near, far):
            with trio.fail_after(2 * _PATIENCE_S):
                await check(near, far)


async def _read(stream: Stream, count: int) -> bytes:
    got = b""
    with trio.fail_after(_PATIENCE_S):
        while len(got) < count:
            part = await stream.read_some()
            assert part, f"the stream ended after {len(got)} of {count} bytes"
            got += part
    return got


async def _ends(stream: Stream) -> bool:
    with trio.fail_after(_PATIENCE_S):
        return await stream.read_some() == b""


async def _raises(kind: type[FogError], operation: Callable[[], Awaitable[object]]) -> None:
    try:
        with trio.fail_after(_PATIENCE_S):
            await operation()
    except kind:
        return
    raise AssertionError(f"expected {kind.__name__}, but the call returned")


async def bytes_arrive_both_ways(near: Stream, far: Stream) -> None:
    """In order, whole, whoever speaks first."""
    await near.write_all(b"ping")
    assert await _read(far, 4) == b"ping"
    await far.write_all(b"pong")
    assert await _read(near, 4) == b"pong"


async def reads_are_bounded(near: Stream, far: Stream) -> None:
    """`read_some(n)` returns 1 to n bytes and loses none."""
    await near.write_all(b"0123456789")
    got = b""
    with trio.fail_after(_PATIENCE_S):
        while len(got) < 10:
            part = await far.read_some(3)
            assert 1 <= len(part) <= 3, f"read_some(3) returned {len(part)} bytes"
            got += part
    assert got == b"0123456789"


async def bulk_crosses(near: Stream, far: Stream) -> None:
    """A megabyte in each direction at once, though neither window holds it."""
    data = hashlib.shake_256(b"bulk").digest(_BULK)

    async def say(stream: Stream, what: bytes) -> None:
        await stream.write_all(what)

    async def hear(stream: Stream, what: bytes) -> None:
        assert await _read(stream, len(what)) == what, "other bytes arrived"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(say, near, data)
        nursery.start_soon(say, far, data[::-1])
        nursery.start_soon(hear, far, data)
        nursery.start_soon(hear, near, data[::-1])


async def halves_close_separately(near: Stream, far: Stream) -> None:
    """After `close_write` the other direction goes on."""
    await near.write_all(b"last words")
    await near.close_write()
    await near.close_write()
    assert await _read(far, 10) == b"last words"
    assert await _ends(far), "an end that was said does not arrive"
    await far.write_all(b"answer")
    assert await _read(near, 6) == b"answer"
    await _raises(StreamClosed, lambda: near.write_all(b"more"))


async def a_reset_reaches_the_other_end(near: Stream, far: Stream) -> None:
    """Calls there raise StreamReset, calls here StreamClosed."""
    await near.write_all(b"x")
    assert await _read(far, 1) == b"x"
    near.reset()
    await _raises(StreamReset, far.read_some)
    await _raises(StreamClosed, near.read_some)
    await _raises(StreamClosed, lambda: near.write_all(b"x"))
    near.reset()


async def closing_ends_it(near: Stream, far: Stream) -> None:
    """`aclose` may be repeated; the other end reads what was sent, then the end."""
    await near.write_all(b"bye")
    await near.aclose()
    await near.aclose()
    assert await _read(far, 3) == b"bye"
    assert await _ends(far), "an end that was said does not arrive"
    await _raises(StreamClosed, near.read_some)


async def a_waiting_reader_is_woken(near: Stream, far: Stream) -> None:
    """By bytes, however long it waited; and cancelling a reader loses nothing."""
    with trio.move_on_after(0.01):
        await far.read_some()
    async with trio.open_nursery() as nursery:

        async def hear() -> None:
            assert await _read(far, 5) == b"awake"

        nursery.start_soon(hear)
        await trio.lowlevel.checkpoint()
        await near.write_all(b"awake")


STREAM_CHECKS: tuple[StreamCheck, ...] = (
    bytes_arrive_both_ways,
    reads_are_bounded,
    bulk_crosses,
    halves_close_separately,
    a_reset_reaches_the_other_end,
    closing_ends_it,
    a_waiting_reader_is_woken,
)
"""One function for each promise; run them by themselves to see them as tests of their own."""
