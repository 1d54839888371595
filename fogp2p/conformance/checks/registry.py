"""specs/registry. What we push lives for a minute at the peer, under keys used only once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import trio

from fogp2p.codec import Schema, decode, encode
from fogp2p.conformance.config import CONNECT_TIMEOUT_S
from fogp2p.conformance.context import Context, Talk, Visitor
from fogp2p.conformance.descriptor import TYPE, described, envelope, read_envelope, sealed
from fogp2p.conformance.errors import CheckFailed, NotApplicable
from fogp2p.conformance.handshake import admitted
from fogp2p.conformance.model import check
from fogp2p.environment import real_environment
from fogp2p.errors import RemoteProtocolError
from fogp2p.framing import FrameDecoder, encode_frame, encode_varint, read_frame
from fogp2p.host import Stream
from fogp2p.ids import ProtocolId

REGISTRY: Final = ProtocolId("/fog/registry/1.0.0")
_MAX_MESSAGE: Final = 4_160
_KEPT, _KNOWN, _SUPERSEDED, _REFUSED = range(4)
# More than the sixteen questions that are answered at once, and the one a second after them.
_QUESTIONS: Final = 24
_ROLE: Final = "x-conformance"


class _Asker:
    """A peer with a descriptor of its own."""

    def __init__(self, visitor: Visitor, talk: Talk) -> None:
        self.visitor, self.talk = visitor, talk
        self.identity, self.peer = visitor.identity, visitor.peer_id

    def own(self, sequence: int, **changes: Any) -> bytes:
        """A descriptor of ours, in its envelope."""
        return sealed(self.identity, described(self.peer, sequence, _now(), **changes))

    async def say(self, request: list[Any], note: str) -> None:
        """Send one request."""
        await self.talk.say(encode_frame(encode(request), max_bytes=1 << 20), note)

    async def push(self, data: bytes, note: str) -> tuple[int, bytes | None]:
        """Verdict and what is held instead. Raises CheckFailed."""
        await self.say([1, data], note)
        found = _read(await self.talk.frame("receipt"), "receipt")
        return found[1], found[2]

    async def ask(self, request: list[Any], note: str) -> tuple[list[bytes], int]:
        """Envelopes, and how many fit altogether. Raises CheckFailed."""
        await self.say(request, note)
        _, count, total = _read(await self.talk.frame("answer"), "answer")
        return [await self.talk.frame(f"envelope {n + 1}") for n in range(count)], total

    async def refuses(self, data: bytes, what: str) -> str:
        """The peer ends the stream, or says that it does not take it. Raises CheckFailed."""
        await self.say([1, data], what)
        found = await self.talk.answer_or_end(what)
        if found is None:
            return "the stream was ended"
        if _read(found, "receipt")[1] != _REFUSED:
            raise CheckFailed(f"the peer took {what}")
        return "not taken"


def _now() -> int:
    return int(real_environment().clock.wall())


def _read(data: bytes, rule: str) -> Any:
    try:
        return decode(data, schema=Schema.load("registry/v1.cddl", rule), max_bytes=_MAX_MESSAGE)
    except RemoteProtocolError as exc:
        raise CheckFailed(f"the peer's {rule} is none: {exc}") from exc


@asynccontextmanager
async def _asker(context: Context) -> AsyncIterator[_Asker]:
    async with admitted(context, REGISTRY) as visitor:
        talk = await visitor.open(REGISTRY, max_bytes=_MAX_MESSAGE)
        try:
            yield _Asker(visitor, talk)
        finally:
            talk.stream.reset()


async def _kept(one: _Asker, data: bytes) -> None:
    """Push what has to be kept. Raises NotApplicable where the clocks are too far apart."""
    verdict, _ = await one.push(data, "a descriptor of ours")
    if verdict == _REFUSED:
        raise NotApplicable("the peer has no room, or another date than this machine")
    if verdict != _KEPT:
        raise CheckFailed(f"the first descriptor of a peer gets the verdict {verdict}")


@check("REG-001a", "refuses an envelope of more than 4,096 bytes by its length", needs=REGISTRY)
async def _long(context: Context) -> str:
    async with _asker(context) as one:
        await one.talk.say(encode_varint(_MAX_MESSAGE + 1), "a length of 4,161")
        return await one.talk.refusal("that length")


@check("REG-001b", "refuses a descriptor of more than 1,024 items", needs=REGISTRY)
async def _many(context: Context) -> str:
    async with _asker(context) as one:
        return await one.refuses(one.own(1, f12={"org.example": [0] * 1_100}), "1,100 items")


@check("REG-002a", "refuses an envelope in another order", needs=REGISTRY)
async def _order(context: Context) -> str:
    async with _asker(context) as one:
        data = one.own(1)
        end = data.index(b"\x1a", data.index(TYPE))
        start = data.index(b"\x12\x14" + TYPE)
        return await one.refuses(data[start:end] + data[:start] + data[end:], "fields out of order")


@check("REG-002b", "refuses an envelope with a byte more", needs=REGISTRY)
async def _longer(context: Context) -> str:
    async with _asker(context) as one:
        return await one.refuses(one.own(1) + b"\0", "a byte behind the envelope")


@check("REG-002c", "refuses garbage, and goes on serving others", needs=REGISTRY)
async def _garbage(context: Context) -> str:
    async with _asker(context) as one:
        parts = tuple(context.random.randbytes(40) for _ in range(4))
        found = await one.refuses(envelope((parts[0], parts[1], parts[2], parts[3])), "garbage")
    await context.still_serves()
    return found


@check("REG-003", "refuses a key that names no peer", needs=REGISTRY)
async def _key(context: Context) -> str:
    async with _asker(context) as one:
        data = one.own(1).replace(b"\x08\x01\x12\x20", b"\x08\x00\x12\x20", 1)
        return await one.refuses(data, "a key of another type")


@check("REG-004", "refuses another payload type", needs=REGISTRY)
async def _kind(context: Context) -> str:
    async with _asker(context) as one:
        fields = described(one.peer, 1, _now())
        return await one.refuses(sealed(one.identity, fields, b"/fog/other"), "another type")


@check("REG-005", "refuses a descriptor of somebody else than its signer", needs=REGISTRY)
async def _other(context: Context) -> str:
    async with _asker(context) as one:
        fields = described(context.identity().peer_id, 1, _now())
        return await one.refuses(sealed(one.identity, fields), "a descriptor of another peer")


@check("REG-006", "refuses a flipped bit in the signature", needs=REGISTRY)
async def _forged(context: Context) -> str:
    async with _asker(context) as one:
        data = bytearray(one.own(1))
        data[-1 - context.random.randrange(32)] ^= 1  # in s, whose highest byte is never full
        return await one.refuses(bytes(data), "a forged signature")


@check("REG-010a", "refuses a life of more than an hour", needs=REGISTRY)
async def _lives_long(context: Context) -> str:
    async with _asker(context) as one:
        return await one.refuses(one.own(1, f4=_now() + 3_700), "a life of 3,700 s")


@check("REG-010b", "refuses an end before the beginning", needs=REGISTRY)
async def _backwards(context: Context) -> str:
    async with _asker(context) as one:
        now = _now()
        return await one.refuses(one.own(1, f3=now + 60, f4=now + 30), "an end before its issue")


@check("REG-011a", "refuses a descriptor of the future", needs=REGISTRY)
async def _future(context: Context) -> str:
    async with _asker(context) as one:
        now = _now()
        return await one.refuses(one.own(1, f3=now + 900, f4=now + 960), "one of in 15 minutes")


@check("REG-011b", "refuses what has expired", needs=REGISTRY)
async def _expired(context: Context) -> str:
    async with _asker(context) as one:
        now = _now()
        return await one.refuses(one.own(1, f3=now - 1_000, f4=now - 900), "an expired one")


@check("REG-012a", "refuses roles that do not ascend", needs=REGISTRY)
async def _roles(context: Context) -> str:
    async with _asker(context) as one:
        return await one.refuses(one.own(1, f6=["x-b", "x-a"]), "roles that descend")


@check("REG-012b", "refuses a name with a capital letter", needs=REGISTRY)
async def _name(context: Context) -> str:
    async with _asker(context) as one:
        return await one.refuses(one.own(1, f9={"CPU": 1}), "a capital letter in a name")


@check("REG-013", "keeps names and members that it does not know", needs=REGISTRY)
async def _unknown(context: Context) -> str:
    async with _asker(context) as one:
        extra = {"x-unheard-of": 7}
        data = one.own(1, f9=extra, f12={"org.example": [1]}, f99="of a later version")
        await _kept(one, data)
        found, _ = await one.ask([3, one.peer.raw], "lookup of ours")
        if found != [data]:
            raise CheckFailed("a lookup does not give back the bytes that were pushed")
    return "the same bytes came back"


@check("REG-014", "refuses a mix key of 31 bytes", needs=REGISTRY)
async def _short_key(context: Context) -> str:
    async with _asker(context) as one:
        return await one.refuses(one.own(1, f7={"mix": bytes(31)}), "a key of 31 bytes")


@check("REG-030", "pushes its own descriptor once the protocol is agreed", needs=REGISTRY)
async def _pushes(context: Context) -> str:
    send, pushed = trio.open_memory_channel[bytes](8)

    async def listen(stream: Stream) -> None:
        decoder = FrameDecoder(max_bytes=_MAX_MESSAGE)
        while (frame := await read_frame(stream, decoder)) is not None:
            context.transcript.received(frame, "a request")
            await stream.write_all(encode_frame(encode([1, _KEPT, None])))
            await send.send(frame)

    async with admitted(context, REGISTRY, {REGISTRY: listen}):
        try:
            with trio.fail_after(CONNECT_TIMEOUT_S):
                request = _read(await pushed.receive(), "request")
        except trio.TooSlowError:
            raise CheckFailed("it never says who it is") from None
    if request[0] != 1:
        raise CheckFailed("its first request is no push")
    fields = read_envelope(request[1], context.target.peer)
    return f"sequence {fields[2]}, roles {', '.join(fields[6]) or 'none'}"


@check("REG-031", "says kept, and known to the same again", needs=REGISTRY)
async def _receipts(context: Context) -> str:
    async with _asker(context) as one:
        data = one.own(5)
        await _kept(one, data)
        if (again := (await one.push(data, "the same again"))[0]) != _KNOWN:
            raise CheckFailed(f"the same again gets the verdict {again}")
    return "kept, known"


@check("REG-032", "answers a query with no more than was asked for, all alive", needs=REGISTRY)
async def _query(context: Context) -> str:
    async with _asker(context) as one:
        await _kept(one, one.own(1))
        found, total = await one.ask([2, _ROLE, 1], "one of this role")
        if len(found) != 1 or total < 1:
            raise CheckFailed(f"{len(found)} of {total} where one was asked for and one is held")
        more, total = await one.ask([2, _ROLE, 64], "64 of this role")
        if len(more) > min(64, total):
            raise CheckFailed(f"{len(more)} descriptors of {total}")
    return f"1 of {total}, then {len(more)}"


@check("REG-033", "refuses a query for what is no role", needs=REGISTRY)
async def _no_role(context: Context) -> str:
    async with _asker(context) as one:
        await one.say([2, "No Role", 1], "a query for no role")
        return await one.talk.refusal("a query for no role")


@check("REG-034", "bounds the questions of one peer", needs=REGISTRY)
async def _flood(context: Context) -> str:
    async with _asker(context) as one:
        frame = encode_frame(encode([2, "x-nobody", 1]))
        await one.talk.say(frame * _QUESTIONS, f"{_QUESTIONS} queries at once")
        answered = 0
        while await one.talk.answer_or_end("a flood of queries") is not None:
            answered += 1
            if answered == _QUESTIONS:
                raise CheckFailed(f"all {_QUESTIONS} queries at once were answered")
    return f"{answered} of {_QUESTIONS} were answered"


@check("REG-040", "does not go back to a lower sequence", needs=REGISTRY)
async def _lower(context: Context) -> str:
    async with _asker(context) as one:
        newer = one.own(9)
        await _kept(one, newer)
        verdict, held = await one.push(one.own(8), "an older one")
        if (verdict, held) != (_SUPERSEDED, newer):
            raise CheckFailed(f"an older descriptor gets the verdict {verdict}")
    return "superseded, with the newer one"


@check("REG-041", "believes nobody who signs two of one sequence", needs=REGISTRY)
async def _twice(context: Context) -> str:
    async with _asker(context) as one:
        await _kept(one, one.own(3))
        await one.push(one.own(3, f10="another text"), "another of the same sequence")
        found, _ = await one.ask([3, one.peer.raw], "lookup of ours")
        if found:
            raise CheckFailed("it still gives out a descriptor of who signed two")
    return "gives out neither"


@check("REG-044", "gives out nothing that has expired", needs=REGISTRY, patient=True)
async def _gone(context: Context) -> str:
    async with _asker(context) as one:
        await _kept(one, one.own(1, f4=_now() + 3))
        await trio.sleep(4.0)
        found, _ = await one.ask([3, one.peer.raw], "lookup of ours")
        if found:
            raise CheckFailed("an expired descriptor is given out")
    return "gone after its 3 s"
