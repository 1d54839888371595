"""Before anybody is proven: multistream-select in the clear, and the Noise handshake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from fogp2p import protobuf
from fogp2p.conformance.config import CONNECT_TIMEOUT_S
from fogp2p.conformance.context import Context
from fogp2p.conformance.errors import CheckFailed
from fogp2p.conformance.model import check
from fogp2p.conformance.wire import line, read_to_the_end, shake_hands
from fogp2p.errors import RemoteProtocolError
from fogp2p.framing import decode_varint
from fogp2p.identity import Identity
from fogp2p.transports.libp2p.multistream import Opener
from fogp2p.transports.libp2p.noise import NoiseHandshake
from fogp2p.transports.libp2p.upgrade import NOISE

HEADER: Final = "/multistream/1.0.0"
_SIGNED: Final = b"noise-libp2p-static-key:"
_PAYLOAD: Final = protobuf.define(
    "fogp2p.conformance",
    {"Payload": [("identity_key", 1, "bytes"), ("identity_sig", 2, "bytes")]},
)["Payload"]
# Points of small order on Curve25519, RFC 7748 section 6.1; the last three are not reduced.
LOW_ORDER: Final = (
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
)


class _Lines:
    """Reads multistream lines off a socket."""

    def __init__(self, context: Context, socket: trio.SocketStream) -> None:
        self._context, self._socket, self._buffer = context, socket, b""

    async def next(self) -> str:
        """Raises CheckFailed when none comes."""
        try:
            with trio.fail_after(CONNECT_TIMEOUT_S):
                while True:
                    head = decode_varint(self._buffer)
                    if head is not None and len(self._buffer) >= sum(head):
                        length, start = head
                        found = self._buffer[start : start + length]
                        self._buffer = self._buffer[start + length :]
                        return found.decode("ascii", "replace").rstrip("\n")
                    data = bytes(await self._socket.receive_some(4096))
                    self._context.transcript.received(data, "multistream")
                    if not data:
                        raise CheckFailed("the peer hung up instead of answering")
                    self._buffer += data
        except trio.TooSlowError:
            raise CheckFailed("the peer does not answer a proposal") from None
        except (trio.BrokenResourceError, RemoteProtocolError) as exc:
            raise CheckFailed("the peer hung up instead of answering") from exc


async def _say(context: Context, socket: trio.SocketStream, data: bytes, note: str) -> None:
    context.transcript.sent(data, note)
    try:
        await socket.send_all(data)
    except trio.BrokenResourceError:
        context.transcript.note("the connection ended")


async def _must_hang_up(context: Context, socket: trio.SocketStream, what: str) -> str:
    if not await read_to_the_end(socket, context.transcript, context.patience_s):
        raise CheckFailed(f"the peer does not hang up on {what}")
    return "connection closed"


@check("MSS-001", "greets with /multistream/1.0.0 and repeats the name it agrees to")
async def _greets(context: Context) -> str:
    async with context.socket() as socket:
        await _say(context, socket, line(HEADER) + line(NOISE), "header, /noise")
        lines = _Lines(context, socket)
        said = [await lines.next(), await lines.next()]
        if said != [HEADER, NOISE]:
            raise CheckFailed(f"the peer said {said}")
    return "header, then /noise"


@check("MSS-002", "answers na to a name it does not speak, and takes the next")
async def _next_proposal(context: Context) -> str:
    name = f"/nobody/{context.random.randrange(10**9)}"
    async with context.socket() as socket:
        await _say(context, socket, line(HEADER) + line(name), f"header, {name}")
        lines = _Lines(context, socket)
        said = [await lines.next(), await lines.next()]
        await _say(context, socket, line(NOISE), "/noise")
        said.append(await lines.next())
        if said != [HEADER, "na", NOISE]:
            raise CheckFailed(f"the peer said {said}")
    return "na, then /noise"


@check("MSS-003", "hangs up on a line whose length never ends")
async def _endless_varint(context: Context) -> str:
    async with context.socket() as socket:
        await _say(context, socket, b"\xff" * 64, "a varint of 64 bytes")
        found = await _must_hang_up(context, socket, "a length without an end")
    await context.still_serves()
    return found


@check("MSS-004", "hangs up on who does not greet")
async def _no_greeting(context: Context) -> str:
    async with context.socket() as socket:
        await _say(context, socket, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + bytes(300), "HTTP")
        found = await _must_hang_up(context, socket, "HTTP")
    await context.still_serves()
    return found


@check("SEC-001", "proves the key of its peer id")
async def _proves(context: Context) -> str:
    async with context.raw():
        return f"{context.target.peer.short} is proven"


@check("SEC-002", "offers no connection in plain text")
async def _no_plaintext(context: Context) -> str:
    names = ("/plaintext/2.0.0", "/plaintext/1.0.0", "/secio/1.0.0")
    async with context.socket() as socket:
        lines = _Lines(context, socket)
        await _say(context, socket, line(HEADER), "header")
        if await lines.next() != HEADER:
            raise CheckFailed("the peer does not greet")
        for name in names:
            await _say(context, socket, line(name), name)
            if await lines.next() != "na":
                raise CheckFailed(f"the peer takes {name}")
    return f"na to {', '.join(names)}"


class _Liar(NoiseHandshake):
    """Proves its identity wrongly; believes anything itself."""

    def __init__(self, own: Identity, victim: Identity, how: str) -> None:
        super().__init__(own, initiator=True, expected=None)
        self._own, self._victim, self._how = own, victim, how

    def _proof(self) -> bytes:
        return _LIES[self._how](self._own, self._victim)

    def _check(self, payload: bytes) -> None:
        self.remote_peer = None


def _payload(key: bytes, signature: bytes) -> bytes:
    return bytes(_PAYLOAD(identity_key=key, identity_sig=signature).SerializeToString())


def _good(identity: Identity) -> bytes:
    return identity.sign(_SIGNED + identity.noise_public)


def _key(identity: Identity) -> bytes:
    return identity.peer_id.key_protobuf or b""


_LIES: Final[dict[str, Callable[[Identity, Identity], bytes]]] = {
    "signed by another key": lambda own, victim: _payload(_key(victim), _good(own)),
    "without a signature": lambda own, victim: _payload(_key(victim), b""),
    "a byte too short": lambda own, victim: _payload(_key(own), _good(own)[:-1]),
    "of another handshake": lambda own, victim: _payload(_key(victim), _good(victim)),
    "without a key": lambda own, victim: _payload(b"", _good(own)),
    "with a flipped bit": lambda own, victim: _payload(
        _key(own), bytes([_good(own)[0] ^ 1]) + _good(own)[1:]
    ),
}


def _enter_lie(identifier: str, how: str) -> None:
    @check(identifier, f"hangs up on a proof of identity {how}")
    async def _(context: Context) -> str:
        liar = _Liar(context.identity(), context.identity(), how)
        async with context.socket() as socket:
            try:
                with trio.fail_after(CONNECT_TIMEOUT_S):
                    await shake_hands(socket, liar, context.transcript)
            except (trio.BrokenResourceError, RemoteProtocolError):
                return "connection closed"
            except trio.TooSlowError:
                raise CheckFailed("the handshake stands still") from None
            found = await _must_hang_up(context, socket, f"a proof {how}")
        await context.still_serves()
        return found


def _enter_point(identifier: str, point: bytes) -> None:
    @check(identifier, f"ends the handshake for the key {point[:2].hex()}... of small order")
    async def _(context: Context) -> str:
        async with context.socket() as socket:
            first = Opener([NOISE]).start() + len(point).to_bytes(2) + point
            await _say(context, socket, first, "multistream, Noise message 1")
            return await _must_hang_up(context, socket, "a key of small order")


for _letter, _how in zip("abcdef", _LIES, strict=True):
    _enter_lie(f"SEC-003{_letter}", _how)
for _letter, _point in zip("abcdefg", LOW_ORDER, strict=True):
    _enter_point(f"NOI-004{_letter}", bytes.fromhex(_point))


@check("NOI-005", "ends a handshake whose last message was altered")
async def _altered(context: Context) -> str:
    at = context.random.randrange(2, 100)

    class Altered(NoiseHandshake):
        def receive_data(self, data: bytes) -> bytes:
            answer = super().receive_data(data)
            return answer[:at] + bytes([answer[at] ^ 1]) + answer[at + 1 :] if answer else answer

    async with context.socket() as socket:
        handshake = Altered(context.identity(), initiator=True, expected=context.target.peer)
        try:
            with trio.fail_after(CONNECT_TIMEOUT_S):
                await shake_hands(socket, handshake, context.transcript)
        except (trio.BrokenResourceError, trio.TooSlowError, RemoteProtocolError) as exc:
            raise CheckFailed(f"the handshake fails before that: {exc}") from exc
        return await _must_hang_up(context, socket, f"a message with byte {at} altered")


@check("NOI-011", "ends a session in which a message does not decrypt")
async def _tampered(context: Context) -> str:
    async with context.raw() as peer:
        sealed = bytearray(peer.channel.encrypt(bytes(12)))
        sealed[context.random.randrange(2, len(sealed))] ^= 1
        await _say(context, peer.socket, bytes(sealed), "a sealed message with a bit flipped")
        return await _must_hang_up(context, peer.socket, "a message that does not decrypt")
