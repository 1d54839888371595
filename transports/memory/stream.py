"""The two ends of a stream in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

from fogp2p.errors import (
    FogError,
    LocalProtocolError,
    ProtocolRefused,
    StreamClosed,
    StreamReset,
)
from fogp2p.host import Stream
from fogp2p.ids import PeerId, ProtocolId
from fogp2p.limits import STREAM_WINDOW_BYTES

from .path import Path

__all__ = ["MemoryStream", "stream_pair"]


class _Pipe:
    """One direction: segments with their arrival times, at most a window of unread bytes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._segments: deque[tuple[float, bytes]] = deque()
        self._unread = 0
        self._last_arrival = 0.0
        self._end_arrival: float | None = None
        self._read_failure: FogError | None = None
        self._write_failure: FogError | None = None
        self._reader_gone = False
        self._readable = trio.lowlevel.ParkingLot()
        self._writable = trio.lowlevel.ParkingLot()
        path.subscribe(self._wake)

    def _wake(self) -> None:
        self._readable.unpark_all()
        self._writable.unpark_all()

    def fail(self, *, reader: FogError, writer: FogError) -> None:
        """End the direction at once; the first failure of each side stays."""
        self._read_failure = self._read_failure or reader
        self._write_failure = self._write_failure or writer
        self._segments.clear()
        self._path.unsubscribe(self._wake)
        self._wake()

    def close(self) -> None:
        """No more data: the end arrives behind what was written."""
        if self._end_arrival is None:
            self._end_arrival = self._next_arrival(0)
            self._readable.unpark_all()

    def leave(self, failure: FogError) -> None:
        """The reader left in an orderly way: readers still waiting fail, what comes is dropped."""
        self._reader_gone = True
        self._read_failure = self._read_failure or failure
        self._segments.clear()
        self._unread = 0
        self._path.unsubscribe(self._wake)
        self._wake()

    def _next_arrival(self, size: int) -> float:
        arrival = self._path.arrival(trio.current_time(), size)
        self._last_arrival = max(self._last_arrival, arrival)
        return self._last_arrival

    async def write(self, data: bytes) -> None:
        """Hand over `data`, waiting for the reader to make room."""
        at = 0
        while at < len(data):
            while self._write_failure is None and self._unread >= STREAM_WINDOW_BYTES:
                await self._writable.park()
            if self._write_failure is not None:
                raise self._write_failure
            segment = data[at : at + STREAM_WINDOW_BYTES - self._unread]
            at += len(segment)
            if not self._reader_gone:
                self._unread += len(segment)
                self._segments.append((self._next_arrival(len(segment)), segment))
                self._readable.unpark_all()

    async def read(self, max_bytes: int) -> bytes:
        """The next bytes that have arrived, or b"" at the end."""
        while True:
            if self._read_failure is not None:
                raise self._read_failure
            due = self._segments[0][0] if self._segments else self._end_arrival
            if due is None or self._path.is_cut:
                await self._readable.park()
            elif due > trio.current_time():
                with trio.move_on_at(due):
                    await self._readable.park()
            elif not self._segments:
                return b""
            else:
                return self._take(max_bytes)

    def _take(self, max_bytes: int) -> bytes:
        due, segment = self._segments.popleft()
        taken, rest = segment[:max_bytes], segment[max_bytes:]
        if rest:
            self._segments.appendleft((due, rest))
        self._unread -= len(taken)
        self._writable.unpark_all()
        return taken


class MemoryStream(Stream):
    """One end. Two of them share two pipes."""

    def __init__(
        self, remote: PeerId, protocol: ProtocolId | None, inward: _Pipe, outward: _Pipe
    ) -> None:
        self._remote = remote
        self._protocol = protocol
        self._in = inward
        self._out = outward
        self._write_closed = False
        self._closed = False
        self._reading = False
        self._writing = False
        self.on_end: Callable[[], object] = _nothing
        """Called once, when this end is closed or reset."""

    @property
    def remote_peer(self) -> PeerId:
        return self._remote

    @property
    def protocol(self) -> ProtocolId:
        assert self._protocol is not None  # set before anybody gets the stream
        return self._protocol

    def agree(self, protocol: ProtocolId) -> None:
        """Set the negotiated protocol."""
        self._protocol = protocol

    def refuse(self, reason: str) -> None:
        """Tell the other end that its protocol is not spoken here."""
        self.fail(StreamClosed("stream refused"), theirs=ProtocolRefused(reason))

    def fail(self, mine: FogError, *, theirs: FogError | None = None) -> None:
        """End both directions at once."""
        other = theirs if theirs is not None else mine
        self._in.fail(reader=mine, writer=other)
        self._out.fail(reader=other, writer=mine)
        self._ended()

    def _ended(self) -> None:
        on_end, self.on_end = self.on_end, _nothing
        on_end()

    async def read_some(self, max_bytes: int = 65536) -> bytes:
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise StreamClosed("stream was closed on this side")
        if max_bytes < 1:
            raise LocalProtocolError("read at least one byte", code="stream-read")
        if self._reading:
            raise LocalProtocolError("another task is reading", code="stream-busy")
        self._reading = True
        try:
            return await self._in.read(max_bytes)
        finally:
            self._reading = False

    async def write_all(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self._closed or self._write_closed:
            raise StreamClosed("stream was closed on this side")
        if self._writing:
            raise LocalProtocolError("another task is writing", code="stream-busy")
        self._writing = True
        try:
            await self._out.write(bytes(data))
        finally:
            self._writing = False

    async def close_write(self) -> None:
        await trio.lowlevel.checkpoint()
        if not self._closed and not self._write_closed:
            self._write_closed = True
            self._out.close()

    async def aclose(self) -> None:
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        try:
            await self.close_write()
        except BaseException:
            self.reset()
            raise
        self._closed = True
        self._in.leave(StreamClosed("stream was closed on this side"))
        self._ended()

    def reset(self) -> None:
        if not self._closed:
            self._closed = True
            self.fail(
                StreamClosed("stream was reset on this side"),
                theirs=StreamReset("the peer reset the stream"),
            )


def _nothing() -> None:
    """Nobody waits for the end."""


def stream_pair(
    near: PeerId, far: PeerId, forth: Path, back: Path
) -> tuple[MemoryStream, MemoryStream]:
    """(the end at `near`, the end at `far`), protocol not agreed yet."""
    outward, inward = _Pipe(forth), _Pipe(back)
    return MemoryStream(far, None, inward, outward), MemoryStream(near, None, outward, inward)
