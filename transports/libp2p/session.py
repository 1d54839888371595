"""Drives one connection: socket, Noise channel and yamux machine, and the streams on it.

One task reads; whoever writes sends at once if nobody else is sending, otherwise what it queued
goes out with the next batch. Nothing is ever half sent by a cancelled task: encrypted bytes wait
in the session until the socket has taken them.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from fogp2p.errors import (
    FogError,
    LocalProtocolError,
    RemoteProtocolError,
    StreamClosed,
    StreamReset,
    TransportError,
)
from fogp2p.ids import PeerId
from fogp2p.limits import (
    OUTBOUND_STREAMS_PER_PEER,
    PING_INTERVAL_S,
    PING_TIMEOUT_S,
    WRITE_QUEUE_BYTES,
)

from .noise import Channel
from .wire_config import DISCARD_TIMEOUT_S, MAX_FRAME_DATA, READ_BYTES, WRITE_BATCH
from .yamux import (
    Data,
    Event,
    GoneAway,
    Opened,
    Ponged,
    RemoteClosed,
    RemoteReset,
    WindowGrew,
    Yamux,
)

__all__ = ["MuxedStream", "Session"]

_GO_AWAY_NORMAL: Final = 0
_GO_AWAY_PROTOCOL_ERROR: Final = 1


class MuxedStream:
    """A yamux stream: raw bytes, no protocol agreed yet."""

    __slots__ = (
        "_chunks",
        "_end",
        "_failure",
        "_readable",
        "_session",
        "_writable",
        "_write_closed",
        "identifier",
    )

    def __init__(self, session: Session, identifier: int) -> None:
        self.identifier: Final = identifier
        self._session = session
        self._chunks: deque[bytes] = deque()
        self._end = False
        self._failure: FogError | None = None
        self._write_closed = False
        self._readable = trio.lowlevel.ParkingLot()
        self._writable = trio.lowlevel.ParkingLot()

    @property
    def remote_peer(self) -> PeerId:
        """Who is at the other end."""
        return self._session.remote_peer

    async def read_some(self, max_bytes: int) -> bytes:
        """As `host.Stream.read_some`."""
        while not self._chunks:
            if self._failure is not None:
                raise self._failure
            if self._end:
                await trio.lowlevel.checkpoint()
                return b""
            await self._readable.park()
        await trio.lowlevel.checkpoint_if_cancelled()
        chunk = self._chunks.popleft()
        if len(chunk) > max_bytes:
            self._chunks.appendleft(chunk[max_bytes:])
            chunk = chunk[:max_bytes]
        await self._session.consumed(self.identifier, len(chunk))
        return chunk

    async def write_all(self, data: bytes) -> None:
        """As `host.Stream.write_all`."""
        view = memoryview(data)
        while True:
            if self._failure is not None:
                raise self._failure
            if self._write_closed:
                raise StreamClosed("our half of the stream is closed")
            view = view[await self._session.send(self.identifier, view) :]
            if not view:
                return
            if not self._session.send_window(self.identifier) and self._failure is None:
                await self._writable.park()

    async def close_write(self) -> None:
        """Tell the peer that no more comes."""
        if not self._write_closed and self._failure is None:
            self._write_closed = True
            await self._session.close_stream(self.identifier)

    def reset(self, failure: FogError) -> None:
        """Drop the stream; our own calls raise `failure` from now on."""
        if self._failure is None:
            self._session.reset_stream(self.identifier)
        self.fail(failure)

    def leave(self, failure: FogError) -> None:
        """Both halves are ours to forget: what the peer still sends is read and dropped."""
        self._failure = failure
        self._chunks.clear()
        self._readable.unpark_all()
        self._session.forget_stream(self.identifier)

    def fail(self, failure: FogError) -> None:
        """The stream is dead; wake everybody who waits on it."""
        if self._failure is None or isinstance(failure, StreamClosed):
            self._failure = failure
        self._chunks.clear()
        self._readable.unpark_all()
        self._writable.unpark_all()

    def receive(self, event: Data | WindowGrew | RemoteClosed | RemoteReset) -> None:
        """What the machine says about this stream."""
        match event:
            case Data(data=data):
                self._chunks.append(data)
                self._readable.unpark()
            case WindowGrew():
                self._writable.unpark()
            case RemoteClosed():
                self._end = True
                self._readable.unpark_all()
            case RemoteReset():
                self.fail(StreamReset("the peer reset the stream"))


class Session:
    """One secured, multiplexed connection to a proven peer."""

    def __init__(
        self,
        socket: trio.SocketStream,
        channel: Channel,
        remote_peer: PeerId,
        *,
        client: bool,
        source: random.Random,
        on_stream: Callable[[Session, MuxedStream], object],
        early: bytes = b"",
    ) -> None:
        """`on_stream` is called for each stream the peer opens and must not block.

        `early`: decrypted bytes that came along with the negotiation.
        """
        self.remote_peer: Final = remote_peer
        self._socket = socket.socket
        self._channel = channel
        self._yamux = Yamux(client=client)
        self._random = source
        self._on_stream = on_stream
        self._early = early
        self._streams: dict[int, MuxedStream] = {}
        self._discarded: dict[int, float] = {}
        self._wire = b""
        self._sending = False
        self._queue_room = trio.lowlevel.ParkingLot()
        self._stream_room = trio.lowlevel.ParkingLot()
        self._wake_sender = trio.Event()
        self._heard = trio.current_time()
        self._pinged: int | None = None
        self._closing = False
        self._reason = ""
        self.closed = trio.Event()

    @property
    def reason(self) -> str:
        """Why it ended, for people."""
        return self._reason

    @property
    def stream_count(self) -> int:
        """Streams alive."""
        return len(self._streams)

    async def run(
        self, *, interval: float = PING_INTERVAL_S, timeout: float = PING_TIMEOUT_S
    ) -> None:
        """Serve the connection until it ends, by either side's wish, an error, or silence."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send_loop)
                nursery.start_soon(self._watch, interval, timeout)
                await self._read_loop()
                nursery.cancel_scope.cancel()
        finally:
            self._finish()

    def close(self, reason: str) -> None:
        """End the connection now; `run` returns soon after. Repeating it does nothing."""
        if not self._closing:
            self._closing = True
            self._reason = self._reason or reason
            self._socket.close()
            self._finish()

    async def say_goodbye(self) -> None:
        """Tell the peer that the connection ends in order. The caller sets the deadline."""
        if not self.closed.is_set():
            self._yamux.go_away(_GO_AWAY_NORMAL)
            await self._flush()

    # --- streams ---------------------------------------------------------------------------------

    async def open_stream(self) -> MuxedStream:
        """Open a stream, waiting while 256 of ours are open. The caller sets the deadline.

        Raises StreamReset when the connection is gone, Unreachable when it takes no more.
        """
        while self._yamux.outbound_streams >= OUTBOUND_STREAMS_PER_PEER:
            self._check_alive()
            await self._stream_room.park()
        self._check_alive()
        identifier = self._yamux.open()
        stream = self._streams[identifier] = MuxedStream(self, identifier)
        return stream

    async def send(self, identifier: int, data: memoryview) -> int:
        """Queue as much as the window allows and get it going; return how much."""
        while self._yamux.queued_bytes > WRITE_QUEUE_BYTES:
            self._check_alive()
            await self._queue_room.park()
        self._check_alive()
        try:
            # Not more at once than one batch, so that other streams get their turn.
            count = self._yamux.send(identifier, data[: 4 * MAX_FRAME_DATA])
        except LocalProtocolError as exc:
            raise StreamReset("the stream is gone") from exc
        await self._flush()
        return count

    def send_window(self, identifier: int) -> int:
        """How much may be sent on the stream."""
        return self._yamux.send_window(identifier)

    async def consumed(self, identifier: int, count: int) -> None:
        """The application read `count` bytes."""
        self._yamux.consumed(identifier, count)
        if self._yamux.queued_bytes:
            self._wake_sender.set()

    async def close_stream(self, identifier: int) -> None:
        """End our half."""
        self._yamux.close(identifier)
        await self._flush()
        self._collect()

    def reset_stream(self, identifier: int) -> None:
        """Drop a stream."""
        self._yamux.reset(identifier)
        self._streams.pop(identifier, None)
        self._stream_room.unpark()
        self._wake_sender.set()

    def forget_stream(self, identifier: int) -> None:
        """The application is done with a stream whose sending half is closed.

        If the peer has not closed its half yet, what it sends is dropped and credited, so that it
        can finish; the machine forgets the stream with the peer's end or reset.
        """
        stream = self._streams.pop(identifier, None)
        if stream is not None and self._yamux.is_open(identifier):
            self._yamux.discard(identifier)
            self._discarded[identifier] = trio.current_time()
            self._wake_sender.set()
        self._stream_room.unpark()

    def _collect(self) -> None:
        self._stream_room.unpark()

    def _check_alive(self) -> None:
        if self._closing or self.closed.is_set():
            raise StreamReset(f"the connection ended: {self._reason or 'closed'}")

    # --- sending ---------------------------------------------------------------------------------

    async def _flush(self) -> None:
        """Send one batch now if nobody else is sending; otherwise leave it to who is."""
        if self._sending:
            return
        await self._send_batch()
        if self._wire or self._yamux.queued_bytes:
            self._wake_sender.set()

    async def _send_batch(self) -> None:
        self._sending = True
        try:
            if not self._wire:
                plain = self._yamux.data_to_send(WRITE_BATCH)
                if not plain:
                    return
                self._wire = self._channel.encrypt(plain)
                self._queue_room.unpark_all()
            # `send` either sends some bytes or is cancelled having sent none.
            count = await self._socket.send(self._wire)
            self._wire = self._wire[count:]
        except (OSError, trio.ClosedResourceError) as exc:
            self._lost(f"sending failed: {exc}")
        finally:
            self._sending = False

    async def _send_loop(self) -> None:
        while True:
            await self._wake_sender.wait()
            self._wake_sender = trio.Event()
            while (self._wire or self._yamux.queued_bytes) and not self._sending:
                await self._send_batch()
                if self._closing:
                    return

    # --- receiving -------------------------------------------------------------------------------

    async def _read_loop(self) -> None:
        """Until the connection ends. Early bytes behind the handshake come first."""
        data = b""
        while True:
            try:
                plain, self._early = self._early + self._channel.decrypt(data), b""
                self._receive(plain)
            except RemoteProtocolError as exc:
                self._refuse(exc)
                return
            try:
                data = await self._socket.recv(READ_BYTES)
            except (OSError, trio.ClosedResourceError) as exc:
                self._lost(f"the connection broke: {exc}")
                return
            if not data:
                self._lost("the peer closed the connection")
                return
            self._heard = trio.current_time()

    def _receive(self, plain: bytes) -> None:
        if plain:
            for event in self._yamux.receive_data(plain, trio.current_time()):
                self._dispatch(event)
            if self._yamux.queued_bytes:
                self._wake_sender.set()

    def _dispatch(self, event: Event) -> None:
        match event:
            case Opened(stream=identifier):
                stream = self._streams[identifier] = MuxedStream(self, identifier)
                self._on_stream(self, stream)
            case Ponged(value=value):
                if value == self._pinged:
                    self._pinged = None
            case GoneAway():
                pass
            case _:
                found = self._streams.get(event.stream)
                if found is not None:
                    found.receive(event)
                if isinstance(event, RemoteReset):
                    self._streams.pop(event.stream, None)
                    self._stream_room.unpark()

    # --- endings ---------------------------------------------------------------------------------

    async def _watch(self, interval: float, timeout: float) -> None:
        """Ping a silent peer, and give it up when it does not answer."""
        while True:
            await trio.sleep(interval)
            self._sweep()
            if trio.current_time() - self._heard < interval:
                continue
            self._pinged = self._random.getrandbits(32)
            asked = trio.current_time()
            self._yamux.ping(self._pinged)
            self._wake_sender.set()
            await trio.sleep(timeout)
            if self._heard < asked:
                self.close("the peer stopped answering")
                return

    def _sweep(self) -> None:
        """Reset streams that we closed long ago and the peer never did."""
        now = trio.current_time()
        for identifier, since in tuple(self._discarded.items()):
            if not self._yamux.is_open(identifier):
                del self._discarded[identifier]
            elif now - since > DISCARD_TIMEOUT_S:
                del self._discarded[identifier]
                self.reset_stream(identifier)

    def _refuse(self, violation: RemoteProtocolError) -> None:
        self._reason = self._reason or f"the peer broke the rules: {violation}"
        self._yamux.go_away(_GO_AWAY_PROTOCOL_ERROR)
        self.close(self._reason)

    def _lost(self, reason: str) -> None:
        self._reason = self._reason or reason
        self.close(reason)

    def _finish(self) -> None:
        if not self.closed.is_set():
            self.closed.set()
            if not self._closing:
                self._closing = True
                self._reason = self._reason or "this host stopped"
                self._socket.close()
            lost: TransportError = StreamReset(f"the connection ended: {self._reason}")
            for stream in tuple(self._streams.values()):
                stream.fail(lost)
            self._streams.clear()
            for lot in (self._queue_room, self._stream_room):
                lot.unpark_all()
