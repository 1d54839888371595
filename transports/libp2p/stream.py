"""`fogp2p.host.Stream` over a yamux stream, with negotiation that costs no round trip."""

from __future__ import annotations

import trio

from fogp2p.errors import (
    LocalProtocolError,
    ProtocolRefused,
    StreamClosed,
    StreamReset,
)
from fogp2p.host import Stream
from fogp2p.ids import PeerId, ProtocolId
from fogp2p.limits import SHUTDOWN_GRACE_S

from .multistream import Opener
from .session import MuxedStream, Session

__all__ = ["LibP2PStream"]

_READ = 65536


class LibP2PStream(Stream):
    """One end of a stream. `opener` is given while the peer has not yet agreed."""

    def __init__(
        self,
        session: Session,
        muxed: MuxedStream,
        protocol: ProtocolId,
        *,
        early: bytes = b"",
        opener: Opener | None = None,
    ) -> None:
        self._session = session
        self._muxed = muxed
        self._protocol = protocol
        self._early = early
        self._opener = opener
        self._unsent = opener.start() if opener is not None else b""
        self._closed = False
        self._reading = False
        self._writing = False

    @property
    def remote_peer(self) -> PeerId:
        return self._session.remote_peer

    @property
    def protocol(self) -> ProtocolId:
        return self._protocol

    async def read_some(self, max_bytes: int = _READ) -> bytes:
        if self._closed:
            raise StreamClosed("stream was closed on this side")
        if max_bytes < 1:
            raise LocalProtocolError("read at least one byte", code="stream-read")
        if self._reading:
            raise LocalProtocolError("another task is reading", code="stream-busy")
        self._reading = True
        try:
            if self._unsent:
                await self._send_proposal(b"")
            if self._opener is not None:
                await self._await_answer(self._opener)
            if self._early:
                await trio.lowlevel.checkpoint()
                taken, self._early = self._early[:max_bytes], self._early[max_bytes:]
                return taken
            return await self._muxed.read_some(max_bytes)
        finally:
            self._reading = False

    async def write_all(self, data: bytes) -> None:
        if self._closed:
            raise StreamClosed("stream was closed on this side")
        if self._writing:
            raise LocalProtocolError("another task is writing", code="stream-busy")
        self._writing = True
        try:
            if self._unsent:
                await self._send_proposal(data)
            else:
                await self._muxed.write_all(data)
        finally:
            self._writing = False

    async def close_write(self) -> None:
        if not self._closed:
            if self._unsent:
                await self._send_proposal(b"")
            await self._muxed.close_write()

    async def aclose(self) -> None:
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        try:
            # The peer may be too slow even for the end: do not wait for it without a limit.
            with trio.fail_after(SHUTDOWN_GRACE_S):
                await self.close_write()
            await trio.lowlevel.checkpoint_if_cancelled()
        except (StreamReset, StreamClosed, trio.TooSlowError):
            self.reset()
            return
        except BaseException:
            self.reset()
            raise
        self._closed = True
        self._muxed.leave(StreamClosed("stream was closed on this side"))

    def reset(self) -> None:
        if not self._closed:
            self._closed = True
            self._muxed.reset(StreamClosed("stream was reset on this side"))

    async def negotiate(self) -> None:
        """Wait until the peer has chosen among several protocols. The caller sets the deadline."""
        assert self._opener is not None
        await self._send_proposal(b"")
        await self._await_answer(self._opener)
        assert self._opener is None

    async def _send_proposal(self, data: bytes) -> None:
        """The proposal goes out in one piece with the first data."""
        proposal, self._unsent = self._unsent, b""
        await self._muxed.write_all(proposal + data)

    async def _await_answer(self, opener: Opener) -> None:
        while not opener.is_finished:
            data = await self._muxed.read_some(_READ)
            if not data:
                raise StreamReset("the peer closed the stream before agreeing on a protocol")
            answer = opener.receive_data(data)
            if answer:
                await self._muxed.write_all(answer)
        if opener.agreed is None:
            self.reset()
            raise ProtocolRefused("the peer speaks none of the protocols asked for")
        self._protocol, self._early, self._opener = opener.agreed, opener.take_rest(), None
