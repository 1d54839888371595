"""Length-prefixed frames: an unsigned varint with the length, then that many bytes.

The varint is little-endian base 128, at most nine bytes and in its shortest form, as all of libp2p
writes it (multiformats/unsigned-varint). A length is compared with the limit before a single byte
of the frame is kept.
"""

from __future__ import annotations

from typing import Protocol

from .errors import LocalProtocolError, RemoteProtocolError
from .limits import FRAME_MAX_BYTES, VARINT_MAX_BYTES

__all__ = [
    "FrameDecoder",
    "ReadsSome",
    "decode_varint",
    "encode_frame",
    "encode_varint",
    "read_frame",
]


class ReadsSome(Protocol):
    """The part of a stream that reading frames needs."""

    async def read_some(self, max_bytes: int = 65536) -> bytes:
        """Return 1 to `max_bytes` bytes, or b"" at the end of the stream."""
        ...


def encode_varint(value: int) -> bytes:
    """Encode 0 <= value < 2**63. Raises LocalProtocolError outside that range."""
    if not 0 <= value < 1 << (7 * VARINT_MAX_BYTES):
        raise LocalProtocolError("varint out of range", code="varint")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_varint(data: bytes | bytearray, at: int = 0) -> tuple[int, int] | None:
    """Read a varint at `at`: (value, offset behind it), or None when more bytes are needed.

    Raises RemoteProtocolError("varint") for more than nine bytes or a form longer than needed.
    """
    value = 0
    for index in range(VARINT_MAX_BYTES):
        if at + index >= len(data):
            return None
        byte = data[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if byte == 0 and index > 0:
                raise RemoteProtocolError("varint longer than needed", code="varint")
            return value, at + index + 1
    raise RemoteProtocolError("varint of more than nine bytes", code="varint")


def encode_frame(*parts: bytes | memoryview, max_bytes: int = FRAME_MAX_BYTES) -> bytes:
    """Prefix a payload, given in one or more parts, with its length.

    Raises LocalProtocolError when it exceeds `max_bytes`.
    """
    size = sum(map(len, parts))
    if size > max_bytes:
        raise LocalProtocolError(
            f"frame of {size} bytes, at most {max_bytes} are allowed", code="frame-size"
        )
    return b"".join((encode_varint(size), *parts))


class FrameDecoder:
    """Turns a byte stream, however it was cut, back into frames.

    Never holds more than one frame of `max_bytes` plus what the last `receive_data` brought.
    After a RemoteProtocolError it is dead: every later call raises the same error again.
    """

    def __init__(self, *, max_bytes: int = FRAME_MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._buffer = b""
        self._at = 0
        # The pieces of a frame whose length is known, and how much of it is missing. They are
        # joined once: large frames come in many pieces.
        self._body: list[bytes] = []
        self._missing = 0
        self._failure: RemoteProtocolError | None = None

    def receive_data(self, data: bytes) -> None:
        """Add bytes from the peer. Take all frames out before adding more."""
        if self._missing:
            piece = data[: self._missing]
            self._body.append(piece)
            self._missing -= len(piece)
            data = data[len(piece) :]
        if data:
            self._buffer = self._buffer[self._at :] + data
            self._at = 0

    def next_frame(self) -> bytes | None:
        """Return the next whole frame, or None when more bytes are needed.

        Raises RemoteProtocolError("varint" or "frame-size") as soon as the length is known.
        """
        if self._failure is not None:
            raise self._failure
        try:
            return self._next()
        except RemoteProtocolError as failure:
            self._failure = failure
            self._buffer, self._at = b"", 0
            raise

    def _next(self) -> bytes | None:
        if self._body:
            return None if self._missing else self._take_body()
        head = decode_varint(self._buffer, self._at)
        if head is None:
            return None
        length, start = head
        if length > self._max_bytes:
            raise RemoteProtocolError(
                f"frame of {length} bytes, at most {self._max_bytes} are allowed",
                code="frame-size",
            )
        end = start + length
        if end > len(self._buffer):
            self._body = [self._buffer[start:]]
            self._missing = end - len(self._buffer)
            self._buffer, self._at = b"", 0
            return None
        self._at = end
        return self._buffer[start:end]

    def _take_body(self) -> bytes:
        frame = b"".join(self._body)
        self._body = []
        return frame

    @property
    def is_empty(self) -> bool:
        """Whether no started frame is waiting: only then may the stream end."""
        return not self._body and self._at == len(self._buffer)


async def read_frame(stream: ReadsSome, decoder: FrameDecoder) -> bytes | None:
    """Return the next frame from `stream`, or None when it ended between two frames.

    Raises RemoteProtocolError: as `FrameDecoder.next_frame`, or "frame-cut" when the stream ends
    inside a frame. The caller sets the deadline.
    """
    while (frame := decoder.next_frame()) is None:
        data = await stream.read_some()
        if not data:
            if decoder.is_empty:
                return None
            raise RemoteProtocolError("stream ended inside a frame", code="frame-cut")
        decoder.receive_data(data)
    return frame
