"""specs/gossip. What a peer does with messages shows only in a topic that it is subscribed to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import trio

from fogp2p import protobuf
from fogp2p.conformance.config import CONNECT_TIMEOUT_S, SILENCE_S
from fogp2p.conformance.context import Context, Talk, Visitor
from fogp2p.conformance.errors import CheckFailed, NotApplicable
from fogp2p.conformance.model import check
from fogp2p.framing import FrameDecoder, encode_frame, encode_varint, read_frame
from fogp2p.host import Stream
from fogp2p.identity import Identity
from fogp2p.ids import ProtocolId

MESHSUB: Final = ProtocolId("/meshsub/1.1.0")
_MAX_RPC: Final = 256 * 1024
_BIG: Final = 4 * 1024 * 1024
_WAITING: Final = 256
# A peer tells its subscriptions when it opens its stream.
_TELLS_S: Final = 1.5
_TYPES: Final = protobuf.define(
    "fogp2p.conformance.gossip",
    {
        "SubOpts": [("subscribe", 1, "bool"), ("topicid", 2, "bytes")],
        "Message": [
            ("from", 1, "bytes"),
            ("data", 2, "bytes"),
            ("seqno", 3, "bytes"),
            ("topic", 4, "bytes"),
            ("signature", 5, "bytes"),
        ],
        "IWant": [("messageIDs", 1, "bytes*")],
        "Graft": [("topicID", 1, "bytes")],
        "Prune": [("topicID", 1, "bytes"), ("backoff", 3, "uint64")],
        "Control": [("iwant", 2, "IWant*"), ("graft", 3, "Graft*"), ("prune", 4, "Prune*")],
        "Rpc": [
            ("subscriptions", 1, "SubOpts*"),
            ("publish", 2, "Message*"),
            ("control", 3, "Control"),
        ],
    },
)


class _Gossiper:
    """An honest neighbour, as far as its check lets it be."""

    def __init__(self, visitor: Visitor, talk: Talk, heard: trio.MemoryReceiveChannel[Any]) -> None:
        self.visitor, self.talk, self._heard = visitor, talk, heard

    async def say(self, rpc: Any, note: str) -> None:
        """Send one RPC."""
        await self.talk.say(encode_frame(rpc.SerializeToString(), max_bytes=_BIG), note)

    async def hear(self, timeout_s: float) -> Any:
        """The next RPC, or None when none comes in time."""
        with trio.move_on_after(timeout_s):
            try:
                return await self._heard.receive()
            except trio.EndOfChannel:
                return None
        return None

    async def topic(self) -> bytes:
        """A topic the peer is subscribed to. Raises NotApplicable."""
        deadline = trio.current_time() + _TELLS_S
        while (left := deadline - trio.current_time()) > 0:
            rpc = await self.hear(left)
            for each in rpc.subscriptions if rpc is not None else ():
                if each.subscribe:
                    return bytes(each.topicid)
        raise NotApplicable("the peer is subscribed to no topic")

    async def join(self, topic: bytes) -> None:
        """Subscribe, and come into the mesh."""
        rpc = _subscriptions([topic])
        rpc.control.graft.add(topicID=topic)
        await self.say(rpc, "subscribe and graft")

    async def copies(self, data: bytes, timeout_s: float, *, enough: int) -> int:
        """How often a message with this data comes in time; no more than `enough` are awaited."""
        found = 0
        deadline = trio.current_time() + timeout_s
        while found < enough and (left := deadline - trio.current_time()) > 0:
            rpc = await self.hear(left)
            found += sum(each.data == data for each in rpc.publish) if rpc is not None else 0
        return found


@asynccontextmanager
async def _gossiper(context: Context) -> AsyncIterator[_Gossiper]:
    send, heard = trio.open_memory_channel[Any](_WAITING)
    notes = context.transcript

    async def listen(stream: Stream) -> None:
        decoder = FrameDecoder(max_bytes=_MAX_RPC)
        while (frame := await read_frame(stream, decoder)) is not None:
            notes.received(frame, "gossip RPC")
            await send.send(protobuf.parse(_TYPES["Rpc"], frame, code="gossip-message"))

    async with context.visitor(handlers={MESHSUB: listen}) as visitor:
        talk = await visitor.open(MESHSUB)
        try:
            yield _Gossiper(visitor, talk, heard)
        finally:
            talk.stream.reset()


def _subscriptions(topics: list[bytes]) -> Any:
    rpc = _TYPES["Rpc"]()
    for topic in topics:
        rpc.subscriptions.add(subscribe=True, topicid=topic)
    return rpc


def _message(identity: Identity, topic: bytes, data: bytes, number: bytes) -> Any:
    """A message signed by its author (libp2p/specs pubsub, "Message Signing")."""
    message = _TYPES["Message"](data=data, seqno=number, topic=topic)
    setattr(message, "from", identity.peer_id.raw)
    message.signature = identity.sign(b"libp2p-pubsub:" + message.SerializeToString())
    return message


def _publish(message: Any) -> Any:
    rpc = _TYPES["Rpc"]()
    rpc.publish.append(message)
    return rpc


async def _refused(context: Context, rpc: Any, what: str) -> str:
    async with _gossiper(context) as one:
        await one.say(rpc, what)
        return await one.talk.refusal(what)


def _number(context: Context) -> bytes:
    return context.random.randbytes(8)


@check("GOS-001a", "refuses an RPC with a message that is not signed", needs=MESHSUB)
async def _unsigned(context: Context) -> str:
    message = _message(context.identity(), b"t", b"data", _number(context))
    message.ClearField("signature")
    return await _refused(context, _publish(message), "an unsigned message")


@check("GOS-001b", "refuses an RPC with a topic of more than 256 bytes", needs=MESHSUB)
async def _long_topic(context: Context) -> str:
    return await _refused(context, _subscriptions([b"t" * 257]), "a topic of 257 bytes")


@check("GOS-001c", "refuses an RPC with a topic that is not UTF-8", needs=MESHSUB)
async def _no_text(context: Context) -> str:
    return await _refused(context, _subscriptions([b"\xff\xfe"]), "a topic that is not UTF-8")


@check("GOS-002a", "refuses an RPC of more than 256 KiB by its length", needs=MESHSUB)
async def _long_rpc(context: Context) -> str:
    async with _gossiper(context) as one:
        await one.talk.say(encode_varint(_MAX_RPC + 1), "a length of 256 KiB and 1")
        return await one.talk.refusal("that length")


@check("GOS-002b", "refuses an RPC with more than 5,000 subscriptions", needs=MESHSUB)
async def _many_subscriptions(context: Context) -> str:
    rpc = _subscriptions([b"one and the same"] * 5_001)
    return await _refused(context, rpc, "5,001 subscriptions")


@check("GOS-002c", "refuses a peer's 101st topic", needs=MESHSUB)
async def _many_topics(context: Context) -> str:
    rpc = _subscriptions([b"topic %d" % n for n in range(101)])
    return await _refused(context, rpc, "101 topics")


@check("GOS-002d", "survives garbage in a frame", needs=MESHSUB)
async def _garbage(context: Context) -> str:
    # The first byte says: field 1, length-delimited, and then a length past the end.
    data = b"\x0a\xff\xff\x03" + context.random.randbytes(40)
    async with _gossiper(context) as one:
        await one.talk.say(encode_frame(data), "garbage")
        found = await one.talk.refusal("garbage")
    await context.still_serves()
    return found


@asynccontextmanager
async def _neighbours(context: Context, count: int) -> AsyncIterator[tuple[bytes, list[_Gossiper]]]:
    """Some that joined a topic of the peer's, and hear what the first of them publishes.

    Raises CheckFailed when they never do.
    """
    async with AsyncExitStack() as stack:
        found = [await stack.enter_async_context(_gossiper(context)) for _ in range(count)]
        topic = await found[0].topic()
        for each in found:
            await each.join(topic)
        deaf = found[1:]
        deadline = trio.current_time() + CONNECT_TIMEOUT_S
        # The peer takes them in one after another; what was published before went past them.
        while deaf:
            if trio.current_time() > deadline:
                raise CheckFailed("a signed message does not reach others in the mesh")
            data = context.random.randbytes(20)
            message = _message(found[0].visitor.identity, topic, data, _number(context))
            await found[0].say(_publish(message), "a message")
            deaf = [each for each in deaf if not await each.copies(data, SILENCE_S, enough=1)]
        yield topic, found


@check("GOS-003a", "passes on what is signed", needs=MESHSUB)
async def _passes_on(context: Context) -> str:
    async with _neighbours(context, 2):
        return "reached another neighbour"


@check("GOS-003b", "passes on nothing with a false signature, nor remembers it", needs=MESHSUB)
async def _forged(context: Context) -> str:
    number = _number(context)
    async with _neighbours(context, 3) as (topic, (forger, honest, listener)):
        author = forger.visitor.identity
        forged = _message(author, topic, b"forged", number)
        flipped = bytearray(forged.signature)
        flipped[context.random.randrange(64)] ^= 1
        forged.signature = bytes(flipped)
        await forger.say(_publish(forged), "a message with a bit of its signature flipped")
        if await listener.copies(b"forged", 2 * SILENCE_S, enough=1):
            raise CheckFailed("a forged message was passed on")
        genuine = _message(author, topic, b"genuine", number)
        await honest.say(_publish(genuine), "the genuine message of the same id")
        if not await listener.copies(b"genuine", CONNECT_TIMEOUT_S, enough=1):
            raise CheckFailed("the forgery keeps the genuine message from being passed on")
    return "the forged one stopped there, the genuine one of the same id went on"


@check("GOS-004", "drops what it cannot use and goes on listening", needs=MESHSUB)
async def _unusable(context: Context) -> str:
    async with _neighbours(context, 2) as (topic, (one, listener)):
        author = one.visitor.identity
        unusable = [
            _message(author, topic, b"a number of 7 bytes", bytes(7)),
            _message(author, topic, bytes(65_537), _number(context)),
        ]
        for message in unusable:
            await one.say(_publish(message), "a message that cannot be used")
        await one.say(_publish(_message(author, topic, b"usable", _number(context))), "a good one")
        heard: list[bytes] = []
        while b"usable" not in heard:
            rpc = await listener.hear(CONNECT_TIMEOUT_S)
            if rpc is None:
                raise CheckFailed("what came after an unusable message was not passed on")
            heard += [bytes(each.data) for each in rpc.publish]
        if any(message.data in heard for message in unusable):
            raise CheckFailed("an unusable message was passed on")
    return "the good message after them went on, they did not"


@check("GOS-011", "answers a graft within a backoff with a prune", needs=MESHSUB)
async def _backoff(context: Context) -> str:
    async with _neighbours(context, 1) as (topic, (one,)):
        rpc = _TYPES["Rpc"]()
        rpc.control.prune.add(topicID=topic, backoff=60)
        await one.say(rpc, "prune, 60 s")
        rpc = _TYPES["Rpc"]()
        rpc.control.graft.add(topicID=topic)
        await one.say(rpc, "graft")
        deadline = trio.current_time() + CONNECT_TIMEOUT_S
        while (left := deadline - trio.current_time()) > 0:
            heard = await one.hear(left)
            if heard is not None and any(p.topicID == topic for p in heard.control.prune):
                return "pruned"
    raise CheckFailed("a graft within the backoff is not answered by a prune")


@check("GOS-013", "hands one message to one peer three times at most", needs=MESHSUB)
async def _retransmissions(context: Context) -> str:
    asked, data, number = 6, context.random.randbytes(20), _number(context)
    async with _neighbours(context, 2) as (topic, (sender, listener)):
        author = sender.visitor.identity
        await sender.say(_publish(_message(author, topic, data, number)), "a message")
        if not await listener.copies(data, CONNECT_TIMEOUT_S, enough=1):
            raise CheckFailed("the message does not arrive by the mesh")
        for _ in range(asked):
            rpc = _TYPES["Rpc"]()
            rpc.control.iwant.add(messageIDs=[author.peer_id.raw + number])
            await listener.say(rpc, "IWANT")
        got = await listener.copies(data, 1.0, enough=asked)
    if not 1 <= got <= 3:
        raise CheckFailed(f"asked {asked} times, it came {got} times")
    return f"asked {asked} times, came {got} times"
