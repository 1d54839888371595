"""specs/echo, after agreeing on it."""

from __future__ import annotations

import hashlib

from fogp2p.codec import Schema, decode
from fogp2p.conformance.checks.versioning import ECHO_1_0, ECHO_1_1
from fogp2p.conformance.context import Context
from fogp2p.conformance.errors import CheckFailed, NotApplicable
from fogp2p.conformance.handshake import V1_0, V1_1, agreed
from fogp2p.conformance.model import check
from fogp2p.errors import RemoteProtocolError
from fogp2p.framing import encode_frame, encode_varint

_MAX_MESSAGE = 65_536
_MAX_ANSWER = _MAX_MESSAGE + 64


def _messages(context: Context) -> list[bytes]:
    """Different ones, so that another order shows; the shortest and the longest among them."""
    sizes = [context.random.randrange(1, 3_000) for _ in range(6)]
    return [b"", *(context.random.randbytes(size) for size in sizes), bytes(_MAX_MESSAGE)]


@check("ECH-001", "1.0 answers each message with the same bytes, in order", needs=ECHO_1_0)
async def _same(context: Context) -> str:
    messages = _messages(context)
    async with agreed(context, echo=(V1_0,)) as run:
        if "fog/echo" not in run.protocols:
            raise NotApplicable("the peer does not offer fog/echo 1.0")
        talk = await run.visitor.open(ECHO_1_0, max_bytes=_MAX_ANSWER)
        async with talk.stream:
            # Together, so that a peer that mixes up their order has the opportunity.
            await talk.say(b"".join(map(encode_frame, messages)), f"{len(messages)} messages")
            for number, message in enumerate(messages):
                if await talk.frame(f"answer {number + 1}") != message:
                    raise CheckFailed(f"answer {number + 1} of {len(messages)} differs")
    return f"{len(messages)} messages, {sum(map(len, messages)):,} bytes"


@check("ECH-010", "1.1 answers with count and digest of all that arrived", needs=ECHO_1_1)
async def _vouches(context: Context) -> str:
    messages = _messages(context)
    schema = Schema.load("echo/v1.cddl", "answer")
    async with agreed(context, echo=(V1_1,)) as run:
        if "fog/echo" not in run.protocols:
            raise NotApplicable("the peer does not offer fog/echo 1.1")
        talk = await run.visitor.open(ECHO_1_1, max_bytes=_MAX_ANSWER)
        digest, size = hashlib.sha256(), 0
        async with talk.stream:
            for number, message in enumerate(messages, 1):
                await talk.say(encode_frame(message), f"message {number}")
                data = await talk.frame(f"answer {number}")
                digest.update(message)
                size += len(message)
                try:
                    answer = decode(data, schema=schema, max_bytes=_MAX_ANSWER)
                except RemoteProtocolError as exc:
                    raise CheckFailed(f"answer {number} is none: {exc}") from exc
                if [answer[1], answer[2], answer[3]] != [message, size, digest.digest()]:
                    raise CheckFailed(f"answer {number} vouches for something else")
    return f"{len(messages)} messages, {size:,} bytes vouched for"


@check("ECH-012", "refuses a message longer than 65,536 bytes", needs=ECHO_1_0)
async def _too_long(context: Context) -> str:
    async with agreed(context, echo=(V1_0,)) as run:
        if "fog/echo" not in run.protocols:
            raise NotApplicable("the peer does not offer fog/echo 1.0")
        talk = await run.visitor.open(ECHO_1_0)
        size = _MAX_MESSAGE + 1
        await talk.say(encode_varint(size) + bytes(size), f"a message of {size} bytes")
        return await talk.refusal(f"a message of {size} bytes")
