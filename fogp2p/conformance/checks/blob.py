"""specs/blob: what a peer answers, and what it takes when a file is offered to it.

What it has taken as a whole stays with it: five bytes, which make room when anything needs it.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import trio

from fogp2p.codec import Schema, decode, encode
from fogp2p.conformance.config import CONNECT_TIMEOUT_S, SILENCE_S
from fogp2p.conformance.context import Context, Talk
from fogp2p.conformance.errors import CheckFailed, NotApplicable
from fogp2p.conformance.handshake import admitted
from fogp2p.conformance.model import check
from fogp2p.framing import FrameDecoder, encode_frame, encode_varint, read_frame
from fogp2p.host import Stream
from fogp2p.ids import ProtocolId

BLOB: Final = ProtocolId("/fog/blob/1.0.0")
_MAX_REPLY: Final = 262_144 + 64
_MAX_REQUEST: Final = 1_024
_CHUNK: Final = 262_144
_OK, _UNKNOWN, _BUSY, _REFUSED = (bytes((status,)) for status in range(4))
# More than any bound that makes sense for one peer, fewer than a connection has streams.
_STREAMS: Final = 48
# A peer that is busy with the offers of other checks has time again after this.
_BUSY_S: Final = 1.0
_TRIES: Final = 10


def _cid(manifest: bytes) -> bytes:
    return b"\x01\x51\x12\x20" + hashlib.sha256(manifest).digest()


def _manifest(content: bytes, **changes: Any) -> bytes:
    """Of a content of one chunk; `f2=...` changes field 2."""
    fields: dict[int, Any] = {
        1: 1,
        2: len(content),
        3: _CHUNK,
        4: "sha2-256",
        5: hashlib.sha256(content).digest(),
    }
    return encode(fields | {int(name[1:]): value for name, value in changes.items()})


def _framed(request: Mapping[int, Any]) -> bytes:
    return encode_frame(encode(dict(request)))


@asynccontextmanager
async def _asker(context: Context) -> AsyncIterator[Talk]:
    async with admitted(context, BLOB) as visitor:
        talk = await visitor.open(BLOB, max_bytes=_MAX_REPLY)
        try:
            yield talk
        finally:
            talk.stream.reset()


async def _refused(context: Context, fields: Mapping[int, Any], what: str) -> str:
    async with _asker(context) as talk:
        await talk.say(_framed({2: _cid(context.random.randbytes(32)), **fields}), what)
        return await talk.refusal(what)


# --- a peer that is asked -------------------------------------------------------------------------


@check("BLO-010a", "refuses a chunk request without a number", needs=BLOB)
async def _no_number(context: Context) -> str:
    return await _refused(context, {1: "chunk"}, "a chunk without its number")


@check("BLO-010b", "refuses a request with another kind's field", needs=BLOB)
async def _other_field(context: Context) -> str:
    return await _refused(context, {1: "have", 4: "name"}, "a have with a name")


@check("BLO-010c", "refuses a request of no known kind", needs=BLOB)
async def _other_kind(context: Context) -> str:
    return await _refused(context, {1: "delete"}, "a delete")


@check("BLO-010d", "refuses a request of more than 1,024 bytes by its length", needs=BLOB)
async def _long(context: Context) -> str:
    async with _asker(context) as talk:
        await talk.say(encode_varint(_MAX_REQUEST + 1), "a length of 1,025")
        return await talk.refusal("that length")


@check("BLO-013a", "answers what it does not have with status 1 alone, in order", needs=BLOB)
async def _not_here(context: Context) -> str:
    cid = _cid(context.random.randbytes(32))
    requests: list[dict[int, Any]] = [
        {1: "have", 2: cid},
        {1: "manifest", 2: cid, 3: 0},
        {1: "chunk", 2: cid, 3: 0},
    ]
    async with _asker(context) as talk:
        await talk.say(b"".join(map(_framed, requests)), "have, manifest and chunk of nobody's")
        for request in requests:
            if await talk.frame(f"answer to {request[1]}") != _UNKNOWN:
                raise CheckFailed(f"the answer to {request[1]} is not status 1 alone")
    return f"{len(requests)} answers"


@check("BLO-014", "bounds the streams of one peer, and says so", needs=BLOB)
async def _many_streams(context: Context) -> str:
    question = _framed({1: "have", 2: _cid(context.random.randbytes(32))})
    async with admitted(context, BLOB) as visitor:
        held: list[Talk] = []
        try:
            for _ in range(_STREAMS):
                talk = await visitor.open(BLOB, max_bytes=_MAX_REPLY)
                held.append(talk)
                await talk.say(question, "have of nobody's, and the stream stays open")
                answer = await talk.answer_or_end("a question")
                if answer == _BUSY:
                    await talk.refusal("one stream more")
                    return f"busy after {len(held) - 1} streams"
                if answer is None:
                    raise CheckFailed(f"stream {len(held)} is cut off without the word busy")
        finally:
            for talk in held:
                talk.stream.reset()
    raise CheckFailed(f"{_STREAMS} streams of one peer were served at once")


# --- a peer that is offered a file ----------------------------------------------------------------


@dataclass(slots=True)
class _Source:
    """Serves one blob, truthfully but for its check's lie; and knows what was asked of it."""

    context: Context
    content: bytes
    manifest: bytes
    lies: Mapping[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    news: trio.Event = field(default_factory=trio.Event)

    @property
    def cid(self) -> bytes:
        """What we say its name is."""
        return self.lies.get("cid", _cid(self.manifest))

    async def serve(self, stream: Stream) -> None:
        """The answers of section 3."""
        decoder = FrameDecoder(max_bytes=_MAX_REQUEST)
        schema = Schema.load("blob/v1.cddl", "request")
        honest = {
            "have": _OK + b"\x01",
            "manifest": _OK + self.manifest,
            "chunk": _OK + self.content,
        }
        while (frame := await read_frame(stream, decoder)) is not None:
            self.context.transcript.received(frame, "a request for what we offered")
            request = decode(frame, schema=schema, max_bytes=_MAX_REQUEST)
            kind = request[1]
            if request[2] != self.cid:  # of another check: a peer asks everybody it knows
                await stream.write_all(encode_frame(_UNKNOWN))
                continue
            self.asked.append(kind)
            self.news.set()
            self.news = trio.Event()
            answer = self.lies.get(kind, honest.get(kind, _REFUSED))
            await stream.write_all(encode_frame(answer, max_bytes=_MAX_REPLY))

    async def until_asked(self, kind: str) -> None:
        """Wait until that was asked for. Raises CheckFailed."""
        with trio.move_on_after(CONNECT_TIMEOUT_S):
            while kind not in self.asked:
                await self.news.wait()
            return
        raise CheckFailed(f"the peer accepted the offer and never asks for {kind}")


@asynccontextmanager
async def _offered(
    context: Context, make: Callable[[bytes], _Source]
) -> AsyncIterator[tuple[_Source, Talk]]:
    """A file of ours that the peer has said it will fetch. Raises NotApplicable."""
    source = make(context.random.randbytes(5))
    async with admitted(context, BLOB, {BLOB: source.serve}) as visitor:
        for _ in range(_TRIES):
            talk = await visitor.open(BLOB, max_bytes=_MAX_REPLY)
            fields = {1: "offer", 2: source.cid, 4: "conformance.bin"}
            await talk.say(_framed(fields), "an offer of five bytes")
            answer = await talk.frame("answer to an offer")
            if answer == _OK:
                try:
                    yield source, talk
                finally:
                    talk.stream.reset()
                return
            if answer != _BUSY:
                break
            await trio.sleep(_BUSY_S)
    raise NotApplicable("the peer takes no files")


async def _never_has_it(source: _Source, talk: Talk, kind: str) -> str:
    """It asked, was lied to, and must not say that it has the chunk, nor ask for more."""
    await source.until_asked(kind)
    before = len(source.asked)
    with trio.move_on_after(2 * SILENCE_S):
        while (answer := await talk.answer_or_end("what it was offered")) is not None:
            if answer == _OK + (1).to_bytes(4):
                raise CheckFailed(f"it says that it has what came with a false {kind}")
            if answer == _REFUSED:
                return "given up"
    if "chunk" in source.asked[before:]:
        raise CheckFailed(f"it asks for more behind a false {kind}")
    return "not taken"


@check("BLO-001", "takes no manifest that is not what the CID names", needs=BLOB)
async def _false_manifest(context: Context) -> str:
    def make(content: bytes) -> _Source:
        return _Source(context, content, _manifest(content), {"cid": _cid(b"another")})

    async with _offered(context, make) as (source, talk):
        return await _never_has_it(source, talk, "manifest")


@check("BLO-002", "takes no manifest with fewer hashes than its size asks for", needs=BLOB)
async def _lying_manifest(context: Context) -> str:
    def make(content: bytes) -> _Source:
        return _Source(context, content, _manifest(content, f2=_CHUNK + 5))

    async with _offered(context, make) as (source, talk):
        return await _never_has_it(source, talk, "manifest")


@check("BLO-011a", "takes no chunk that is not what the manifest names", needs=BLOB)
async def _false_chunk(context: Context) -> str:
    def make(content: bytes) -> _Source:
        return _Source(context, content, _manifest(content), {"chunk": _OK + b"false"})

    async with _offered(context, make) as (source, talk):
        return await _never_has_it(source, talk, "chunk")


@check("BLO-011b", "fetches what is offered, says so, and gives it out", needs=BLOB)
async def _fetches(context: Context) -> str:
    def make(content: bytes) -> _Source:
        return _Source(context, content, _manifest(content))

    async with _offered(context, make) as (source, talk):
        while (answer := await talk.frame("how far it is")) != _OK + (1).to_bytes(4):
            if answer[:1] != _OK:
                raise CheckFailed("it gave up fetching what we serve truthfully")
    async with _asker(context) as other:
        await other.say(_framed({1: "chunk", 2: source.cid, 3: 0}), "the chunk, for somebody else")
        if await other.frame("the chunk") != _OK + source.content:
            raise CheckFailed("what it gives out is not what it was given")
    return "fetched, and given to somebody else"


@check("BLO-012", "takes no bitmap with a spare bit", needs=BLOB)
async def _false_bitmap(context: Context) -> str:
    def make(content: bytes) -> _Source:
        return _Source(context, content, _manifest(content), {"have": _OK + b"\x03"})

    async with _offered(context, make) as (source, talk):
        return await _never_has_it(source, talk, "have")


@check("BLO-013b", "takes no answer of an unknown status", needs=BLOB)
async def _false_status(context: Context) -> str:
    def make(content: bytes) -> _Source:
        return _Source(context, content, _manifest(content), {"manifest": b"\x07"})

    async with _offered(context, make) as (source, talk):
        return await _never_has_it(source, talk, "manifest")
