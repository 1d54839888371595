"""Answers what other peers ask about our blobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

import trio

from fogp2p.environment import deadline_of, within
from fogp2p.framing import FrameDecoder, encode_frame, read_frame
from fogp2p.host import Stream
from fogp2p.ids import PeerId
from fogp2p.tasks import open_tasks

from .config import (
    CHUNK_BYTES,
    IDLE_S,
    MAX_REPLY_BYTES,
    MAX_REQUEST_BYTES,
    READ_AHEAD,
    STREAMS,
    STREAMS_PER_PEER,
)
from .messages import Request, Status, bitmap_of, decode_request, reply
from .store import BlobStore

__all__ = ["OnOffer", "Server"]

OnOffer = Callable[[Stream, Request], Awaitable[None]]
"""Takes over a stream on which a file was offered."""


class Server:
    """Serves one stream after another; `handle` is the host's handler."""

    def __init__(self, store: BlobStore, on_offer: OnOffer) -> None:
        self._store = store
        self._on_offer = on_offer
        self._streams: Counter[PeerId] = Counter()
        self.sent_bytes = 0
        """Of chunks, to everybody."""

    async def handle(self, stream: Stream) -> None:
        """Answer requests in their order until the peer has no more."""
        peer = stream.remote_peer
        if self._streams[peer] >= STREAMS_PER_PEER or self._streams.total() >= STREAMS:
            await stream.write_all(encode_frame(reply(Status.BUSY), max_bytes=MAX_REPLY_BYTES))
            return
        self._streams[peer] += 1
        try:
            await self._answer(stream)
        finally:
            self._streams[peer] -= 1
            if not self._streams[peer]:
                del self._streams[peer]

    async def _answer(self, stream: Stream) -> None:
        send, receive = trio.open_memory_channel[bytes](READ_AHEAD)
        offer: Request | None = None
        async with open_tasks() as nursery:
            nursery.start_soon(self._write, stream, receive)
            async with send:
                offer = await self._read(stream, send)
        if offer is not None:
            await self._on_offer(stream, offer)

    async def _read(self, stream: Stream, send: trio.MemorySendChannel[bytes]) -> Request | None:
        """Make the answers, until the peer has no more requests or offers something."""
        decoder = FrameDecoder(max_bytes=MAX_REQUEST_BYTES)
        while True:
            with deadline_of(within(IDLE_S), "waiting for a request"):
                frame = await read_frame(stream, decoder)
            if frame is None:
                return None
            request = decode_request(frame)
            if request.kind == "offer":
                return request
            with self._store.using(request.cid):
                answer = await self._reply(request)
            await send.send(answer)

    async def _write(self, stream: Stream, answers: trio.MemoryReceiveChannel[bytes]) -> None:
        async with answers:
            async for answer in answers:
                with deadline_of(within(IDLE_S), "sending a chunk"):
                    await stream.write_all(encode_frame(answer, max_bytes=MAX_REPLY_BYTES))

    async def _reply(self, request: Request) -> bytes:
        cid = request.cid
        manifest = self._store.manifest(cid)
        if manifest is None:
            return reply(Status.UNKNOWN)
        if request.kind == "have":
            present = self._store.present(cid)
            return reply(Status.OK, bitmap_of(len(manifest.hashes), present))
        if request.kind == "manifest":
            encoded = await self._store.encoded_manifest(cid)
            if encoded is None:
                return reply(Status.UNKNOWN)
            start = request.number * CHUNK_BYTES
            return reply(Status.OK, encoded[start : start + CHUNK_BYTES])
        data = await self._store.chunk(cid, request.number)
        if data is None:
            return reply(Status.UNKNOWN)
        self.sent_bytes += len(data)
        return reply(Status.OK, data)
