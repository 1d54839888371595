"""specs/versioning, in both roles."""

from __future__ import annotations

from typing import Any, Final

import trio

from fogp2p.codec import encode
from fogp2p.conformance.context import Context
from fogp2p.conformance.errors import CheckFailed
from fogp2p.conformance.handshake import (
    V1_0,
    V1_1,
    VERSION,
    agreed,
    called,
    calling,
    choice_of,
    framed,
    hello,
    our_choice,
    read_choice,
    read_hello,
    signed_bytes,
)
from fogp2p.conformance.model import check
from fogp2p.identity import verify
from fogp2p.ids import ProtocolId

# VER-050 gives 10 s; a peer that is busy may need a little more.
_TIMEOUT_S: Final = 10.0
_LATE_S: Final = 5.0
ECHO_1_0: Final = ProtocolId("/fog/echo/1.0.0")
ECHO_1_1: Final = ProtocolId("/fog/echo/1.1.0")


@check("VER-001a", "answers a hello with its own", needs=VERSION)
async def _answers(context: Context) -> str:
    async with calling(context) as (_, talk):
        await talk.say(framed(hello(context.random.randbytes(32))), "hello")
        _, theirs = await read_hello(talk)
    return f"{theirs[3]!r} speaks {_listed(theirs)}"


@check("VER-001b", "begins when its id is the smaller one, whoever dialled", needs=VERSION)
async def _begins(context: Context) -> str:
    async with called(context) as (_, talk):
        _, theirs = await read_hello(talk)
    return f"a hello that speaks {_listed(theirs)}"


def _listed(theirs: dict[int, Any]) -> str:
    return ", ".join(f"{major}.{minor}" for major, minor in theirs[1])


@check("VER-010a", "uses another nonce each time", needs=VERSION)
async def _nonces(context: Context) -> str:
    nonces = set()
    for _ in range(2):
        async with calling(context) as (_, talk):
            await talk.say(framed(hello(context.random.randbytes(32))), "hello")
            nonces.add((await read_hello(talk))[1][2])
    if len(nonces) != 2:
        raise CheckFailed("two hellos have the same nonce")
    return "two hellos, two nonces"


@check("VER-010b", "refuses a hello that repeats its own nonce", needs=VERSION)
async def _reflected(context: Context) -> str:
    async with called(context) as (_, talk):
        _, theirs = await read_hello(talk)
        await talk.say(framed(hello(theirs[2])), "hello with the peer's own nonce")
        return await talk.refusal("its own nonce")


_ORDERS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "c": ("versions of the handshake out of order", {"handshake": (V1_1, V1_0)}),
    "d": ("a version of the handshake twice", {"handshake": (V1_0, V1_0, V1_1)}),
    "e": ("versions of a protocol out of order", {"echo": (V1_1, V1_0)}),
    "f": ("features out of order", {"features": ("b", "a")}),
    "g": ("a feature twice", {"features": ("a", "a")}),
}


def _enter_order(letter: str, what: str, changes: dict[str, Any]) -> None:
    @check(f"VER-010{letter}", f"refuses {what}", needs=VERSION)
    async def _(context: Context) -> str:
        async with calling(context) as (_, talk):
            await talk.say(framed(hello(context.random.randbytes(32), **changes)), what)
            return await talk.refusal(what)


for _letter, (_what, _changes) in _ORDERS.items():
    _enter_order(_letter, _what, _changes)


@check("VER-011", "skips keys it does not know and versions it does not speak", needs=VERSION)
async def _skips(context: Context) -> str:
    later = {99: ["of later versions"]}
    async with agreed(context, handshake=(V1_0, V1_1, [9, 9]), extra=later) as run:
        return f"agreed on {run.version}"


@check("VER-020a", "chooses the highest common version of a protocol", needs=VERSION)
async def _highest(context: Context) -> str:
    found = []
    for offered in ((V1_0,), (V1_0, V1_1), (V1_0, V1_1, [77, 0])):
        # `agreed` compares the peer's choice with the rule.
        async with agreed(context, echo=offered) as run:
            found.append(run.protocols.get("fog/echo", ["left out"])[0])
    return f"fog/echo {found}"


@check("VER-020b", "leaves out a protocol without a common version", needs=VERSION)
async def _left_out(context: Context) -> str:
    async with agreed(context, echo=([77, 0],)) as run:
        if run.protocols:
            raise CheckFailed(f"agreed on {run.protocols}")
    return "nothing is agreed"


@check("VER-020c", "keeps only features that both list", needs=VERSION)
async def _features(context: Context) -> str:
    async with agreed(context, features=("a-feature-of-nobody",)) as run:
        return f"features {run.protocols.get('fog/echo', [0, []])[1]}"


@check("VER-021", "chooses the highest common version of the handshake", needs=VERSION)
async def _handshake(context: Context) -> str:
    async with agreed(context, handshake=(V1_0,)) as run:
        if run.version != V1_0:
            raise CheckFailed(f"chose {run.version} of {V1_0}")
    async with agreed(context) as run:
        return f"{V1_0} of {V1_0}, {run.version} of {V1_0} and {V1_1}"


@check("VER-022", "says its own hello when no version is common, then ends", needs=VERSION)
async def _nothing_common(context: Context) -> str:
    async with calling(context) as (_, talk):
        await talk.say(framed(hello(context.random.randbytes(32), handshake=([77, 0],))), "hello")
        _, theirs = await read_hello(talk)
        await talk.refusal("version 77.0 of the handshake")
    return f"it speaks {_listed(theirs)}, and ended the stream"


@check("VER-030a", "signs its choice as responder", needs=VERSION)
async def _signs(context: Context) -> str:
    async with agreed(context):
        return "the signature verifies"


@check("VER-030b", "signs its choice as initiator", needs=VERSION)
async def _signs_first(context: Context) -> str:
    async with called(context) as (visitor, talk):
        first, theirs = await read_hello(talk)
        ours = hello(context.random.randbytes(32))
        second = encode(ours)
        await talk.say(framed(second), "hello")
        chosen = choice_of(theirs, ours)
        if chosen is None:
            raise CheckFailed("the peer speaks neither 1.0 nor 1.1 of the handshake")
        said = await read_choice(talk)
        if [said[1], said[2]] != chosen:
            raise CheckFailed(f"the peer chose {[said[1], said[2]]}, the rule says {chosen}")
        parties = (first, second, context.target.peer, visitor.peer_id)
        if not verify(context.target.peer, signed_bytes(*parties, "initiator", chosen), said[3]):
            raise CheckFailed("the signature under the peer's choice does not verify")
        signed = signed_bytes(*parties, "responder", chosen)
        await talk.say(framed(our_choice(visitor, chosen, signed)), "choice")
    return "the signature verifies"


async def _false_choice(context: Context, *, flip: bool, downgrade: bool) -> str:
    async with calling(context) as (visitor, talk):
        ours = hello(context.random.randbytes(32))
        sent = encode(ours)
        await talk.say(framed(sent), "hello")
        received, theirs = await read_hello(talk)
        chosen = choice_of(ours, theirs) or [V1_0, {}]
        if downgrade:
            chosen = [V1_0, {}]
        parties = (sent, received, visitor.peer_id, context.target.peer)
        message = our_choice(visitor, chosen, signed_bytes(*parties, "initiator", chosen))
        if flip:
            at = context.random.randrange(64)
            signature = bytearray(message[3])
            signature[at] ^= 1 << context.random.randrange(8)
            message[3] = bytes(signature)
        await talk.say(framed(message), "choice, altered")
        found = await talk.refusal("an altered choice")
        if not await visitor.cut_off():
            raise CheckFailed(f"{found}, but the connection still stands")
    return "refused, connection closed"


@check("VER-031a", "refuses a choice with a flipped bit in its signature", needs=VERSION)
async def _flipped(context: Context) -> str:
    return await _false_choice(context, flip=True, downgrade=False)


@check("VER-031b", "refuses a lower choice than its own, though signed", needs=VERSION)
async def _downgraded(context: Context) -> str:
    return await _false_choice(context, flip=False, downgrade=True)


async def _gated(context: Context, protocol: ProtocolId, **offer: Any) -> str:
    async with agreed(context, **offer) as run:
        talk = await run.visitor.open(protocol)
        await talk.say(b"\x05hello", "five bytes, framed")
        return await talk.refusal(f"a stream of {protocol}")


@check("VER-040a", "refuses a protocol that was not agreed", needs=ECHO_1_0)
async def _not_agreed(context: Context) -> str:
    return await _gated(context, ECHO_1_0, echo=())


@check("VER-040b", "refuses another version than the agreed one", needs=ECHO_1_1)
async def _other_version(context: Context) -> str:
    return await _gated(context, ECHO_1_1, echo=(V1_0,))


@check("VER-040c", "keeps a stream waiting until the handshake is over", needs=ECHO_1_0)
async def _waits(context: Context) -> str:
    """A stream of echo 1.0 before the handshake; echo is agreed in 1.0 only after it."""
    async with calling(context) as (visitor, talk):
        early = await visitor.open(ECHO_1_0)
        await early.say(b"\x05hello", "five bytes, framed, before the handshake")
        await early.silence("before anything was agreed", 0.2)
        ours = hello(context.random.randbytes(32), echo=(V1_0,))
        sent = encode(ours)
        await talk.say(framed(sent), "hello")
        received, theirs = await read_hello(talk)
        chosen = choice_of(ours, theirs)
        if chosen is None or "fog/echo" not in chosen[1]:
            raise CheckFailed("echo 1.0 is served but not offered")
        parties = (sent, received, visitor.peer_id, context.target.peer)
        signed = signed_bytes(*parties, "initiator", chosen)
        await talk.say(framed(our_choice(visitor, chosen, signed)), "choice")
        await read_choice(talk)
        if await early.frame("echo") != b"hello":
            raise CheckFailed("the stream that waited was answered with something else")
        early.stream.reset()
    return "served after the handshake"


@check("VER-041", "sends notices only when it lists 1.1", needs=VERSION)
async def _notices(context: Context) -> str:
    async with calling(context) as (_, talk):
        await talk.say(framed(hello(context.random.randbytes(32))), "hello")
        _, theirs = await read_hello(talk)
    if 6 in theirs and V1_1 not in theirs[1]:
        raise CheckFailed("notices from a peer that does not list 1.1")
    return f"{len(theirs.get(6, []))} notices"


@check("VER-050a", "gives up after 10 s", needs=VERSION, patient=True)
async def _times_out(context: Context) -> str:
    async with calling(context) as (_, talk):
        start = trio.current_time()
        # The proposal alone: the hello never comes.
        await talk.say(b"", "nothing")
        await talk.refusal("silence", _TIMEOUT_S + _LATE_S)
        took = trio.current_time() - start
    if took < _TIMEOUT_S - 1:
        raise CheckFailed(f"gave up after {took:.1f} s")
    return f"after {took:.1f} s"


@check("VER-050b", "refuses an end of the stream before the last message", needs=VERSION)
async def _cut(context: Context) -> str:
    async with calling(context) as (_, talk):
        await talk.say(framed(hello(context.random.randbytes(32))), "hello")
        await read_hello(talk)
        await talk.end()
        return await talk.refusal("an end without a choice")


@check("VER-051a", "answers nothing behind the last message", needs=VERSION)
async def _behind(context: Context) -> str:
    async with agreed(context) as run:
        await run.talk.say(framed(hello(context.random.randbytes(32))), "a second hello")
        return await run.talk.refusal("a message behind the last one")


@check("VER-051b", "refuses a second run on one connection", needs=VERSION)
async def _again(context: Context) -> str:
    async with agreed(context) as run:
        again = await run.visitor.open(VERSION)
        await again.say(framed(hello(context.random.randbytes(32))), "hello, again")
        return await again.refusal("a second run")
