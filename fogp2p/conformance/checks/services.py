"""identify and ping."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

from fogp2p import protobuf
from fogp2p.conformance.config import CONNECT_TIMEOUT_S
from fogp2p.conformance.context import Context
from fogp2p.conformance.errors import CheckFailed
from fogp2p.conformance.model import check
from fogp2p.conformance.wire import DATA, line
from fogp2p.errors import RemoteProtocolError, TransportError
from fogp2p.framing import FrameDecoder, encode_frame
from fogp2p.ids import PeerId, ProtocolId
from fogp2p.protocols.ping import PING

IDENTIFY: Final = ProtocolId("/ipfs/id/1.0.0")
PUSH: Final = ProtocolId("/ipfs/id/push/1.0.0")
_MESSAGE: Final = protobuf.define(
    "fogp2p.conformance.identify",
    {
        "Identify": [
            ("publicKey", 1, "bytes"),
            ("listenAddrs", 2, "bytes*"),
            ("protocols", 3, "bytes*"),
            ("observedAddr", 4, "bytes"),
            ("protocolVersion", 5, "bytes"),
            ("agentVersion", 6, "bytes"),
        ]
    },
)["Identify"]


async def _identified(context: Context) -> Any:
    """The one identify message; on a connection without a host of ours, which would ask as well
    (some peers answer one at a time)."""
    said, head = b"", line("/multistream/1.0.0") + line(IDENTIFY)
    decoder = FrameDecoder(max_bytes=64 * 1024)
    async with context.raw() as peer:
        await peer.open(1, IDENTIFY)
        try:
            with trio.fail_after(CONNECT_TIMEOUT_S):
                while (found := await peer.next_frame()) is not None:
                    if found.kind != DATA or found.stream != 1:
                        continue
                    said += found.body
                    decoder.receive_data(said[len(head) :] if len(said) > len(head) else b"")
                    message = decoder.next_frame()
                    if message is not None:
                        return protobuf.parse(_MESSAGE, message, code="identify")
                    decoder = FrameDecoder(max_bytes=64 * 1024)
        except trio.TooSlowError:
            raise CheckFailed("no identify message in time") from None
        except RemoteProtocolError as exc:
            raise CheckFailed(f"the identify message is none: {exc}") from exc
    raise CheckFailed("the connection ended instead")


@check("IDF-001", "says who it is, with the key of its peer id", needs=IDENTIFY)
async def _identify(context: Context) -> str:
    told = await _identified(context)
    if PeerId.from_key_protobuf(told.publicKey) != context.target.peer:
        raise CheckFailed("the public key is not the one of the peer id")
    names = {bytes(name) for name in told.protocols}
    if IDENTIFY.encode() not in names:
        raise CheckFailed("the list of protocols lacks identify itself")
    agent = bytes(told.agentVersion).decode("utf-8", "replace")
    return f"{agent}, {len(names)} protocols, {len(told.listenAddrs)} addresses"


@check("IDF-002", "sees the address we come from", needs=IDENTIFY)
async def _observed(context: Context) -> str:
    told = await _identified(context)
    if not told.observedAddr:
        raise CheckFailed("there is no observed address")
    return f"{len(told.observedAddr)} bytes"


@check("IDF-003", "survives garbage pushed as news of us", needs=PUSH)
async def _pushed_garbage(context: Context) -> str:
    async with context.visitor() as visitor:
        talk = await visitor.open(PUSH)
        try:
            await talk.say(encode_frame(context.random.randbytes(500)), "garbage")
            await talk.end()
        except TransportError:
            pass
        talk.stream.reset()
    await context.still_serves()
    return "others are served"


@check("PNG-001", "returns 32 bytes, again and again", needs=PING)
async def _ping(context: Context) -> str:
    rounds = 5
    async with context.visitor() as visitor:
        talk = await visitor.open(PING)
        async with talk.stream:
            for _ in range(rounds):
                sent = context.random.randbytes(32)
                await talk.say(sent, "32 bytes")
                await _returned(talk.read_some, sent, context.patience_s)
    return f"{rounds} times"


@check("PNG-002", "returns 32 bytes that came in pieces", needs=PING)
async def _pieces(context: Context) -> str:
    sent = context.random.randbytes(32)
    cut = context.random.randrange(1, 31)
    async with context.visitor() as visitor:
        talk = await visitor.open(PING)
        async with talk.stream:
            for part in (sent[:cut], sent[cut:]):
                await talk.say(part, f"{len(part)} bytes")
            await _returned(talk.read_some, sent, context.patience_s)
    return f"{cut} and {32 - cut} bytes"


async def _returned(
    read: Callable[[int], Awaitable[bytes]], sent: bytes, patience_s: float
) -> None:
    got = b""
    try:
        with trio.fail_after(patience_s):
            while len(got) < len(sent):
                data = await read(len(sent) - len(got))
                if not data:
                    raise CheckFailed("the peer ended the stream instead of answering")
                got += data
    except trio.TooSlowError:
        raise CheckFailed(f"{len(got)} of {len(sent)} bytes came back") from None
    except TransportError as exc:
        raise CheckFailed(f"instead of an answer: {exc}") from exc
    if got != sent:
        raise CheckFailed("other bytes came back")
