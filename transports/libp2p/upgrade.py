"""From a TCP connection to a session: Noise, then yamux, each agreed on by multistream-select.

The dialler offers one protocol each and does not wait for the agreement: proposal and first
message travel together, so a connection costs two round trips after TCP's.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

import trio

from fogp2p.errors import RemoteProtocolError, TransportError
from fogp2p.identity import Identity
from fogp2p.ids import PeerId, ProtocolId

from .multistream import Opener, Responder
from .noise import Channel, NoiseHandshake
from .session import MuxedStream, Session
from .wire_config import READ_BYTES

__all__ = ["upgrade"]

NOISE: Final = ProtocolId("/noise")
YAMUX: Final = ProtocolId("/yamux/1.0.0")


async def upgrade(
    socket: trio.SocketStream,
    identity: Identity,
    *,
    dialled: PeerId | None,
    source: random.Random,
    on_stream: Callable[[Session, MuxedStream], object],
    on_progress: Callable[[], object] = lambda: None,
) -> Session:
    """Secure and multiplex `socket`; `dialled` is who must answer, None for an inbound connection.

    The caller sets the deadline and closes the socket on failure. `on_progress` is called when the
    first bytes have arrived. Raises RemoteProtocolError or TransportError.
    """
    try:
        return await _upgrade(socket, identity, dialled, source, on_stream, on_progress)
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as exc:
        raise TransportError(f"the connection broke while it was set up: {exc}") from exc


async def _upgrade(
    socket: trio.SocketStream,
    identity: Identity,
    dialled: PeerId | None,
    source: random.Random,
    on_stream: Callable[[Session, MuxedStream], object],
    on_progress: Callable[[], object],
) -> Session:
    handshake = NoiseHandshake(identity, initiator=dialled is not None, expected=dialled)
    if dialled is not None:
        opener = Opener([NOISE])
        await socket.send_all(opener.start() + handshake.start())
        early = await _agree(socket, opener)
    else:
        first = await _read(socket)
        on_progress()
        early = await _respond(socket, Responder(NOISE.__eq__), first)
    answer = handshake.receive_data(early)
    while True:
        if answer:
            await socket.send_all(answer)
        if handshake.is_finished:
            break
        answer = handshake.receive_data(await _read(socket))
    channel = handshake.channel()
    remote = handshake.remote_peer
    assert remote is not None  # a finished handshake has proven it
    rest = await _multiplex(socket, channel, client=dialled is not None)
    session = Session(
        socket,
        channel,
        remote,
        client=dialled is not None,
        source=source,
        on_stream=on_stream,
        early=rest,
    )
    return session


async def _multiplex(socket: trio.SocketStream, channel: Channel, *, client: bool) -> bytes:
    """Agree on yamux inside the channel; return yamux bytes that came along."""
    if client:
        opener = Opener([YAMUX])
        await socket.send_all(channel.encrypt(opener.start()))
        plain = channel.decrypt(b"")
        while True:
            opener.receive_data(plain)
            if opener.is_finished:
                break
            plain = channel.decrypt(await _read(socket))
        if opener.agreed is None:
            raise RemoteProtocolError("peer has no yamux", code="upgrade-muxer")
        return opener.take_rest()
    responder = Responder(YAMUX.__eq__)
    plain = channel.decrypt(b"")
    while True:
        answer = responder.receive_data(plain)
        if answer:
            await socket.send_all(channel.encrypt(answer))
        if responder.agreed is not None:
            return responder.take_rest()
        plain = channel.decrypt(await _read(socket))


async def _agree(socket: trio.SocketStream, opener: Opener) -> bytes:
    while not opener.is_finished:
        opener.receive_data(await _read(socket))
    if opener.agreed is None:
        raise RemoteProtocolError("peer has no Noise", code="upgrade-security")
    return opener.take_rest()


async def _respond(socket: trio.SocketStream, responder: Responder, data: bytes) -> bytes:
    while True:
        answer = responder.receive_data(data)
        if answer:
            await socket.send_all(answer)
        if responder.agreed is not None:
            return responder.take_rest()
        data = await _read(socket)


async def _read(socket: trio.SocketStream) -> bytes:
    data = bytes(await socket.receive_some(READ_BYTES))
    if not data:
        raise TransportError("the peer hung up while the connection was set up")
    return data
