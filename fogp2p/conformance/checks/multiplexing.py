"""yamux: windows are enforced, streams are counted, and nonsense ends the connection."""

from __future__ import annotations

import contextlib
from typing import Final

import trio

from fogp2p.conformance.config import CONNECT_TIMEOUT_S
from fogp2p.conformance.context import Context
from fogp2p.conformance.errors import CheckFailed
from fogp2p.conformance.model import check
from fogp2p.conformance.wire import (
    ACK,
    DATA,
    PING,
    RST,
    SYN,
    WINDOW,
    Frame,
    RawPeer,
    frame,
    line,
)
from fogp2p.ids import ProtocolId
from fogp2p.protocols.ping import PING as PING_PROTOCOL

# yamux begins with this window on each side (spec.md, "Flow Control").
_WINDOW: Final = 256 * 1024
_CHUNK: Final = 32_768
_FLOOD: Final = 20_000
_BATCH: Final = 200


async def _until_frame(peer: RawPeer, what: str, wanted: int, flags: int = 0) -> Frame:
    try:
        with trio.fail_after(CONNECT_TIMEOUT_S):
            while (found := await peer.next_frame()) is not None:
                if found.kind == wanted and found.flags & flags == flags:
                    return found
    except trio.TooSlowError:
        raise CheckFailed(f"no {what} comes") from None
    raise CheckFailed(f"the connection ended before {what} came")


async def _must_end(context: Context, peer: RawPeer, what: str) -> str:
    if not await peer.hears_the_end(context.patience_s):
        raise CheckFailed(f"the connection survives {what}")
    await context.still_serves()
    return "connection closed; others are served"


@check("YMX-001", "answers a ping with the same value")
async def _pongs(context: Context) -> str:
    value = context.random.randrange(2**32)
    async with context.raw() as peer:
        await peer.send(frame(PING, SYN, 0, value))
        found = await _until_frame(peer, "pong", PING, ACK)
        if found.length != value:
            raise CheckFailed(f"the pong has {found.length}, the ping had {value}")
    return f"{value:#x} and back"


@check("YMX-002", "opens a stream and negotiates on it")
async def _opens(context: Context) -> str:
    async with context.raw() as peer:
        await peer.open(1, ProtocolId("/nobody/1"))
        said = b""
        while b"na\n" not in said:
            found = await _until_frame(peer, "an answer", DATA)
            said += found.body if found.stream == 1 else b""
    return "na on stream 1"


@check("YMX-003", "takes no more than the window allows", needs=PING_PROTOCOL)
async def _overrun(context: Context) -> str:
    """One frame of a byte more than the whole window cannot be within it, whoever reads."""
    async with context.raw() as peer:
        await peer.open(1, PING_PROTOCOL)
        head = frame(DATA, 0, 1, _WINDOW + 4096 * 16)
        try:
            await peer.send(head)
            for _ in range(_WINDOW // _CHUNK + 2):
                await peer.send(bytes(_CHUNK))
        except trio.BrokenResourceError:
            pass
        return await _must_end(context, peer, "data past the window")


@check("YMX-004", "does not take as many streams as somebody opens", needs=PING_PROTOCOL)
async def _syn_flood(context: Context) -> str:
    """Either new streams are reset, or the connection ends, before 20,000 of them stand."""
    greeting = line("/multistream/1.0.0")
    refused = 0
    ended = trio.Event()
    async with context.raw() as peer, trio.open_nursery() as nursery:

        async def listen() -> None:
            nonlocal refused
            while (found := await peer.next_frame()) is not None:
                refused += bool(found.flags & RST)
            ended.set()

        nursery.start_soon(listen)
        try:
            with trio.move_on_after(CONNECT_TIMEOUT_S):
                for begin in range(0, _FLOOD, _BATCH):
                    opened = range(2 * begin + 1, 2 * (begin + _BATCH) + 1, 2)
                    await peer.send(
                        *(
                            frame(WINDOW, SYN, n, 0) + frame(DATA, 0, n, len(greeting), greeting)
                            for n in opened
                        )
                    )
                    await trio.lowlevel.checkpoint()
                    if ended.is_set() or refused > _BATCH:
                        break
        except trio.BrokenResourceError:
            ended.set()
        with trio.move_on_after(context.patience_s):
            while not ended.is_set() and not refused:  # noqa: ASYNC110 - counted above
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    if not ended.is_set() and not refused:
        raise CheckFailed(f"{_FLOOD} streams stand open")
    await context.still_serves()
    return "connection closed" if ended.is_set() else f"streams reset ({refused} and more)"


def _enter_big_syn(identifier: str, length: int) -> None:
    @check(identifier, f"ends a connection whose stream begins with a frame of {length:,} bytes")
    async def _(context: Context) -> str:
        async with context.raw() as peer:
            with contextlib.suppress(trio.BrokenResourceError):
                await peer.send(frame(DATA, SYN, 1, length, bytes(1_000)))
            return await _must_end(context, peer, f"a first frame of {length:,} bytes")


for _letter, _length in zip("abc", (_WINDOW + 2, 2**24 + 1, 2**32 - 1), strict=True):
    _enter_big_syn(f"YMX-005{_letter}", _length)


@check("YMX-006", "ends a connection that speaks another version of yamux")
async def _version(context: Context) -> str:
    async with context.raw() as peer:
        await peer.send(b"\x07" + frame(PING, SYN, 0, 1)[1:])
        return await _must_end(context, peer, "version 7")


@check("YMX-007", "ends a connection with frames of an unknown type")
async def _type(context: Context) -> str:
    async with context.raw() as peer:
        await peer.send(frame(9, 0, 1, 0))
        return await _must_end(context, peer, "type 9")


@check("YMX-008", "takes no stream with an id of its own side")
async def _parity(context: Context) -> str:
    """A dialler opens odd streams; an even one could be the listener's own."""
    async with context.raw() as peer:
        await peer.send(frame(WINDOW, SYN, 2_000_002, 0))
        with trio.move_on_after(context.patience_s):
            while (found := await peer.next_frame()) is not None:
                if found.stream == 2_000_002:
                    if found.flags & RST:
                        return "stream reset"
                    raise CheckFailed("the peer takes an even stream from the dialler")
            await context.still_serves()
            return "connection closed"
    raise CheckFailed("the peer neither resets the stream nor hangs up")
