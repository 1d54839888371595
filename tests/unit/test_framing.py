"""Frames on a byte stream."""

from __future__ import annotations

import pytest

from fogp2p.errors import LocalProtocolError, RemoteProtocolError
from fogp2p.framing import FrameDecoder, decode_varint, encode_frame, encode_varint, read_frame


class Bytes:
    """A stream that gives these pieces and then ends."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)

    async def read_some(self, max_bytes: int = 65_536) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


@pytest.mark.parametrize(
    ("value", "encoded"), [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), (2**63 - 1, None)]
)
def test_varints(value: int, encoded: str | None) -> None:
    data = encode_varint(value)
    assert encoded is None or data.hex() == encoded
    assert decode_varint(data) == (value, len(data))
    assert decode_varint(data[:-1]) is None


@pytest.mark.parametrize("value", [-1, 2**63])
def test_varints_out_of_range_are_our_mistake(value: int) -> None:
    with pytest.raises(LocalProtocolError):
        encode_varint(value)


def test_a_frame_that_is_too_long_is_our_mistake() -> None:
    for parts in ((bytes(5),), (bytes(2), memoryview(bytes(3)))):
        with pytest.raises(LocalProtocolError) as caught:
            encode_frame(*parts, max_bytes=4)
        assert caught.value.code == "frame-size"


def test_a_frame_in_parts_is_the_frame_of_them_joined() -> None:
    assert encode_frame(b"ab", memoryview(b"xcdx")[1:3]) == encode_frame(b"abcd") == b"\x04abcd"


@pytest.mark.spec("FRM-002")
def test_a_decoder_stays_dead_and_keeps_nothing() -> None:
    decoder = FrameDecoder(max_bytes=4)
    decoder.receive_data(b"\x02ab\x05")
    assert decoder.next_frame() == b"ab"
    for _ in range(2):
        with pytest.raises(RemoteProtocolError) as caught:
            decoder.next_frame()
        assert caught.value.code == "frame-size"
    assert decoder.is_empty


@pytest.mark.spec("FRM-003")
async def test_a_stream_may_end_between_frames_only() -> None:
    decoder = FrameDecoder()
    stream = Bytes(b"\x02", b"ab\x00")
    assert await read_frame(stream, decoder) == b"ab"
    assert await read_frame(stream, decoder) == b""
    assert await read_frame(stream, decoder) is None
    with pytest.raises(RemoteProtocolError) as caught:
        await read_frame(Bytes(b"\x02a"), FrameDecoder())
    assert caught.value.code == "frame-cut"
