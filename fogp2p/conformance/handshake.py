"""The version handshake, written again from its text for the checks that need one.

`protocols/versioning` is not used: a fault there must not hide itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import trio

from fogp2p.codec import Schema, decode, encode
from fogp2p.errors import RemoteProtocolError
from fogp2p.framing import encode_frame
from fogp2p.host import Handler, Stream
from fogp2p.identity import verify
from fogp2p.ids import PeerId, ProtocolId

from .config import CONNECT_TIMEOUT_S
from .context import Context, Talk, Visitor
from .errors import CheckFailed, NotApplicable

__all__ = [
    "MAX_HELLO_BYTES",
    "V1_0",
    "V1_1",
    "VERSION",
    "Agreed",
    "admitted",
    "agreed",
    "called",
    "calling",
    "choice_of",
    "framed",
    "hello",
    "our_choice",
    "read_choice",
    "read_hello",
]

VERSION: Final = ProtocolId("/fog/version/1.0.0")
MAX_HELLO_BYTES: Final = 16_384
V1_0: Final = [1, 0]
V1_1: Final = [1, 1]
_ECHO: Final = "fog/echo"


@dataclass(frozen=True, slots=True)
class Agreed:
    """A run that ended well: what both chose, and the stream it ran on."""

    visitor: Visitor
    talk: Talk
    theirs: dict[int, Any]
    version: list[int]
    protocols: dict[str, Any]


def hello(
    nonce: bytes,
    *,
    handshake: Sequence[Sequence[int]] = (V1_0, V1_1),
    echo: Sequence[Sequence[int]] = (V1_0, V1_1),
    features: Sequence[str] = (),
    others: Sequence[str] = (),
    extra: Mapping[int, Any] | None = None,
) -> dict[int, Any]:
    """A hello as a map; `echo` are the versions of fog/echo offered, () for none. `others` are
    protocols offered in 1.0."""
    offer = [[[list(each), 0] for each in echo], list(features)]
    offers: dict[str, Any] = {name: [[[V1_0, 0]], []] for name in others}
    if echo:
        offers[_ECHO] = offer
    return {
        1: [list(each) for each in handshake],
        2: nonce,
        3: "fogp2p conformance",
        4: offers,
        5: {},
        **(extra or {}),
    }


def framed(message: Any) -> bytes:
    """A map, or bytes that claim to be one, as it travels."""
    payload = message if isinstance(message, bytes) else encode(message)
    return encode_frame(payload, max_bytes=MAX_HELLO_BYTES)


async def read_hello(talk: Talk) -> tuple[bytes, dict[int, Any]]:
    """The peer's hello, as received and as a map. Raises CheckFailed."""
    return await _message(talk, "hello")


async def read_choice(talk: Talk) -> dict[int, Any]:
    """The peer's choice. Raises CheckFailed."""
    return (await _message(talk, "choice"))[1]


async def _message(talk: Talk, rule: str) -> tuple[bytes, dict[int, Any]]:
    data = await talk.frame(rule)
    try:
        schema = Schema.load("versioning/v1.cddl", rule)
        return data, decode(data, schema=schema, max_bytes=MAX_HELLO_BYTES)
    except RemoteProtocolError as exc:
        raise CheckFailed(f"the peer's {rule} is none: {exc}") from exc


def choice_of(one: Mapping[int, Any], other: Mapping[int, Any]) -> list[Any] | None:
    """VER-020 and VER-021: [version, protocols], or None when nothing is common."""
    common = [each for each in one[1] if each in other[1]]
    if not common:
        return None
    chosen = {}
    for name in one[4].keys() & other[4].keys():
        theirs = [version for version, _ in other[4][name][0]]
        both = [version for version, _ in one[4][name][0] if version in theirs]
        if both:
            chosen[name] = [max(both), [f for f in one[4][name][1] if f in other[4][name][1]]]
    return [max(common), chosen]


def signed_bytes(
    first: bytes, second: bytes, initiator: PeerId, responder: PeerId, role: str, chosen: list[Any]
) -> bytes:
    """VER-030: what a side signs."""
    said = b"".join(len(each).to_bytes(4) + each for each in (first, second))
    transcript = hashlib.sha256(said).digest()
    return encode(["fog/version/1", role, transcript, initiator.raw, responder.raw, chosen])


def our_choice(visitor: Visitor, chosen: list[Any], signed: bytes) -> dict[int, Any]:
    """The map of our choice."""
    return {1: chosen[0], 2: chosen[1], 3: visitor.identity.sign(signed)}


@asynccontextmanager
async def calling(
    context: Context, handlers: Mapping[ProtocolId, Handler] | None = None
) -> AsyncIterator[tuple[Visitor, Talk]]:
    """We begin: our id is the smaller one, and the stream is open."""
    async with context.visitor(side="smaller", handlers=handlers) as visitor:
        talk = await visitor.open(VERSION, max_bytes=MAX_HELLO_BYTES)
        try:
            yield visitor, talk
        finally:
            talk.stream.reset()


@asynccontextmanager
async def called(context: Context) -> AsyncIterator[tuple[Visitor, Talk]]:
    """The peer begins: its id is the smaller one. Raises CheckFailed when it does not."""
    arrived: list[Stream] = []
    here, done = trio.Event(), trio.Event()

    async def keep(stream: Stream) -> None:
        arrived.append(stream)
        here.set()
        await done.wait()

    async with context.visitor(side="greater", handlers={VERSION: keep}) as visitor:
        try:
            with trio.fail_after(CONNECT_TIMEOUT_S):
                await here.wait()
        except trio.TooSlowError:
            raise CheckFailed("its id is the smaller one, and it opens no stream") from None
        try:
            yield visitor, visitor.talk(arrived[0], max_bytes=MAX_HELLO_BYTES)
        finally:
            done.set()


@asynccontextmanager
async def agreed(
    context: Context, handlers: Mapping[ProtocolId, Handler] | None = None, **offer: Any
) -> AsyncIterator[Agreed]:
    """A whole run, begun by us, every word of it checked."""
    async with calling(context, handlers) as (visitor, talk):
        ours = hello(context.random.randbytes(32), **offer)
        sent = encode(ours)
        await talk.say(framed(sent), "hello")
        received, theirs = await read_hello(talk)
        chosen = choice_of(ours, theirs)
        if chosen is None:
            raise CheckFailed("the peer speaks neither 1.0 nor 1.1 of the handshake")
        parties = (sent, received, visitor.peer_id, context.target.peer)
        ours_signed = signed_bytes(*parties, "initiator", chosen)
        await talk.say(framed(our_choice(visitor, chosen, ours_signed)), "choice")
        theirs_said = await read_choice(talk)
        if [theirs_said[1], theirs_said[2]] != chosen:
            raise CheckFailed(
                f"the peer chose {[theirs_said[1], theirs_said[2]]}, the rule says {chosen}"
            )
        if not verify(
            context.target.peer, signed_bytes(*parties, "responder", chosen), theirs_said[3]
        ):
            raise CheckFailed("the signature under the peer's choice does not verify")
        context.transcript.note(f"agreed: {chosen}")
        yield Agreed(visitor, talk, theirs, chosen[0], chosen[1])


@asynccontextmanager
async def admitted(
    context: Context, protocol: ProtocolId, handlers: Mapping[ProtocolId, Handler] | None = None
) -> AsyncIterator[Visitor]:
    """Agreed on version 1.0 of `protocol`. Raises NotApplicable when the peer does not offer it."""
    name = protocol[1:].rpartition("/")[0]
    async with agreed(context, handlers, echo=(), others=(name,)) as run:
        if name not in run.protocols:
            raise NotApplicable(f"the peer does not offer {name} 1.0")
        yield run.visitor
