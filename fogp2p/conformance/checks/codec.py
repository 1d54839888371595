"""specs/framing and specs/codec, as seen through the first message of the version handshake."""

from __future__ import annotations

from typing import Any, Final

import trio

from fogp2p.codec import encode
from fogp2p.conformance.context import Context
from fogp2p.conformance.errors import CheckFailed
from fogp2p.conformance.handshake import (
    MAX_HELLO_BYTES,
    VERSION,
    agreed,
    calling,
    framed,
    hello,
    read_hello,
)
from fogp2p.conformance.model import check
from fogp2p.framing import encode_varint

# Where the key 7 (of later versions) stands in the map: readers skip it, after checking its form.
_LATER: Final = 7


async def _refused(context: Context, data: bytes, what: str, *, end: bool = False) -> str:
    async with calling(context) as (_, talk):
        await talk.say(data, what)
        if end:
            await talk.end()
        return await talk.refusal(what)


def _hello(context: Context, **changes: Any) -> bytes:
    return encode(hello(context.random.randbytes(32), **changes))


def _with_later(context: Context, raw: bytes) -> bytes:
    """A hello with the encoded item `raw` under key 7."""
    message = hello(context.random.randbytes(32), extra={_LATER: None})
    data = encode(message)
    if not data.endswith(bytes([_LATER, 0xF6])):
        raise CheckFailed("the conformance kit itself is wrong: key 7 is not the last")
    return data[:-1] + raw


# --- framing -------------------------------------------------------------------------------------


@check("FRM-001a", "refuses a length of ten bytes", needs=VERSION)
async def _ten_bytes(context: Context) -> str:
    return await _refused(context, b"\xff" * 9 + b"\x01", "a varint of ten bytes")


@check("FRM-001b", "refuses a length longer than needed", needs=VERSION)
async def _long_form(context: Context) -> str:
    message = _hello(context)
    size = len(message)
    longer = bytes([size & 0x7F | 0x80, size >> 7 | 0x80, 0])
    return await _refused(context, longer + message, "a varint with a zero byte at its end")


@check("FRM-002", "refuses a frame by its length alone", needs=VERSION)
async def _by_length(context: Context) -> str:
    head = encode_varint(MAX_HELLO_BYTES + 1)
    return await _refused(context, head, f"a length of {MAX_HELLO_BYTES + 1}, and nothing else")


@check("FRM-003", "refuses a stream that ends inside a frame", needs=VERSION)
async def _cut(context: Context) -> str:
    return await _refused(context, framed(_hello(context))[:-1], "all but a byte", end=True)


@check("FRM-004", "reads frames however the stream is cut", needs=VERSION)
async def _pieces(context: Context) -> str:
    data = framed(_hello(context))
    async with calling(context) as (_, talk):
        for at in range(0, len(data), 3):
            await talk.say(data[at : at + 3], "three bytes")
            await trio.lowlevel.checkpoint()
        await read_hello(talk)
    return f"{-(-len(data) // 3)} pieces"


# --- codec ---------------------------------------------------------------------------------------


@check("COD-001", "writes deterministic CBOR itself", needs=VERSION)
async def _deterministic(context: Context) -> str:
    # `agreed` reads both of its messages with a reader that takes nothing else.
    async with agreed(context, echo=()) as run:
        return f"hello and choice of version {run.version}"


_FORMS: Final = {
    "a": ("an integer longer than needed", b"\x18\x05"),
    "b": ("a string of indefinite length", b"\x5f\x41\x00\xff"),
    "c": ("a map with a key twice", b"\xa2\x01\x00\x01\x00"),
    "d": ("a map whose keys are out of order", b"\xa2\x02\x00\x01\x00"),
    "e": ("a tag", b"\xc0\x61\x61"),
    "f": ("a floating point number", b"\xf9\x3c\x00"),
    "g": ("text that is not UTF-8", b"\x62\xc3\x28"),
    "h": ("an undefined simple value", b"\xf7"),
    "i": ("a string longer than the message", b"\x5a\x7f\xff\xff\xff"),
    "j": ("a byte behind the message", b"\xf6\x00"),
}


def _enter_form(letter: str, what: str, raw: bytes) -> None:
    @check(f"COD-002{letter}", f"refuses {what}", needs=VERSION)
    async def _(context: Context) -> str:
        return await _refused(context, framed(_with_later(context, raw)), what)


for _letter, (_what, _raw) in _FORMS.items():
    _enter_form(_letter, _what, _raw)


@check("COD-003a", "refuses nesting below 16 levels", needs=VERSION)
async def _deep(context: Context) -> str:
    raw = b"\x81" * 17 + b"\x00"
    return await _refused(context, framed(_with_later(context, raw)), "18 levels")


@check("COD-003b", "refuses more than 10,000 items", needs=VERSION)
async def _many(context: Context) -> str:
    count = 10_001
    raw = b"\x99" + count.to_bytes(2) + bytes(count)
    return await _refused(context, framed(_with_later(context, raw)), f"{count} items")


@check("COD-004", "refuses a message of another schema", needs=VERSION)
async def _schema(context: Context) -> str:
    message = encode(hello(context.random.randbytes(31)))
    return await _refused(context, framed(message), "a hello with a nonce of 31 bytes")


@check("COD-005", "verifies and signs bytes as they were received", needs=VERSION)
async def _as_received(context: Context) -> str:
    # Keys that a reader skips are in what both sign: encoding what was understood loses them.
    later = {_LATER: [1, "later"], 99: context.random.randbytes(16)}
    async with agreed(context, echo=(), extra=later):
        return "signatures over a hello with unknown keys verify"
