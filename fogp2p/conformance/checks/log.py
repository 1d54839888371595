"""specs/log, as far as somebody gets who carries no group of the peer's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fogp2p.codec import Schema, decode, encode
from fogp2p.conformance.config import SILENCE_S
from fogp2p.conformance.context import Context, Talk
from fogp2p.conformance.errors import CheckFailed
from fogp2p.conformance.handshake import admitted
from fogp2p.conformance.model import check
from fogp2p.errors import RemoteProtocolError
from fogp2p.framing import encode_frame, encode_varint
from fogp2p.ids import ProtocolId

LOG: Final = ProtocolId("/fog/log/1.0.0")
_MAX_MESSAGE: Final = 65_536


@asynccontextmanager
async def _stranger(context: Context) -> AsyncIterator[Talk]:
    async with admitted(context, LOG) as visitor:
        talk = await visitor.open(LOG, max_bytes=_MAX_MESSAGE)
        await talk.say(encode_frame(encode([1, []])), "we carry no group")
        try:
            yield talk
        finally:
            talk.stream.reset()


@check("LOG-003", "refuses an entry of more than 17,500 bytes", needs=LOG)
async def _long_entry(context: Context) -> str:
    async with _stranger(context) as talk:
        await talk.frame("interest")
        message = encode([6, context.random.randbytes(32), [bytes(17_501)]])
        await talk.say(encode_frame(message), "an entry of 17,501 bytes")
        return await talk.refusal("an entry of 17,501 bytes")


@check("LOG-060a", "names its groups first, and only as tags", needs=LOG)
async def _interest(context: Context) -> str:
    async with _stranger(context) as talk:
        data = await talk.frame("interest")
        try:
            schema = Schema.load("log/v1.cddl", "interest")
            tags = decode(data, schema=schema, max_bytes=_MAX_MESSAGE)[1]
        except RemoteProtocolError as exc:
            raise CheckFailed(f"its first message is no interest: {exc}") from exc
    return f"{len(tags)} groups"


@check("LOG-060b", "says nothing of a group that was not named", needs=LOG)
async def _says_nothing(context: Context) -> str:
    async with _stranger(context) as talk:
        await talk.frame("interest")
        group = context.random.randbytes(32)
        frontier = encode([2, group, 1, bytes(32), [context.random.randbytes(32)], True])
        await talk.say(encode_frame(frontier), "a frontier of a group that neither named")
        await talk.silence("about a group that was not named", SILENCE_S)
        await talk.say(encode_frame(encode([5, group, [bytes(32)]])), "we want an entry of it")
        await talk.silence("about a group that was not named", SILENCE_S)
    return "silence"


@check("LOG-060c", "refuses a message of more than 65,536 bytes by its length", needs=LOG)
async def _long(context: Context) -> str:
    async with _stranger(context) as talk:
        await talk.frame("interest")
        await talk.say(encode_varint(_MAX_MESSAGE + 1), "a length of 65,537")
        return await talk.refusal("that length")
