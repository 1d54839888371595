"""Attacks on the wire of the libp2p host: Noise, multistream-select, yamux."""

from __future__ import annotations

import logging
import random
import time

import psutil
import pytest
import trio
from libp2p.security.noise.pb import noise_pb2

from fogp2p.environment import real_environment, within
from fogp2p.errors import Unreachable
from fogp2p.framing import encode_frame
from fogp2p.identity import Identity, ephemeral
from fogp2p.limits import INBOUND_STREAMS_PER_PEER, WRITE_QUEUE_BYTES
from fogp2p.transports.libp2p import Libp2pConfig, open_host, yamux
from fogp2p.transports.libp2p.multistream import Opener, Responder
from fogp2p.transports.libp2p.noise import NoiseHandshake
from fogp2p.transports.libp2p.upgrade import NOISE
from fogp2p.transports.libp2p.wire_config import UPDATES_PER_S, WRITE_BATCH

PREFIX = b"noise-libp2p-static-key:"
# Points of small order on Curve25519 (RFC 7748 section 6.1; the list of the "contributory" paper).
LOW_ORDER = [
    bytes.fromhex(each)
    for each in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
]


def rss() -> int:
    return psutil.Process().memory_info().rss


class _Liar(NoiseHandshake):
    """Proves its identity in one of six wrong ways."""

    def __init__(self, how: str, victim: Identity, own: Identity, *, initiator: bool) -> None:
        super().__init__(own, initiator=initiator, expected=None)
        self._how, self._victim, self._own = how, victim, own

    def _proof(self) -> bytes:
        key = self._victim.peer_id.key_protobuf or b""
        good = self._own.sign(PREFIX + self._own.noise_public)
        # What the victim signed in another handshake, with its own static key.
        stolen = self._victim.sign(PREFIX + self._victim.noise_public)
        key, signature = {
            "another signer": (key, good),
            "empty": (key, b""),
            "truncated": (key, stolen[:-1]),
            "stolen from another handshake": (key, stolen),
            "no key": (b"", good),
            "flipped": (key, bytes([stolen[0] ^ 1]) + stolen[1:]),
        }[self._how]
        message = noise_pb2.NoiseHandshakePayload(identity_key=key, identity_sig=signature)
        return bytes(message.SerializeToString())

    def _check(self, payload: bytes) -> None:
        self.remote_peer = None


LIES = [
    "another signer",
    "empty",
    "truncated",
    "stolen from another handshake",
    "no key",
    "flipped",
]


@pytest.mark.attack(2)
@pytest.mark.parametrize("how", LIES)
async def test_noise_badsig_of_a_dialler(tools, how: str) -> None:
    victim, own = (ephemeral(random.SystemRandom()) for _ in range(2))
    async with tools.open_target() as host:
        with host.events() as events:
            socket = await tools.raw_socket(host)
            liar = _Liar(how, victim, own, initiator=True)
            opener = Opener([NOISE])
            await socket.send_all(opener.start() + liar.start())
            while not opener.is_finished:
                opener.receive_data(await socket.receive_some(65536))
            early = opener.take_rest()
            while not liar.is_finished:
                answer = liar.receive_data(early)
                if answer:
                    await socket.send_all(answer)
                if not liar.is_finished:
                    early = await socket.receive_some(65536)
            with trio.fail_after(5):
                while await socket.receive_some(65536):
                    pass
            assert host.peers() == ()
            await tools.honest_echo(host)
            first = await anext(aiter(events))
            assert first.connection.peer not in (victim.peer_id, own.peer_id)


@pytest.mark.attack(2)
@pytest.mark.parametrize("how", LIES)
async def test_noise_badsig_of_a_listener(tools, how: str) -> None:
    victim, own = (ephemeral(random.SystemRandom()) for _ in range(2))

    async def lie(socket: trio.SocketStream) -> None:
        liar = _Liar(how, victim, own, initiator=False)
        responder = Responder(NOISE.__eq__)
        while responder.agreed is None:
            await socket.send_all(responder.receive_data(await socket.receive_some(65536)))
        answer = liar.receive_data(responder.take_rest())
        await socket.send_all(answer)
        while await socket.receive_some(65536):
            pass

    async with tools.open_target() as host, trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, lie, listeners)
        from fogp2p.addresses import parse_address

        address = parse_address(f"/ip4/127.0.0.1/tcp/{port}")
        with pytest.raises(Unreachable) as caught:
            await host.connect(victim.peer_id, [address], deadline=within(10))
        assert "identity" in caught.value.attempts[0][1]
        assert host.peers() == ()
        nursery.cancel_scope.cancel()


@pytest.mark.attack(3)
@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda point: point.hex()[:4])
async def test_noise_loworder(tools, point: bytes) -> None:
    async with tools.open_target() as host:
        socket = await tools.raw_socket(host)
        first = len(point).to_bytes(2) + point
        await socket.send_all(Opener([NOISE]).start() + first)
        with trio.fail_after(5):
            while await socket.receive_some(65536):
                pass
        assert host.peers() == ()


@pytest.mark.attack(4)
async def test_noise_replay(tools) -> None:
    """What an honest peer sent, sent again, makes no session."""
    identity = ephemeral(random.SystemRandom())
    async with tools.open_target() as host:
        socket = await tools.raw_socket(host)
        handshake = NoiseHandshake(identity, initiator=True, expected=host.peer_id)
        opener = Opener([NOISE])
        recorded = [opener.start() + handshake.start()]
        await socket.send_all(recorded[0])
        while not opener.is_finished:
            opener.receive_data(await socket.receive_some(65536))
        early = opener.take_rest()
        while not handshake.is_finished:
            answer = handshake.receive_data(early)
            if answer:
                recorded.append(answer)
                await socket.send_all(answer)
            if not handshake.is_finished:
                early = await socket.receive_some(65536)
        await socket.aclose()
        for replayed in (recorded, recorded[::-1], [recorded[0], recorded[0]]):
            again = await tools.raw_socket(host)
            with trio.fail_after(5):
                try:
                    for part in replayed:
                        await again.send_all(part)
                        if part is replayed[0]:
                            await again.receive_some(65536)
                    while await again.receive_some(65536):
                        pass
                except trio.BrokenResourceError:
                    pass
        assert host.peers() == ()
        await tools.honest_echo(host)


@pytest.mark.attack(6)
async def test_slow_handshake(tools) -> None:
    """One byte at a time does not stretch the time a handshake may take."""
    async with tools.open_target(Libp2pConfig(handshake_timeout_s=0.5)) as host:
        socket = await tools.raw_socket(host)
        start = trio.current_time()
        with trio.fail_after(10), pytest.raises(trio.BrokenResourceError):
            for byte in Opener([NOISE]).start() + bytes(1_000):
                await socket.send_all(bytes([byte]))
                await trio.sleep(0.05)
        assert 0.4 < trio.current_time() - start < 5
        assert host._inbound.total == 0


@pytest.mark.attack(9)
async def test_yamux_overrun(tools) -> None:
    """F1: more data than the window allows ends the connection; nothing of it is kept."""
    async with tools.open_target() as host:
        raw = await tools.raw_dial(host)
        await raw.open(1, tools.SINK)
        before = rss()
        blob = b"".join(tools.frame(tools.DATA, 0, 1, 65_536, bytes(65_536)) for _ in range(4))
        sent = await raw.send_until_closed(blob, 800)
        assert sent < 800
        await tools.until(lambda: host.peers() == ())
        assert rss() - before < 8 * 1024 * 1024
        await tools.honest_echo(host)


@pytest.mark.attack(10)
async def test_yamux_synflood(tools) -> None:
    """F2: 256 streams at most, then resets, then the end."""
    most = 0
    async with tools.open_target() as host:
        raw = await tools.raw_dial(host)
        for begin in range(0, 20_000, 100):
            syns = [
                tools.frame(tools.WINDOW, tools.SYN, 2 * n + 1, 0)
                for n in range(begin, begin + 100)
            ]
            try:
                await raw.send(*syns)
            except trio.BrokenResourceError:
                break
            await trio.lowlevel.checkpoint()
            most = max(most, host._inbound_streams)
        else:
            pytest.fail("20,000 streams were opened")
        assert 0 < most <= INBOUND_STREAMS_PER_PEER + 1  # and the identify stream of our own
        await tools.until(lambda: host.peers() == () and host._inbound_streams == 0)
        await tools.honest_echo(host)


@pytest.mark.attack(11)
@pytest.mark.parametrize("length", [262_146, 16 * 1024 * 1024 + 1, 2**32 - 1])
async def test_yamux_bigsyn(tools, length: int) -> None:
    """CVE-2026-32314: a first frame larger than the window is an error of this connection only."""
    async with tools.open_target() as host:
        other = await tools.raw_dial(host)
        raw = await tools.raw_dial(host)
        before = rss()
        await raw.send(tools.frame(tools.DATA, tools.SYN, 1, length, bytes(1_000)))
        assert await raw.hears_the_end()
        await tools.until(lambda: len(host.peers()) == 1)
        assert rss() - before < 8 * 1024 * 1024
        await other.open(1, tools.ECHO)
        assert await other.socket.receive_some(65536)


@pytest.mark.attack(12)
async def test_rapid_reset(tools) -> None:
    """Opening and resetting without pause is a flood; the loop stays responsive meanwhile."""
    lags: list[float] = []

    async def tick() -> None:
        while True:
            # Of this thread's own time: other programs may take the processor for longer.
            start = time.thread_time()
            await trio.sleep(0.005)
            lags.append(time.thread_time() - start)

    async with tools.open_target() as host, trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        raw = await tools.raw_dial(host)
        pairs = 0
        with trio.fail_after(20):
            for begin in range(0, 20_000, 50):
                frames = []
                for n in range(begin, begin + 50):
                    frames.append(tools.frame(tools.WINDOW, tools.SYN, 2 * n + 1, 0))
                    frames.append(tools.frame(tools.WINDOW, tools.RST, 2 * n + 1, 0))
                try:
                    await raw.send(*frames)
                except trio.BrokenResourceError:
                    break
                pairs += 50
        assert pairs < 20_000
        await tools.until(lambda: host.peers() == () and host._inbound_streams == 0)
        await tools.honest_echo(host)
        nursery.cancel_scope.cancel()
    # The figure itself is a benchmark's; here only that nothing stalls.
    assert max(lags) < 1.0


@pytest.mark.attack(13)
@pytest.mark.parametrize(
    ("kind", "flags", "count"),
    [("PING", 1, 1_000), ("GO_AWAY", 0, 1_000), ("PING", 2, 1_000), ("WINDOW", 0, 150_000)],
)
async def test_ctrl_flood(
    tools, monkeypatch: pytest.MonkeyPatch, kind: str, flags: int, count: int
) -> None:
    # What is allowed of window updates is more than a busy machine can send; a tenth of it is not,
    # and ends the session by the same code (the figure itself: tests/unit/test_yamux.py).
    monkeypatch.setattr(yamux, "UPDATES_PER_S", UPDATES_PER_S / 10)
    async with tools.open_target() as host:
        raw = await tools.raw_dial(host)
        stream = 0
        if kind == "WINDOW":
            stream = 1
            await raw.open(1, tools.SINK)
        one = tools.frame(getattr(tools, kind), flags, stream, 1)
        blob = one * 1_000

        async def read() -> None:
            try:
                while await raw.socket.receive_some(65536):
                    pass
            except trio.BrokenResourceError:
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await raw.send_until_closed(blob, count // 1_000)
            await tools.until(lambda: host.peers() == ())
            nursery.cancel_scope.cancel()
        await tools.honest_echo(host)


@pytest.mark.attack(14)
async def test_slow_reader(tools) -> None:
    """P6: a peer that grants credit and never reads costs one bounded queue."""
    async with tools.open_target() as host:
        raw = await tools.raw_dial(host)
        await raw.open(1, tools.SOURCE)
        await raw.open(3, tools.SOURCE)
        for stream in (1, 3):
            await raw.send(tools.frame(tools.WINDOW, 0, stream, 2**31))
        (entry,) = host._peers.values()
        session = entry.session
        before, last = rss(), -1
        with trio.fail_after(10):
            while session._yamux.queued_bytes != last:
                last = session._yamux.queued_bytes
                await trio.sleep(0.2)
        assert last <= WRITE_QUEUE_BYTES + WRITE_BATCH + 2 * 65_536
        assert rss() - before < 8 * 1024 * 1024
        await tools.honest_echo(host)


VARINTS = {
    "2**63": b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    "never ends": b"\xff" * 64,
    "ten bytes": b"\xff" * 9 + b"\x01",
    "zero": b"\x00",
    "longer than a line": b"\xff\xff\x03",
    "not minimal": b"\x93\x80\x00",
}


@pytest.mark.attack(15)
@pytest.mark.parametrize("name", VARINTS)
@pytest.mark.parametrize("greeted", [False, True])
async def test_varint(tools, name: str, greeted: bool) -> None:
    """Refused before memory is spent, in the clear and on a stream."""
    async with tools.open_target() as host:
        before = rss()
        socket = await tools.raw_socket(host)
        head = tools.line("/multistream/1.0.0") if greeted else b""
        await socket.send_all(head + VARINTS[name] + bytes(2_000))
        with trio.fail_after(5):
            try:
                while await socket.receive_some(65536):
                    pass
            except trio.BrokenResourceError:
                pass
        raw = await tools.raw_dial(host)
        body = head + VARINTS[name] + bytes(2_000)
        await raw.send(
            tools.frame(tools.WINDOW, tools.SYN, 1, 0),
            tools.frame(tools.DATA, 0, 1, len(body), body),
        )
        await tools.until(lambda: host._inbound_streams == 0)
        assert rss() - before < 8 * 1024 * 1024
        await tools.honest_echo(host)


GARBAGE = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    b"SSH-2.0-OpenSSH_9.9\r\n",
    Opener([NOISE]).start()[:-3] + b"\xff\xff\xff",
    Opener([NOISE]).start() + b"\x00\x20" + bytes(31),
    Opener([NOISE]).start() + b"\xff\xff" + bytes(10_000),
    Opener([NOISE]).start() + b"\x00\x00" * 10,
    b"\n" * 5_000,
    encode_frame(b"/multistream/1.0.0\n" * 50, max_bytes=65_536),
]


async def test_garbage_on_the_port_harms_nobody(tools, caplog: pytest.LogCaptureFixture) -> None:
    """P20: every line of the log is one of ours, none has a traceback."""
    caplog.set_level(logging.INFO, "fogp2p")
    source = random.Random(20)
    async with tools.open_target(Libp2pConfig(handshake_timeout_s=1.0)) as host:
        for garbage in [
            *GARBAGE,
            *(source.randbytes(source.randrange(1, 400)) for _ in range(150)),
        ]:
            socket = await tools.raw_socket(host)
            try:
                await socket.send_all(garbage)
                await socket.send_eof()
            except trio.BrokenResourceError:
                pass
            await socket.aclose()
        await tools.until(lambda: host._inbound.total == 0)
        await tools.honest_echo(host)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    refused = [r for r in caplog.records if r.getMessage().startswith("inbound_failed")]
    assert len(refused) >= 150


async def test_random_frames_in_a_session_harm_nobody(
    tools, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fogp2p")
    source = random.Random(21)
    async with tools.open_target() as host:
        for _ in range(40):
            raw = await tools.raw_dial(host)
            try:
                await raw.send(source.randbytes(source.randrange(1, 2_000)))
                await raw.socket.send_eof()
            except trio.BrokenResourceError:
                pass
            await raw.socket.aclose()
        await tools.until(lambda: host.peers() == ())
        await tools.honest_echo(host)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_debug_log_of_a_handshake_holds_no_key(
    tools, caplog: pytest.LogCaptureFixture
) -> None:
    """P18."""
    caplog.set_level(logging.DEBUG)
    identity = ephemeral(random.SystemRandom())
    async with (
        open_host(identity, Libp2pConfig(), real_environment()) as one,
        tools.open_target() as two,
    ):
        await one.connect(two.peer_id, two.addresses, deadline=within(10))
    text = caplog.text
    for secret in (identity.libp2p_private_key(), identity.noise_private_key()):
        assert secret.hex() not in text and repr(secret)[2:-1] not in text
