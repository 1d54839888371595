"""The libp2p ping protocol: 32 bytes and back. Spec: libp2p/specs ping/ping.md."""

from __future__ import annotations

import hmac
import random
from typing import Final

import trio

from fogp2p.environment import deadline_of
from fogp2p.errors import LimitExceeded, RemoteProtocolError, StreamReset
from fogp2p.host import Host, Stream
from fogp2p.ids import PeerId, ProtocolId

__all__ = ["PING", "install", "ping", "remove", "serve_ping"]

PING: Final = ProtocolId("/ipfs/ping/1.0.0")
_SIZE: Final = 32
# An idle ping stream is closed after this, as in go-libp2p.
_IDLE_S: Final = 60.0
# More a second than any measurement needs.
_MAX_PER_S: Final = 100


def install(host: Host) -> None:
    """Answer pings on `host`."""
    host.set_handler(PING, serve_ping)


def remove(host: Host) -> None:
    """Answer pings no longer."""
    host.remove_handler(PING)


async def serve_ping(stream: Stream) -> None:
    """Answer until the peer is done."""
    second, count, buffer = trio.current_time(), 0, b""
    while True:
        with deadline_of(trio.current_time() + _IDLE_S, "waiting for a ping"):
            data = await stream.read_some()
        if not data:
            return
        buffer += data
        whole = len(buffer) - len(buffer) % _SIZE
        count += whole // _SIZE
        now = trio.current_time()
        if now - second >= 1.0:
            second, count = now, 0
        if count > _MAX_PER_S:
            raise LimitExceeded("more than 100 pings a second")
        if whole:
            await stream.write_all(buffer[:whole])
            buffer = buffer[whole:]


async def ping(host: Host, peer: PeerId, source: random.Random, *, deadline: float) -> float:
    """The round-trip time to `peer` in seconds. Raises as `Host.open_stream`."""
    async with await host.open_stream(peer, [PING], deadline=deadline) as stream:
        with deadline_of(deadline, f"pinging {peer.short}"):
            challenge = source.randbytes(_SIZE)
            start = trio.current_time()
            await stream.write_all(challenge)
            answer = b""
            while len(answer) < _SIZE:
                data = await stream.read_some(_SIZE - len(answer))
                if not data:
                    raise StreamReset("the peer closed the ping stream")
                answer += data
            if not hmac.compare_digest(answer, challenge):
                raise RemoteProtocolError("the peer answered another ping", code="ping")
            return trio.current_time() - start
