"""specs/kad, as a peer that asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from fogp2p import protobuf
from fogp2p.conformance.context import Context, Talk, Visitor
from fogp2p.conformance.errors import CheckFailed
from fogp2p.conformance.model import check
from fogp2p.errors import RemoteProtocolError
from fogp2p.framing import encode_frame, encode_varint
from fogp2p.ids import PeerId, ProtocolId

KAD: Final = ProtocolId("/fogp2p/kad/1.0.0")
_MAX_REQUEST: Final = 8 * 1024
_MAX_RESPONSE: Final = 64 * 1024
_K: Final = 20
_BURST: Final = 100
_PUT_VALUE, _GET_VALUE, _ADD_PROVIDER, _GET_PROVIDERS, _FIND_NODE, _PING = range(6)
_TYPES: Final = protobuf.define(
    "fogp2p.conformance.kad",
    {
        "Record": [("key", 1, "bytes"), ("value", 2, "bytes")],
        "Peer": [("id", 1, "bytes"), ("addrs", 2, "bytes*"), ("connection", 3, "int32")],
        "Message": [
            ("type", 1, "int32"),
            ("key", 2, "bytes"),
            ("record", 3, "Record"),
            ("closerPeers", 8, "Peer*"),
            ("providerPeers", 9, "Peer*"),
        ],
    },
)


def _request(kind: int, key: bytes = b"") -> Any:
    return _TYPES["Message"](type=kind, key=key)


def _framed(request: Any) -> bytes:
    return encode_frame(request.SerializeToString(), max_bytes=2 * _MAX_REQUEST)


@asynccontextmanager
async def _asking(context: Context) -> AsyncIterator[tuple[Visitor, Talk]]:
    async with context.visitor() as visitor:
        talk = await visitor.open(KAD, max_bytes=_MAX_RESPONSE)
        try:
            yield visitor, talk
        finally:
            talk.stream.reset()


async def _response(talk: Talk, kind: int) -> Any:
    try:
        found = protobuf.parse(_TYPES["Message"], await talk.frame("response"), code="kad-message")
    except RemoteProtocolError as exc:
        raise CheckFailed("the response is no protobuf") from exc
    if found.type != kind:
        raise CheckFailed(f"a response of type {found.type} to a request of type {kind}")
    return found


async def _refused(context: Context, data: bytes, what: str) -> str:
    async with _asking(context) as (_, talk):
        await talk.say(data, what)
        return await talk.refusal(what)


def _key(context: Context) -> bytes:
    """A multihash of nothing that exists."""
    return b"\x12\x20" + context.random.randbytes(32)


@check("KAD-001a", "refuses a request of more than 8 KiB by its length", needs=KAD)
async def _long(context: Context) -> str:
    return await _refused(context, encode_varint(_MAX_REQUEST + 1), "a length of 8 KiB and 1")


@check("KAD-001b", "refuses a request without a key", needs=KAD)
async def _no_key(context: Context) -> str:
    return await _refused(context, _framed(_request(_FIND_NODE)), "FIND_NODE without a key")


@check("KAD-001c", "refuses a key of more than 80 bytes", needs=KAD)
async def _long_key(context: Context) -> str:
    return await _refused(context, _framed(_request(_FIND_NODE, bytes(81))), "a key of 81 bytes")


@check("KAD-001d", "refuses a kind it does not know", needs=KAD)
async def _unknown(context: Context) -> str:
    return await _refused(context, _framed(_request(77, _key(context))), "a request of type 77")


@check("KAD-001e", "refuses garbage", needs=KAD)
async def _garbage(context: Context) -> str:
    data = b"\x12\xff\xff\x03" + context.random.randbytes(40)
    found = await _refused(context, encode_frame(data), "garbage")
    await context.still_serves()
    return found


async def _announce(context: Context, records: list[tuple[bytes, list[bytes]]]) -> set[bytes]:
    """ADD_PROVIDER with these records, then who is named as provider, and us as None."""
    key = _key(context)
    async with _asking(context) as (visitor, talk):
        request = _request(_ADD_PROVIDER, key)
        for name, addresses in records:
            request.providerPeers.add(id=name or visitor.peer_id.raw, addrs=addresses)
        await talk.say(_framed(request), "ADD_PROVIDER")
        await talk.say(_framed(_request(_GET_PROVIDERS, key)), "GET_PROVIDERS")
        found = await _response(talk, _GET_PROVIDERS)
        named = {bytes(each.id) for each in found.providerPeers}
        return {b"" if name == visitor.peer_id.raw else name for name in named}


@check("KAD-002", "skips malformed peers and addresses, and keeps the rest", needs=KAD)
async def _malformed(context: Context) -> str:
    records = [(b"no peer id", [b""]), (b"", [b"\xff\xff", context.random.randbytes(9)])]
    if await _announce(context, records) != {b""}:
        raise CheckFailed("the good record beside malformed ones is not kept")
    return "one good record of two was kept"


@check("KAD-003a", "answers FIND_NODE with 20 peers at most, without the asker", needs=KAD)
async def _find_node(context: Context) -> str:
    async with _asking(context) as (visitor, talk):
        await talk.say(_framed(_request(_FIND_NODE, _key(context))), "FIND_NODE")
        found = await _response(talk, _FIND_NODE)
        names = [bytes(each.id) for each in found.closerPeers]
        if len(names) > _K or visitor.peer_id.raw in names:
            raise CheckFailed(f"{len(names)} peers, the asker among them or not")
    return f"{len(names)} peers"


@check("KAD-003b", "names the peer that is looked for, if it is connected", needs=KAD)
async def _connected(context: Context) -> str:
    async with context.visitor() as other, _asking(context) as (_, talk):
        await talk.say(_framed(_request(_FIND_NODE, other.peer_id.raw)), "FIND_NODE")
        found = await _response(talk, _FIND_NODE)
        if other.peer_id.raw not in [bytes(each.id) for each in found.closerPeers]:
            raise CheckFailed("a connected peer is not named when it is looked for")
    return "named"


@check("KAD-004a", "takes an announcement for the sender only", needs=KAD)
async def _for_itself(context: Context) -> str:
    other = context.identity().peer_id
    named = await _announce(context, [(other.raw, []), (b"", [])])
    if other.raw in named:
        raise CheckFailed("somebody else was announced, and is named as provider")
    if b"" not in named:
        raise CheckFailed("the sender itself is not kept as provider")
    return f"{PeerId.from_bytes(other.raw).short} was not taken, the sender was"


@check("KAD-004b", "does not answer ADD_PROVIDER", needs=KAD)
async def _no_response(context: Context) -> str:
    async with _asking(context) as (visitor, talk):
        request = _request(_ADD_PROVIDER, _key(context))
        request.providerPeers.add(id=visitor.peer_id.raw)
        await talk.say(_framed(request), "ADD_PROVIDER")
        await talk.say(_framed(_request(_PING)), "PING")
        await _response(talk, _PING)
    return "the next request's answer came first"


@check("KAD-006", "refuses PUT_VALUE", needs=KAD)
async def _put_value(context: Context) -> str:
    key = _key(context)
    request = _request(_PUT_VALUE, key)
    request.record.key, request.record.value = key, b"value"
    return await _refused(context, _framed(request), "PUT_VALUE")


@check("KAD-011", "bounds how much one peer may ask at once", needs=KAD)
async def _bounded(context: Context) -> str:
    asked, answered = 4 * _BURST, 0
    async with _asking(context) as (_, talk):
        # A few at a time, so that the answers are read and nothing waits for a window.
        for _ in range(asked // 20):
            await talk.say(_framed(_request(_PING)) * 20, "20 requests")
            try:
                for _ in range(20):
                    await _response(talk, _PING)
                    answered += 1
            except CheckFailed as exc:
                context.transcript.note(f"after {answered} answers: {exc}")
                break
    if not 1 <= answered < asked:
        raise CheckFailed(f"{answered} of {asked} requests at once were answered")
    return f"{answered} of {asked} requests were answered"
