"""Sends messages to a peer's echo and checks what comes back."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from fogp2p.environment import deadline_of
from fogp2p.errors import RemoteProtocolError, StreamReset
from fogp2p.framing import FrameDecoder, encode_frame, read_frame
from fogp2p.host import Host
from fogp2p.ids import PeerId, ProtocolId, Version

from .machine import MAX_ANSWER_BYTES, MAX_MESSAGE_BYTES, decode_answer

__all__ = ["EchoResult", "echo"]


@dataclass(frozen=True, slots=True)
class EchoResult:
    """`confirmed`: the receiver vouched for exactly the bytes sent (version 1.1 only)."""

    version: Version
    messages: int
    bytes: int
    round_trip_s: float
    confirmed: bool


async def echo(
    host: Host,
    peer: PeerId,
    protocol: ProtocolId,
    messages: Sequence[bytes],
    *,
    deadline: float,
) -> EchoResult:
    """Send `messages` (each at most 64 KiB) one after another and compare every answer.

    `protocol` is the agreed one, `/fog/echo/1.0.0` or `/fog/echo/1.1.0`. Raises
    RemoteProtocolError("echo-differs") when something else comes back, or as `Host.open_stream`.
    """
    version = _version_of(protocol)
    sent = hashlib.sha256()
    confirmed = False
    async with await host.open_stream(peer, [protocol], deadline=deadline) as stream:
        with deadline_of(deadline, f"echo from {peer.short}"):
            decoder = FrameDecoder(max_bytes=MAX_ANSWER_BYTES)
            start = trio.current_time()
            for message in messages:
                sent.update(message)
                await stream.write_all(encode_frame(message, max_bytes=MAX_MESSAGE_BYTES))
                frame = await read_frame(stream, decoder)
                if frame is None:
                    raise StreamReset("the peer ended the stream instead of answering")
                answer = decode_answer(frame, version)
                if not hmac.compare_digest(answer.data, message):
                    raise RemoteProtocolError("the echo differs", code="echo-differs")
                if answer.digest is not None:
                    confirmed = hmac.compare_digest(answer.digest, sent.digest())
                    if not confirmed:
                        raise RemoteProtocolError(
                            "the receiver got something else", code="echo-differs"
                        )
            elapsed = trio.current_time() - start
    size = sum(map(len, messages))
    return EchoResult(version, len(messages), size, elapsed / max(1, len(messages)), confirmed)


def _version_of(protocol: ProtocolId) -> Version:
    major, minor, _ = protocol.rpartition("/")[2].split(".")
    return Version(int(major), int(minor))
