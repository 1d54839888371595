"""Answers what other peers ask about our blobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

from fogp2p.counting import counted
from fogp2p.environment import deadline_of, within
from fogp2p.framing import FrameDecoder, read_frame
from fogp2p.host import Stream
from fogp2p.ids import PeerId

from .config import (
    CHUNK_BYTES,
    IDLE_S,
    MAX_REQUEST_BYTES,
    STREAMS,
    STREAMS_PER_PEER,
)
from .messages import Request, Status, bitmap_of, decode_request, reply_frame
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
            await stream.write_all(reply_frame(Status.BUSY))
            return
        with counted(self._streams, peer):
            await self._answer(stream)

    async def _answer(self, stream: Stream) -> None:
        """Until the peer has no more requests, or offers something: then `on_offer` goes on."""
        decoder = FrameDecoder(max_bytes=MAX_REQUEST_BYTES)
        while True:
            with deadline_of(within(IDLE_S), "waiting for a request"):
                frame = await read_frame(stream, decoder)
            if frame is None:
                return
            request = decode_request(frame)
            if request.kind == "offer":
                await self._on_offer(stream, request)
                return
            with self._store.using(request.cid):
                answer = await self._reply(request)
            with deadline_of(within(IDLE_S), "sending a chunk"):
                await stream.write_all(answer)

    async def _reply(self, request: Request) -> bytes:
        cid = request.cid
        manifest = self._store.manifest(cid)
        if manifest is None:
            return reply_frame(Status.UNKNOWN)
        if request.kind == "have":
            present = self._store.present(cid)
            return reply_frame(Status.OK, bitmap_of(len(manifest.hashes), present))
        if request.kind == "manifest":
            encoded = await self._store.encoded_manifest(cid)
            if encoded is None:
                return reply_frame(Status.UNKNOWN)
            start = request.number * CHUNK_BYTES
            return reply_frame(Status.OK, encoded[start : start + CHUNK_BYTES])
        data = await self._store.chunk(cid, request.number)
        if data is None:
            return reply_frame(Status.UNKNOWN)
        self.sent_bytes += len(data)
        return reply_frame(Status.OK, data)
