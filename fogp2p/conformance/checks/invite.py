"""specs/invite, as far as somebody gets who was not invited."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from fogp2p.codec import Schema, decode, encode
from fogp2p.conformance.context import Context, Talk
from fogp2p.conformance.errors import CheckFailed
from fogp2p.conformance.handshake import admitted
from fogp2p.conformance.model import check
from fogp2p.errors import FogError, RemoteProtocolError
from fogp2p.framing import encode_frame, encode_varint
from fogp2p.ids import ProtocolId

INVITE: Final = ProtocolId("/fog/invite/1.0.0")
_MAX_MESSAGE: Final = 2_048
_HELLO, _OFFER, _REFUSAL = 1, 2, 3
_ASK: Final = 1
# More than the ten that are answered at once.
_QUESTIONS: Final = 20
_FIELDS: Final[dict[str, dict[int, Any]]] = {
    "pake": {0: 4, 1: bytes(33)},
    "confirmation": {0: 5, 1: bytes(32)},
    "card": {0: 6, 1: b"x", 2: bytes(32)},
    "stored": {0: 7, 1: bytes(32)},
}


@asynccontextmanager
async def _guest(context: Context) -> AsyncIterator[Talk]:
    async with admitted(context, INVITE) as visitor:
        talk = await visitor.open(INVITE, max_bytes=_MAX_MESSAGE)
        try:
            yield talk
        finally:
            talk.stream.reset()


async def _answer(talk: Talk) -> dict[int, Any]:
    data = await talk.frame("offer or refusal")
    try:
        schema = Schema.load("invite/v1.cddl", "message")
        found: dict[int, Any] = decode(data, schema=schema, max_bytes=_MAX_MESSAGE)
    except RemoteProtocolError as exc:
        raise CheckFailed(f"the answer to a hello is none: {exc}") from exc
    if found[0] not in (_OFFER, _REFUSAL):
        raise CheckFailed(f"a hello is answered by message {found[0]}")
    return found


async def _out_of_place(context: Context, name: str) -> str:
    async with _guest(context) as talk:
        await talk.say(encode_frame(encode(_FIELDS[name])), f"a {name} before any hello")
        return await talk.refusal(f"a {name} before any hello")


@check("INV-010a", "refuses a message of SPAKE2 before the hello", needs=INVITE)
async def _pake_first(context: Context) -> str:
    return await _out_of_place(context, "pake")


@check("INV-010b", "refuses a proof before the hello", needs=INVITE)
async def _proof_first(context: Context) -> str:
    return await _out_of_place(context, "confirmation")


@check("INV-010c", "refuses a card before the hello", needs=INVITE)
async def _card_first(context: Context) -> str:
    return await _out_of_place(context, "card")


@check("INV-010d", "refuses the end before it began", needs=INVITE)
async def _end_first(context: Context) -> str:
    return await _out_of_place(context, "stored")


@check("INV-010e", "refuses a message of more than 2,048 bytes by its length", needs=INVITE)
async def _long(context: Context) -> str:
    async with _guest(context) as talk:
        await talk.say(encode_varint(_MAX_MESSAGE + 1), "a length of 2,049")
        return await talk.refusal("that length")


@check("INV-014", "shows no contact to who has proven nothing", needs=INVITE)
async def _no_card(context: Context) -> str:
    nameplate = context.random.randrange(1, 1_000)
    async with _guest(context) as talk:
        hello = encode({0: _HELLO, 1: nameplate, 2: 2})
        await talk.say(encode_frame(hello), f"we want to pair on {nameplate}")
        answer = await _answer(talk)
        if answer[0] == _REFUSAL:
            return f"refused: {answer[1]}"
        await talk.say(encode_frame(encode(_FIELDS["card"])), "a card without a proof")
        return await talk.refusal("a card without a proof")


@check("INV-015", "tells of the nameplate that it is asked for, and ends the stream", needs=INVITE)
async def _asked(context: Context) -> str:
    nameplate = context.random.randrange(1, 1_000)
    async with _guest(context) as talk:
        hello = encode({0: _HELLO, 1: nameplate, 2: _ASK})
        await talk.say(encode_frame(hello), f"is there an invite {nameplate}?")
        answer = await _answer(talk)
        if answer[0] == _OFFER and [each[0] for each in answer[1]] != [nameplate]:
            raise CheckFailed("it tells of other nameplates than the one it was asked for")
        await talk.refusal("a hello that only asks")
    return "an offer" if answer[0] == _OFFER else f"refused: {answer[1]}"


@check("INV-043", "answers nameplate 0 with a list, and ends the stream", needs=INVITE)
async def _listed(context: Context) -> str:
    async with _guest(context) as talk:
        await talk.say(encode_frame(encode({0: _HELLO, 1: 0, 2: _ASK})), "what is there?")
        answer = await _answer(talk)
        if answer[0] != _OFFER:
            raise CheckFailed(f"it refuses the question: {answer[1]}")
        await talk.refusal("a hello that only asks")
    return f"{len(answer[1])} invites"


@check("INV-044", "bounds the questions of one peer", needs=INVITE)
async def _flood(context: Context) -> str:
    answered = 0
    question = encode_frame(encode({0: _HELLO, 1: 0, 2: _ASK}))
    async with admitted(context, INVITE) as visitor:
        for _ in range(_QUESTIONS):
            talk = await visitor.open(INVITE, max_bytes=_MAX_MESSAGE)
            await talk.say(question, "what is there?")
            try:
                answer = await talk.answer_or_end("a question")
            except FogError:
                talk.stream.reset()
                raise
            talk.stream.reset()
            if answer is None or decode_kind(answer) == _REFUSAL:
                return f"refused after {answered} questions"
            answered += 1
    raise CheckFailed(f"{_QUESTIONS} questions, one behind the other, were all answered")


def decode_kind(data: bytes) -> int:
    """The number of a message."""
    schema = Schema.load("invite/v1.cddl", "message")
    found: dict[int, int] = decode(data, schema=schema, max_bytes=_MAX_MESSAGE)
    return found[0]
