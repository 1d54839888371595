"""A peer that speaks the wire by hand, and may break its rules: TCP, Noise, yamux frames.

The conformance checks and the attacks among our own tests use it; nothing in a node does.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import trio

from fogp2p.errors import RemoteProtocolError
from fogp2p.framing import encode_frame
from fogp2p.identity import Identity
from fogp2p.ids import PeerId, ProtocolId
from fogp2p.transports.libp2p.multistream import Opener
from fogp2p.transports.libp2p.noise import Channel, NoiseHandshake
from fogp2p.transports.libp2p.upgrade import NOISE, YAMUX

from .transcript import Transcript

__all__ = [
    "ACK",
    "DATA",
    "FIN",
    "GO_AWAY",
    "PING",
    "RST",
    "SYN",
    "WINDOW",
    "Endpoint",
    "Frame",
    "RawPeer",
    "frame",
    "line",
    "open_socket",
    "raw_dial",
    "read_to_the_end",
    "shake_hands",
]

Endpoint = tuple[str, int]
"""IP address and TCP port."""

HEADER: Final = struct.Struct("!BBHII")
DATA, WINDOW, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
_KINDS: Final = ("data", "window", "ping", "go-away")
_READ: Final = 65_536


@dataclass(frozen=True, slots=True)
class Frame:
    """A yamux frame as it came."""

    kind: int
    flags: int
    stream: int
    length: int
    body: bytes = b""


def frame(kind: int, flags: int, stream: int, length: int, body: bytes = b"") -> bytes:
    """A yamux frame; `length` may lie."""
    return HEADER.pack(0, kind, flags, stream, length) + body


def line(text: str) -> bytes:
    """A multistream line."""
    return encode_frame(text.encode() + b"\n", max_bytes=1024)


class RawPeer:
    """A secured connection without a multiplexer of its own: its owner writes the frames."""

    def __init__(
        self,
        socket: trio.SocketStream,
        channel: Channel,
        *,
        early: bytes = b"",
        transcript: Transcript | None = None,
    ) -> None:
        self.socket = socket
        self.channel = channel
        self.transcript = transcript if transcript is not None else Transcript()
        self._buffer = early
        self._sending = trio.Lock()

    async def send(self, *frames: bytes) -> None:
        """Seal and send."""
        plain = b"".join(frames)
        # Whoever reads answers pings meanwhile, and sealed messages have an order.
        async with self._sending:
            self.transcript.sent(plain, "yamux")
            await self.socket.send_all(self.channel.encrypt(plain))

    async def open(self, stream: int, protocol: ProtocolId) -> None:
        """Open a stream and propose a protocol, waiting for nothing."""
        body = line("/multistream/1.0.0") + line(protocol)
        await self.send(frame(WINDOW, SYN, stream, 0), frame(DATA, 0, stream, len(body), body))

    async def next_frame(self) -> Frame | None:
        """The next frame, or None when the connection has ended. Pings are answered meanwhile.

        The caller sets the deadline.
        """
        while True:
            found = self._take_frame()
            if found is None:
                data = await _receive(self.socket)
                if not data:
                    self.transcript.note("the connection ended")
                    return None
                self._buffer += self._decrypted(data)
                continue
            self.transcript.received(found.body, _described(found))
            if found.kind == PING and found.flags & SYN:
                # Whoever has hung up needs no answer; the next read shows it.
                with contextlib.suppress(trio.BrokenResourceError):
                    await self.send(frame(PING, ACK, 0, found.length))
                continue
            return found

    async def hears_the_end(self, timeout_s: float = 10.0) -> bool:
        """Whether the other side closes the connection in time."""
        return await read_to_the_end(self.socket, self.transcript, timeout_s)

    async def send_until_closed(self, blob: bytes, times: int) -> int:
        """Send `blob` again and again; return how often it went out before the end."""
        for count in range(times):
            try:
                with trio.fail_after(10):
                    await self.send(blob)
            except trio.BrokenResourceError:
                self.transcript.note("the connection ended")
                return count
        return times

    def _decrypted(self, data: bytes) -> bytes:
        return self.channel.decrypt(data)

    def _take_frame(self) -> Frame | None:
        if len(self._buffer) < HEADER.size:
            return None
        _, kind, flags, stream, length = HEADER.unpack_from(self._buffer)
        end = HEADER.size + (length if kind == DATA else 0)
        if len(self._buffer) < end:
            return None
        body, self._buffer = self._buffer[HEADER.size : end], self._buffer[end:]
        return Frame(kind, flags, stream, length, body)


def _described(found: Frame) -> str:
    kind = _KINDS[found.kind] if found.kind < len(_KINDS) else f"type {found.kind}"
    names = zip(("SYN", "ACK", "FIN", "RST"), (SYN, ACK, FIN, RST), strict=True)
    flags = "".join(f" {name}" for name, bit in names if found.flags & bit)
    return f"yamux {kind}{flags} stream {found.stream} length {found.length}"


async def _receive(socket: trio.SocketStream) -> bytes:
    try:
        return bytes(await socket.receive_some(_READ))
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return b""


async def open_socket(endpoint: Endpoint) -> trio.SocketStream:
    """A TCP connection that has said nothing. Raises OSError."""
    return await trio.open_tcp_stream(*endpoint)


async def read_to_the_end(
    socket: trio.SocketStream, transcript: Transcript, timeout_s: float
) -> bool:
    """Whether the other side ends the connection in time; what it still says is written down."""
    with trio.move_on_after(timeout_s):
        while data := await _receive(socket):
            transcript.received(data, "on the socket")
        transcript.note("the connection ended")
        return True
    transcript.note(f"the connection still stands after {timeout_s:.0f} s")
    return False


async def shake_hands(
    socket: trio.SocketStream,
    handshake: NoiseHandshake,
    transcript: Transcript | None = None,
) -> None:
    """Agree on Noise and run the handshake as dialler.

    Raises RemoteProtocolError, or trio.BrokenResourceError when the other side hangs up.
    """
    notes = transcript if transcript is not None else Transcript()
    opener = Opener([NOISE])
    first = opener.start() + handshake.start()
    notes.sent(first, "multistream and Noise message 1")
    await socket.send_all(first)
    while not opener.is_finished:
        opener.receive_data(await _some(socket, notes, "multistream"))
    if opener.agreed is None:
        raise RemoteProtocolError("the peer has no Noise", code="upgrade-security")
    early = opener.take_rest()
    while not handshake.is_finished:
        answer = handshake.receive_data(early)
        if answer:
            notes.sent(answer, "Noise message 3")
            await socket.send_all(answer)
        if not handshake.is_finished:
            early = await _some(socket, notes, "Noise message 2")


async def raw_dial(
    endpoint: Endpoint,
    peer: PeerId,
    identity: Identity,
    transcript: Transcript | None = None,
    *,
    muxers: Sequence[ProtocolId] = (YAMUX,),
) -> RawPeer:
    """Come in as a proven peer, and agree on yamux.

    Raises OSError, RemoteProtocolError, or trio.BrokenResourceError when turned away.
    """
    notes = transcript if transcript is not None else Transcript()
    socket = await open_socket(endpoint)
    try:
        handshake = NoiseHandshake(identity, initiator=True, expected=peer)
        await shake_hands(socket, handshake, notes)
        channel = handshake.channel()
        muxer = Opener(muxers)
        notes.sent(muxer.start(), "multistream, encrypted")
        await socket.send_all(channel.encrypt(muxer.start()))
        plain = channel.decrypt(b"")
        while True:
            muxer.receive_data(plain)
            if muxer.is_finished:
                break
            plain = channel.decrypt(await _some(socket, None, ""))
    except BaseException:
        await trio.aclose_forcefully(socket)
        raise
    if muxer.agreed is None:
        await trio.aclose_forcefully(socket)
        raise RemoteProtocolError("the peer has no yamux", code="upgrade-muxer")
    return RawPeer(socket, channel, early=muxer.take_rest(), transcript=notes)


async def _some(socket: trio.SocketStream, notes: Transcript | None, what: str) -> bytes:
    data = await _receive(socket)
    if not data:
        raise trio.BrokenResourceError("the peer hung up")
    if notes is not None:
        notes.received(data, what)
    return data
