"""What `fogp2p.host.Host` promises, as functions that check it on any implementation.

Write `maker`, an async context manager that yields two hosts that do not know each other, and run

    await check_host(maker)

or each function of `CHECKS` by itself. A broken promise is an AssertionError that names it. The
checks need a few seconds of the clock they run on and no test framework.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import trio

from fogp2p.addresses import peer_of
from fogp2p.environment import within
from fogp2p.errors import (
    DeadlineExceeded,
    FogError,
    LocalProtocolError,
    ProtocolRefused,
    RemoteProtocolError,
    StreamClosed,
    StreamReset,
    TransportError,
    Unreachable,
)
from fogp2p.host import (
    Connected,
    Direction,
    Disconnected,
    Host,
    HostEvent,
    PeerIdentified,
    Stream,
)
from fogp2p.ids import PeerId, ProtocolId, protocol_id

__all__ = ["CHECKS", "Check", "PairMaker", "check_host"]

Pair = tuple[Host, Host]
PairMaker = Callable[[], AbstractAsyncContextManager[Pair]]
Check = Callable[[Host, Host], Awaitable[None]]

ECHO = protocol_id("/contract/echo/1")
OTHER = protocol_id("/contract/other/1")
NOBODY = protocol_id("/contract/nobody/1")
# Long enough for a slow machine; no check waits for it unless something is broken.
PATIENCE_S = 20.0
_BULK = 3 * 1024 * 1024


async def check_host(maker: PairMaker) -> None:
    """Run every check, each on a fresh pair."""
    for check in CHECKS:
        async with maker() as (near, far):
            await check(near, far)


def _soon() -> float:
    return within(PATIENCE_S)


async def _echo(stream: Stream) -> None:
    while data := await stream.read_some():
        await stream.write_all(data)


async def _read_all(stream: Stream) -> bytes:
    parts = []
    with trio.fail_after(PATIENCE_S):
        while data := await stream.read_some():
            parts.append(data)
    return b"".join(parts)


async def _raises(kind: type[FogError], operation: Callable[[], Awaitable[object]]) -> FogError:
    try:
        with trio.fail_after(PATIENCE_S):
            await operation()
    except kind as error:
        return error
    except trio.TooSlowError:
        raise AssertionError(f"expected {kind.__name__}, but the call never returned") from None
    raise AssertionError(f"expected {kind.__name__}, but the call returned")


async def _meet(near: Host, far: Host) -> None:
    await near.connect(far.peer_id, far.addresses, deadline=_soon())


async def _stream_pair(near: Host, far: Host) -> tuple[Stream, Stream, trio.Event]:
    """A stream, its far end, and an event that lets the far handler return."""
    ends: list[Stream] = []
    arrived, release = trio.Event(), trio.Event()

    async def keep(stream: Stream) -> None:
        ends.append(stream)
        arrived.set()
        await release.wait()

    far.set_handler(OTHER, keep)
    await _meet(near, far)
    stream = await near.open_stream(far.peer_id, [OTHER], deadline=_soon())
    await stream.write_all(b"!")  # an optimistic opener may not have sent anything yet
    with trio.fail_after(PATIENCE_S):
        await arrived.wait()
        assert await ends[0].read_some(1) == b"!"
    return stream, ends[0], release


async def addresses_name_the_host(near: Host, far: Host) -> None:
    """Every address ends in the host's own peer id."""
    for host in (near, far):
        assert host.addresses, "a host has at least one address"
        assert all(peer_of(address) == host.peer_id for address in host.addresses)
        assert all("/0.0.0.0/" not in str(a) and "/::/" not in str(a) for a in host.addresses)


async def connect_and_echo(near: Host, far: Host) -> None:
    """Bytes come back as they were sent, and the far side knows who sent them."""
    seen: list[PeerId] = []

    async def handler(stream: Stream) -> None:
        seen.append(stream.remote_peer)
        assert stream.protocol == ECHO
        await _echo(stream)

    far.set_handler(ECHO, handler)
    await _meet(near, far)
    async with await near.open_stream(far.peer_id, [ECHO], deadline=_soon()) as stream:
        assert (stream.remote_peer, stream.protocol) == (far.peer_id, ECHO)
        await stream.write_all(b"hello")
        await stream.close_write()
        assert await _read_all(stream) == b"hello"
    assert seen == [near.peer_id]
    assert far.peer_id in near.peers() and near.peer_id in far.peers()


async def bulk_both_ways_at_once(near: Host, far: Host) -> None:
    """Megabytes in both directions at the same time arrive whole."""
    data = hashlib.shake_256(b"bulk").digest(_BULK)
    received: list[bytes] = []
    done = trio.Event()

    async def handler(stream: Stream) -> None:
        async with trio.open_nursery() as nursery:

            async def collect() -> None:
                received.append(await _read_all(stream))
                done.set()

            nursery.start_soon(collect)
            await stream.write_all(data[::-1])
            await stream.close_write()

    far.set_handler(ECHO, handler)
    await _meet(near, far)
    async with await near.open_stream(far.peer_id, [ECHO], deadline=_soon()) as stream:
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                await stream.write_all(data)
                await stream.close_write()

            nursery.start_soon(send)
            assert await _read_all(stream) == data[::-1], "bytes to the dialler differ"
        with trio.fail_after(PATIENCE_S):
            await done.wait()
    assert received == [data], "bytes to the listener differ"


async def many_streams_at_once(near: Host, far: Host) -> None:
    """A hundred streams do not mix up their bytes."""
    far.set_handler(ECHO, _echo)
    await _meet(near, far)

    async def one(number: int) -> None:
        async with await near.open_stream(far.peer_id, [ECHO], deadline=_soon()) as stream:
            await stream.write_all(b"%d" % number * 100)
            await stream.close_write()
            assert await _read_all(stream) == b"%d" % number * 100

    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(one, number)


async def halves_close_separately(near: Host, far: Host) -> None:
    """After close_write the peer reads the end, and can still answer."""
    stream, end, release = await _stream_pair(near, far)
    await stream.write_all(b"last words")
    await stream.close_write()
    await stream.close_write()
    assert await _read_all(end) == b"last words"
    await end.write_all(b"heard")
    await end.close_write()
    assert await _read_all(stream) == b"heard"
    await _raises(StreamClosed, lambda: stream.write_all(b"more"))
    await stream.aclose()
    release.set()


async def reading_limits(near: Host, far: Host) -> None:
    """`max_bytes` is kept, nothing is lost by it, and zero is a local mistake."""
    stream, end, release = await _stream_pair(near, far)
    await end.write_all(b"abcdef")
    first = await stream.read_some(2)
    assert 1 <= len(first) <= 2
    rest = first
    while len(rest) < 6:
        rest += await stream.read_some(3)
    assert rest == b"abcdef"
    await _raises(LocalProtocolError, lambda: stream.read_some(0))
    stream.reset()
    release.set()


async def reset_reaches_the_peer(near: Host, far: Host) -> None:
    """After `reset` the peer's calls raise StreamReset and ours StreamClosed."""
    stream, end, release = await _stream_pair(near, far)
    stream.reset()
    stream.reset()
    await _raises(StreamReset, end.read_some)
    await _raises(StreamReset, lambda: end.write_all(bytes(1000)))
    await _raises(StreamClosed, stream.read_some)
    await _raises(StreamClosed, lambda: stream.write_all(b"x"))
    await stream.aclose()
    release.set()


async def leaving_by_an_exception_resets(near: Host, far: Host) -> None:
    """`async with stream:` resets when the block fails."""
    stream, end, release = await _stream_pair(near, far)
    try:
        async with stream:
            raise KeyError("on purpose")  # noqa: TRY301
    except KeyError:
        await _raises(StreamReset, end.read_some)
    release.set()


async def a_waiting_reader_is_woken(near: Host, far: Host) -> None:
    """Closing or resetting wakes a read that is already waiting."""
    for close in (True, False):
        stream, _, release = await _stream_pair(near, far)
        woken: list[FogError] = []

        async def read(stream: Stream = stream, woken: list[FogError] = woken) -> None:
            woken.append(await _raises(TransportError, stream.read_some))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.sleep(0.05)
            if close:
                await stream.aclose()
            else:
                stream.reset()
        assert isinstance(woken[0], StreamClosed)
        release.set()
        far.remove_handler(OTHER)


async def a_slow_reader_stops_the_writer(near: Host, far: Host) -> None:
    """A writer waits for a reader that does not read, without limit, and nothing is lost."""
    stream, end, release = await _stream_pair(near, far)
    data = hashlib.shake_256(b"slow").digest(4 * _BULK)
    written = trio.Event()

    async def write() -> None:
        await stream.write_all(data)
        written.set()
        await stream.close_write()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await trio.sleep(0.5)
        assert not written.is_set(), "12 MiB were accepted though nobody reads"
        assert await _read_all(end) == data
    release.set()


async def handler_errors_stay_inside(near: Host, far: Host) -> None:
    """Whatever a handler raises resets its stream and nothing else."""
    errors: list[BaseException] = [
        KeyError("bug"),
        FogError("refused"),
        ExceptionGroup("several", [ValueError("a"), FogError("b")]),
        OSError("disk"),
        RecursionError("deep"),
        StopAsyncIteration(),
    ]
    far.set_handler(ECHO, _echo)

    async def failing(stream: Stream) -> None:
        await stream.read_some()
        raise errors.pop(0)

    far.set_handler(OTHER, failing)
    await _meet(near, far)
    steady = await near.open_stream(far.peer_id, [ECHO], deadline=_soon())
    while errors:
        stream = await near.open_stream(far.peer_id, [OTHER], deadline=_soon())
        await stream.write_all(b"go")
        await _raises(StreamReset, stream.read_some)
        await steady.write_all(b"alive")
        assert (await steady.read_some()) != b""
    await steady.aclose()


async def a_distrusted_peer_is_disconnected(near: Host, far: Host) -> None:
    """A handler's RemoteProtocolError ends its stream, or the connection when it says so."""
    hints = {ECHO: "reset", OTHER: "disconnect"}

    async def refuse(stream: Stream) -> None:
        await stream.read_some()
        hint = hints[stream.protocol]
        error = RemoteProtocolError("a broken rule", code="contract", close_hint=hint)
        # As a nursery in a handler raises it.
        raise ExceptionGroup("refused", [error])

    for protocol in hints:
        far.set_handler(protocol, refuse)
    await _meet(near, far)
    with near.events() as here:
        for protocol in hints:
            assert near.peers() == (far.peer_id,), "a broken stream ended the connection"
            stream = await near.open_stream(far.peer_id, [protocol], deadline=_soon())
            await stream.write_all(b"x")
            await _raises(StreamReset, stream.read_some)
        with trio.fail_after(PATIENCE_S):
            async for event in here:
                if isinstance(event, Disconnected):
                    break
    assert near.peers() == () == far.peers()


async def a_handler_that_returns_closes(near: Host, far: Host) -> None:
    """The stream of a handler that returned reads its end."""

    async def greet(stream: Stream) -> None:
        await stream.write_all(b"bye")

    far.set_handler(ECHO, greet)
    await _meet(near, far)
    async with await near.open_stream(far.peer_id, [ECHO], deadline=_soon()) as stream:
        await stream.close_write()
        assert await _read_all(stream) == b"bye"


async def unknown_protocols_are_refused(near: Host, far: Host) -> None:
    """At the latest the first read says ProtocolRefused; several protocols: the first served."""
    far.set_handler(ECHO, _echo)
    await _meet(near, far)

    async def open_and_read() -> None:
        stream = await near.open_stream(far.peer_id, [NOBODY], deadline=_soon())
        await stream.write_all(b"anybody?")
        await stream.read_some()

    await _raises(ProtocolRefused, open_and_read)
    stream = await near.open_stream(far.peer_id, [NOBODY, ECHO, OTHER], deadline=_soon())
    assert stream.protocol == ECHO
    await stream.aclose()
    await _raises(
        ProtocolRefused,
        lambda: near.open_stream(far.peer_id, [NOBODY, OTHER], deadline=_soon()),
    )


class _Closed:
    """A gate that admits one protocol."""

    def __init__(self, open_for: ProtocolId) -> None:
        self._open_for = open_for
        self.asked: list[tuple[ProtocolId, Direction]] = []

    async def admit(self, peer: PeerId, protocol: ProtocolId, direction: Direction) -> None:
        await trio.lowlevel.checkpoint()
        self.asked.append((protocol, direction))
        if protocol != self._open_for:
            raise ProtocolRefused(f"{protocol} is not agreed")


async def the_gate_is_asked(near: Host, far: Host) -> None:
    """Outbound streams before anything is sent, inbound ones before their handler."""
    served: list[ProtocolId] = []

    async def handler(stream: Stream) -> None:
        served.append(stream.protocol)
        await _echo(stream)

    for protocol in (ECHO, OTHER):
        far.set_handler(protocol, handler)
    await _meet(near, far)
    near.set_gate(_Closed(ECHO))
    await _raises(ProtocolRefused, lambda: near.open_stream(far.peer_id, [OTHER], deadline=_soon()))
    assert served == []
    near.set_gate(None)
    gate = _Closed(ECHO)
    far.set_gate(gate)

    async def use(protocol: ProtocolId) -> bytes:
        stream = await near.open_stream(far.peer_id, [protocol], deadline=_soon())
        async with stream:
            await stream.write_all(b"hi")
            return await stream.read_some()

    await _raises(TransportError, lambda: use(OTHER))
    assert await use(ECHO) == b"hi"
    assert served == [ECHO]
    assert (OTHER, Direction.INBOUND) in gate.asked


async def deadlines_are_kept(near: Host, far: Host) -> None:
    """A deadline that has passed raises DeadlineExceeded and leaves the host usable."""
    await _raises(
        DeadlineExceeded,
        lambda: near.connect(far.peer_id, far.addresses, deadline=trio.current_time() - 1),
    )
    far.set_handler(ECHO, _echo)
    await _meet(near, far)
    stream = await near.open_stream(far.peer_id, [ECHO], deadline=math.inf)
    await stream.aclose()


async def unreachable_peers_are_named(near: Host, far: Host) -> None:
    """Without an address, or with one where another peer lives: Unreachable, attempts listed."""
    stranger = PeerId.from_ed25519(bytes(31) + b"\1")
    await _raises(Unreachable, lambda: near.connect(stranger, deadline=_soon()))
    wrong = [address for address in far.addresses]
    error = await _raises(Unreachable, lambda: near.connect(stranger, wrong, deadline=_soon()))
    assert isinstance(error, Unreachable) and len(error.attempts) == len(wrong)
    assert stranger not in near.peers()


async def local_mistakes_are_local(near: Host, far: Host) -> None:
    """Dialling oneself and serving a protocol twice are LocalProtocolError."""
    await _raises(
        LocalProtocolError, lambda: near.connect(near.peer_id, near.addresses, deadline=_soon())
    )
    near.set_handler(ECHO, _echo)
    try:
        near.set_handler(ECHO, _echo)
    except LocalProtocolError:
        near.remove_handler(ECHO)
        near.remove_handler(ECHO)
        near.set_handler(ECHO, _echo)
        return
    raise AssertionError("a protocol was served twice")


async def known_addresses_are_used(near: Host, far: Host) -> None:
    """`connect` without addresses uses the remembered ones."""
    near.add_addresses(far.peer_id, far.addresses)
    assert near.known_addresses(far.peer_id)
    info = await near.connect(far.peer_id, deadline=_soon())
    assert info.direction is Direction.OUTBOUND
    again = await near.connect(far.peer_id, deadline=_soon())
    assert again == info, "a second connect must return the same connection"


async def simultaneous_dials_give_one_connection(near: Host, far: Host) -> None:
    """Both sides dial at once; each keeps one connection and can use it."""
    far.set_handler(ECHO, _echo)
    near.set_handler(ECHO, _echo)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_meet, near, far)
        nursery.start_soon(_meet, far, near)
    for one, other in ((near, far), (far, near)):
        assert one.peers() == (other.peer_id,)
        async with await one.open_stream(other.peer_id, [ECHO], deadline=_soon()) as stream:
            await stream.write_all(b"x")
            assert await stream.read_some() == b"x"


async def events_tell_the_story(near: Host, far: Host) -> None:
    """Connected once and Disconnected once on both sides, with the same connection number."""
    with near.events() as here, far.events() as there:
        await _meet(near, far)
        await near.disconnect(far.peer_id)
        await near.disconnect(far.peer_id)
        for events, other in ((here, far), (there, near)):
            story: list[HostEvent] = []
            with trio.fail_after(PATIENCE_S):
                async for event in events:
                    if isinstance(event, Connected | Disconnected):
                        story.append(event)
                    if isinstance(event, Disconnected):
                        break
            assert [type(event) for event in story] == [Connected, Disconnected]
            first, last = story
            assert isinstance(first, Connected) and isinstance(last, Disconnected)
            assert first.connection == last.connection
            assert first.connection.peer == other.peer_id
            assert last.reason
    assert near.peers() == ()


async def disconnecting_ends_streams(near: Host, far: Host) -> None:
    """Streams of a lost connection raise StreamReset on both sides, also in waiting calls."""
    stream, end, release = await _stream_pair(near, far)
    errors: list[FogError] = []

    async def wait(waiting: Stream) -> None:
        errors.append(await _raises(TransportError, waiting.read_some))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, stream)
        nursery.start_soon(wait, end)
        await trio.sleep(0.05)
        await near.disconnect(far.peer_id)
    assert all(isinstance(error, StreamReset) for error in errors), errors
    release.set()


async def cancelling_leaves_the_host_usable(near: Host, far: Host) -> None:
    """Cancelled opens, reads and closes harm neither the host nor other streams."""
    far.set_handler(ECHO, _echo)
    await _meet(near, far)
    for _ in range(20):
        with trio.CancelScope() as scope:
            scope.cancel()
            await near.open_stream(far.peer_id, [ECHO, OTHER], deadline=_soon())
    stream = await near.open_stream(far.peer_id, [ECHO], deadline=_soon())
    with trio.move_on_after(0.05):
        await stream.read_some()
    await stream.write_all(b"still here")
    assert await stream.read_some() == b"still here"
    with trio.CancelScope() as scope:
        scope.cancel()
        await stream.aclose()
    await _raises(StreamClosed, lambda: stream.write_all(b"x"))
    async with await near.open_stream(far.peer_id, [ECHO], deadline=_soon()) as other:
        await other.write_all(b"y")
        assert await other.read_some() == b"y"


async def peers_are_identified(near: Host, far: Host) -> None:
    """After a connection both sides learn what the other serves and where it listens."""
    far.set_handler(ECHO, _echo)
    with near.events() as at_near, far.events() as at_far:
        await _meet(near, far)
        for events, other in ((at_near, far), (at_far, near)):
            with trio.fail_after(PATIENCE_S):
                async for event in events:
                    if isinstance(event, PeerIdentified):
                        assert event.peer == other.peer_id, "somebody else was identified"
                        if other is far:
                            assert ECHO in event.protocols, "a served protocol is missing"
                        break
    for one, other in ((near, far), (far, near)):
        assert one.known_addresses(other.peer_id), "no address was learned"


CHECKS: tuple[Check, ...] = (
    addresses_name_the_host,
    peers_are_identified,
    connect_and_echo,
    bulk_both_ways_at_once,
    many_streams_at_once,
    halves_close_separately,
    reading_limits,
    reset_reaches_the_peer,
    leaving_by_an_exception_resets,
    a_waiting_reader_is_woken,
    a_slow_reader_stops_the_writer,
    handler_errors_stay_inside,
    a_distrusted_peer_is_disconnected,
    a_handler_that_returns_closes,
    unknown_protocols_are_refused,
    the_gate_is_asked,
    deadlines_are_kept,
    unreachable_peers_are_named,
    local_mistakes_are_local,
    known_addresses_are_used,
    simultaneous_dials_give_one_connection,
    events_tell_the_story,
    disconnecting_ends_streams,
    cancelling_leaves_the_host_usable,
)
