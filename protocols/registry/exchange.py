"""The asking side of the registry protocol: one request on a stream of its own.

What comes back is bounded and well-formed; whether it is true is for the caller to check.
"""

from __future__ import annotations

from dataclasses import dataclass

from fogp2p.environment import deadline_of
from fogp2p.errors import StreamReset
from fogp2p.framing import FrameDecoder, encode_frame, read_frame
from fogp2p.host import Host, Stream
from fogp2p.ids import PeerId

from .config import MAX_ENVELOPE_BYTES, MAX_MESSAGE_BYTES, PROTOCOL
from .messages import Answer, Lookup, Push, Query, Receipt

__all__ = ["Budget", "Envelopes", "answer_frames", "ask", "push"]


@dataclass(frozen=True, slots=True)
class Envelopes:
    """What a mirror answered. Complete: it says that there are no others."""

    envelopes: tuple[bytes, ...]
    is_complete: bool


class Budget:
    """So many at once, and so many a second."""

    __slots__ = ("_at", "_burst", "_left", "_per_s")

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = burst
        self._at = 0.0

    def spend(self, now: float) -> bool:
        """Whether there was one left; `now` is on trio's clock."""
        self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._per_s)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


async def push(host: Host, peer: PeerId, envelope: bytes, *, deadline: float) -> Receipt:
    """Hand `envelope` to `peer`. Raises FogError as `Host.open_stream`, or for a bad receipt."""
    async with await host.open_stream(peer, [PROTOCOL], deadline=deadline) as stream:
        with deadline_of(deadline, f"telling {peer.short}"):
            await stream.write_all(_frame(Push(envelope).to_bytes()))
            await stream.close_write()
            decoder = FrameDecoder(max_bytes=MAX_MESSAGE_BYTES)
            return Receipt.from_bytes(await _next(stream, decoder))


async def ask(host: Host, peer: PeerId, request: Query | Lookup, *, deadline: float) -> Envelopes:
    """Ask `peer`. Raises FogError as `Host.open_stream`, or for a malformed answer."""
    limit = request.limit if isinstance(request, Query) else 1
    async with await host.open_stream(peer, [PROTOCOL], deadline=deadline) as stream:
        with deadline_of(deadline, f"asking {peer.short}"):
            await stream.write_all(_frame(request.to_bytes()))
            await stream.close_write()
            decoder = FrameDecoder(max_bytes=MAX_MESSAGE_BYTES)
            head = Answer.from_bytes(await _next(stream, decoder), limit)
            envelopes = [await _next(stream, decoder) for _ in range(head.count)]
    return Envelopes(tuple(envelopes), head.count == head.total)


def answer_frames(envelopes: tuple[bytes, ...], total: int) -> bytes:
    """An answer as it travels."""
    head = _frame(Answer(len(envelopes), total).to_bytes())
    return head + b"".join(encode_frame(each, max_bytes=MAX_ENVELOPE_BYTES) for each in envelopes)


def _frame(message: bytes) -> bytes:
    return encode_frame(message, max_bytes=MAX_MESSAGE_BYTES)


async def _next(stream: Stream, decoder: FrameDecoder) -> bytes:
    frame = await read_frame(stream, decoder)
    if frame is None:
        raise StreamReset("the peer ended the stream instead of answering")
    return frame
