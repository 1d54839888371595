"""The yamux session as a pure machine: bytes and commands in, events and bytes out.

Theory of operation: a session multiplexes streams over one ordered connection. Every frame has a
12-byte header: version 0, type, flags, stream id, length. Data may be sent on a stream only within
the window its receiver granted; the receiver here *enforces* that window, and everything else a
peer could grow. `receive_data` raises RemoteProtocolError when the peer breaks the rules; the
session is then dead and its connection has to be closed.
Spec: hashicorp/yamux spec.md, libp2p/specs yamux/README.md.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fogp2p.errors import LocalProtocolError, RemoteProtocolError, Unreachable
from fogp2p.limits import INBOUND_STREAMS_PER_PEER

from .wire_config import (
    BURST_S,
    GROWTH_BUDGET,
    INITIAL_WINDOW,
    MAX_FRAME_DATA,
    MAX_REFUSED_STREAMS,
    MAX_WINDOW,
    PINGS_PER_S,
    STRAYS_PER_S,
    STREAMS_PER_S,
    UPDATES_PER_S,
)

__all__ = [
    "Data",
    "Event",
    "GoneAway",
    "Opened",
    "Ponged",
    "RemoteClosed",
    "RemoteReset",
    "WindowGrew",
    "Yamux",
]

HEADER: Final = struct.Struct("!BBHII")
HEADER_BYTES: Final = HEADER.size
_DATA, _WINDOW, _PING, _GO_AWAY = range(4)
_SYN, _ACK, _FIN, _RST = 1, 2, 4, 8
_MAX_ID: Final = 2**32 - 1
_MAX_SEND_WINDOW: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Opened:
    """The peer opened a stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes arrived; tell `consumed` once they have been read."""

    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class WindowGrew:
    """There is room to send again."""

    stream: int


@dataclass(frozen=True, slots=True)
class RemoteClosed:
    """The peer sends no more on this stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class RemoteReset:
    """The peer dropped the stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class Ponged:
    """The answer to our ping with this value."""

    value: int


@dataclass(frozen=True, slots=True)
class GoneAway:
    """The peer takes no new streams."""

    code: int


Event = Opened | Data | WindowGrew | RemoteClosed | RemoteReset | Ponged | GoneAway


class Half(enum.Enum):
    """One direction of a stream."""

    OPEN = "open"
    CLOSED = "closed"


@dataclass(slots=True)
class _Stream:
    inbound: bool
    send_window: int = INITIAL_WINDOW
    receive_window: int = INITIAL_WINDOW
    target_window: int = INITIAL_WINDOW
    consumed: int = 0
    sending: Half = Half.OPEN
    receiving: Half = Half.OPEN
    acknowledged: bool = False
    discarding: bool = False


class _Rate:
    """A token bucket on the time it is told."""

    __slots__ = ("_at", "_per_s", "_tokens")

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._tokens = per_s * BURST_S
        self._at = 0.0

    def take(self, now: float, what: str) -> None:
        """Use one token. Raises RemoteProtocolError("yamux-flood") when there is none."""
        self._tokens = min(self._per_s * BURST_S, self._tokens + (now - self._at) * self._per_s)
        self._at = now
        if self._tokens < 1:
            raise _violation("flood", f"too many {what}")
        self._tokens -= 1


class Yamux:
    """One side of a session. The dialler is the client and opens odd streams."""

    def __init__(self, *, client: bool, max_inbound: int = INBOUND_STREAMS_PER_PEER) -> None:
        self._next_id = 1 if client else 2
        self._their_parity = 0 if client else 1
        self._last_theirs = 0
        self._max_inbound = max_inbound
        self._streams: dict[int, _Stream] = {}
        self._inbound = 0
        self._refused = 0
        self._growth = 0
        self._gone_away = False
        self._partial = b""
        # The rest of a data frame whose beginning was delivered: (stream or None, bytes, flags).
        self._body: tuple[int | None, int, int] | None = None
        self._out: list[bytes] = []
        self._queued = 0
        self._failure: RemoteProtocolError | None = None
        self._pings = _Rate(PINGS_PER_S)
        self._opens = _Rate(STREAMS_PER_S)
        self._updates = _Rate(UPDATES_PER_S)
        self._strays = _Rate(STRAYS_PER_S)

    # --- what goes out ---------------------------------------------------------------------------

    @property
    def queued_bytes(self) -> int:
        """Bytes that `data_to_send` would return."""
        return self._queued

    @property
    def outbound_streams(self) -> int:
        """Streams we opened that are not finished."""
        return len(self._streams) - self._inbound

    @property
    def inbound_streams(self) -> int:
        """Streams the peer opened that are not finished."""
        return self._inbound

    def data_to_send(self, max_bytes: int) -> bytes:
        """Take whole frames, up to about `max_bytes`, out of the queue."""
        if self._queued <= max_bytes:
            blob = b"".join(self._out)
            self._out.clear()
        else:
            size = count = 0
            for frame in self._out:
                if size and size + len(frame) > max_bytes:
                    break
                size += len(frame)
                count += 1
            blob = b"".join(self._out[:count])
            del self._out[:count]
        self._queued -= len(blob)
        return blob

    def open(self) -> int:
        """Open a stream and return its id.

        Raises Unreachable when the peer takes no more, or the ids of this session are used up.
        """
        if self._gone_away or self._next_id > _MAX_ID - 1:
            raise Unreachable("the peer takes no new streams on this connection")
        identifier, self._next_id = self._next_id, self._next_id + 2
        self._streams[identifier] = _Stream(inbound=False)
        self._frame(_WINDOW, _SYN, identifier, 0)
        return identifier

    def send_window(self, identifier: int) -> int:
        """How many bytes may be sent on the stream now."""
        stream = self._streams.get(identifier)
        return stream.send_window if stream is not None else 0

    def send(self, identifier: int, data: memoryview) -> int:
        """Queue as much of `data` as the window allows; return how much.

        Raises LocalProtocolError("yamux-closed") when our half is closed or the stream is gone.
        """
        stream = self._sending(identifier)
        done = 0
        size = min(len(data), stream.send_window)
        while done < size:
            part = data[done : min(size, done + MAX_FRAME_DATA)]
            self._frame(_DATA, self._first_flag(stream), identifier, len(part), part)
            done += len(part)
        stream.send_window -= done
        return done

    def close(self, identifier: int) -> None:
        """End our half of the stream; repeating it does nothing."""
        stream = self._streams.get(identifier)
        if stream is not None and stream.sending is Half.OPEN:
            stream.sending = Half.CLOSED
            self._frame(_WINDOW, _FIN | self._first_flag(stream), identifier, 0)
            self._finish(identifier, stream)

    def reset(self, identifier: int) -> None:
        """Drop the stream."""
        if identifier in self._streams:
            self._frame(_WINDOW, _RST, identifier, 0)
            self._forget(identifier)

    def is_open(self, identifier: int) -> bool:
        """Whether the stream is not finished yet."""
        return identifier in self._streams

    def discard(self, identifier: int) -> None:
        """Nobody reads the stream any more: drop what comes, but keep granting credit."""
        stream = self._streams.get(identifier)
        if stream is not None:
            stream.discarding = True
            unread = stream.target_window - stream.receive_window - stream.consumed
            self.consumed(identifier, unread)

    def consumed(self, identifier: int, count: int) -> None:
        """`count` received bytes were read: give credit back, half a window at a time."""
        stream = self._streams.get(identifier)
        if stream is None or stream.receiving is Half.CLOSED:
            return
        stream.consumed += count
        if stream.consumed < stream.target_window // 2:
            return
        credit, stream.consumed = stream.consumed, 0
        grow = min(MAX_WINDOW - stream.target_window, GROWTH_BUDGET - self._growth)
        if grow > 0:
            # A stream that uses up half its window is busy.
            stream.target_window += grow
            self._growth += grow
            credit += grow
        stream.receive_window += credit
        self._frame(_WINDOW, self._first_flag(stream), identifier, credit)

    def ping(self, value: int) -> None:
        """Ask the peer to answer with `value` (32 bits)."""
        self._frame(_PING, _SYN, 0, value)

    def go_away(self, code: int) -> None:
        """Say that the session ends: 0 normally, 1 because of the peer's error, 2 of ours."""
        self._frame(_GO_AWAY, 0, 0, code)

    def _frame(
        self, kind: int, flags: int, identifier: int, length: int, body: memoryview | None = None
    ) -> None:
        head = HEADER.pack(0, kind, flags, identifier, length)
        frame = head if body is None else head + body
        self._out.append(frame)
        self._queued += len(frame)

    def _sending(self, identifier: int) -> _Stream:
        stream = self._streams.get(identifier)
        if stream is None or stream.sending is Half.CLOSED:
            raise LocalProtocolError("stream closed for sending", code="yamux-closed")
        return stream

    def _first_flag(self, stream: _Stream) -> int:
        """ACK on the first frame we send on a stream the peer opened."""
        if stream.inbound and not stream.acknowledged:
            stream.acknowledged = True
            return _ACK
        return 0

    # --- what comes in ---------------------------------------------------------------------------

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """Take bytes from the connection, however they were cut.

        Raises RemoteProtocolError: "yamux-version", "yamux-type", "yamux-window", "yamux-stream",
        "yamux-flood". The session is then dead and raises the same again.
        """
        if self._failure is not None:
            raise self._failure
        try:
            return self._receive(data, now)
        except RemoteProtocolError as failure:
            self._failure = failure
            self._partial = b""
            raise

    def _receive(self, data: bytes, now: float) -> list[Event]:
        events: list[Event] = []
        if self._partial:
            data = self._partial + data
        at, size = 0, len(data)
        while at < size:
            if self._body is not None:
                at = self._read_body(data, at, events)
                continue
            if size - at < HEADER_BYTES:
                break
            version, kind, flags, identifier, length = HEADER.unpack_from(data, at)
            at += HEADER_BYTES
            if version != 0:
                raise _violation("version", "unknown yamux version")
            self._header(kind, flags, identifier, length, now, events.append)
        self._partial = data[at:]
        return events

    def _header(
        self,
        kind: int,
        flags: int,
        identifier: int,
        length: int,
        now: float,
        emit: Callable[[Event], None],
    ) -> None:
        if kind in (_DATA, _WINDOW):
            known = self._stream_frame(kind, flags, identifier, length, now, emit)
            if kind == _DATA and length:
                self._body = (identifier if known else None, length, flags)
            else:
                self._flags(flags, identifier, emit)
        elif kind == _PING:
            self._pings.take(now, "pings")
            if flags & _SYN:
                self._frame(_PING, _ACK, 0, length)
            else:
                emit(Ponged(length))
        elif kind == _GO_AWAY:
            self._pings.take(now, "go-aways")
            self._gone_away = True
            emit(GoneAway(length))
        else:
            raise _violation("type", "unknown yamux frame")

    def _stream_frame(
        self,
        kind: int,
        flags: int,
        identifier: int,
        length: int,
        now: float,
        emit: Callable[[Event], None],
    ) -> bool:
        """Check a frame against its stream; return whether the stream takes its data."""
        if flags & _SYN:
            self._opens.take(now, "new streams")
            self._accept(identifier, emit)
        stream = self._streams.get(identifier)
        if stream is None:
            # Late frames of a stream we reset or refused. Their data is bounded by the window the
            # stream had, so a peer that sends more than that is in breach.
            self._strays.take(now, "frames for unknown streams")
            if kind == _DATA and length > MAX_WINDOW:
                raise _violation("window", "frame larger than any window")
            return False
        if kind == _WINDOW:
            if length:
                self._updates.take(now, "window updates")
                stream.send_window += length
                if stream.send_window > _MAX_SEND_WINDOW:
                    raise _violation("window", "send window overflows")
                emit(WindowGrew(identifier))
            return True
        if length > stream.receive_window:
            raise _violation("window", "more data than the window allows")
        if length and stream.receiving is Half.CLOSED:
            raise _violation("stream", "data behind the end of the stream")
        stream.receive_window -= length
        return True

    def _accept(self, identifier: int, emit: Callable[[Event], None]) -> None:
        wrong_side = identifier & 1 != self._their_parity
        if identifier == 0 or wrong_side or identifier <= self._last_theirs:
            raise _violation("stream", "stream id used twice or not the peer's to use")
        self._last_theirs = identifier
        if self._inbound >= self._max_inbound:
            self._refused += 1
            if self._refused > MAX_REFUSED_STREAMS:
                raise _violation("flood", "too many streams")
            self._frame(_WINDOW, _RST, identifier, 0)
            return
        self._streams[identifier] = _Stream(inbound=True)
        self._inbound += 1
        emit(Opened(identifier))

    def _read_body(self, data: bytes, at: int, events: list[Event]) -> int:
        """Deliver what is here of a data frame's bytes."""
        assert self._body is not None
        identifier, missing, flags = self._body
        part = data[at : at + missing]
        missing -= len(part)
        stream = self._streams.get(identifier) if identifier is not None else None
        if identifier is not None and stream is not None:
            if stream.discarding:
                self.consumed(identifier, len(part))
            else:
                events.append(Data(identifier, part))
        if missing:
            self._body = (identifier, missing, flags)
        else:
            self._body = None
            if identifier is not None:
                self._flags(flags, identifier, events.append)
        return at + len(part)

    def _flags(self, flags: int, identifier: int, emit: Callable[[Event], None]) -> None:
        stream = self._streams.get(identifier)
        if stream is None:
            return
        if flags & _RST:
            self._forget(identifier)
            emit(RemoteReset(identifier))
        elif flags & _FIN and stream.receiving is Half.OPEN:
            stream.receiving = Half.CLOSED
            emit(RemoteClosed(identifier))
            self._finish(identifier, stream)

    def _finish(self, identifier: int, stream: _Stream) -> None:
        if stream.sending is Half.CLOSED and stream.receiving is Half.CLOSED:
            self._forget(identifier)

    def _forget(self, identifier: int) -> None:
        stream = self._streams.pop(identifier)
        self._inbound -= stream.inbound
        self._growth -= stream.target_window - INITIAL_WINDOW


def _violation(code: str, what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"yamux: {what}", code=f"yamux-{code}", close_hint="disconnect")
