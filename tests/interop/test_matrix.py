"""Our host and other libp2p implementations, each dialling the other: `make interop` builds them.

Whatever passes is noted as a property of the test, with its figure; `interop/results.py` makes
interop/RESULTS.md of them. Figures are taken where the bytes or messages arrive.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from fogp2p.addresses import parse_address, peer_of, without_peer
from fogp2p.environment import real_environment, within
from fogp2p.host import Message, PeerIdentified, Stream, Subscription
from fogp2p.identity import ephemeral
from fogp2p.ids import PeerId, ProtocolId
from fogp2p.protocols import ping
from fogp2p.protocols.gossip import Gossip, open_gossip
from fogp2p.transports.libp2p import Libp2pConfig, open_host
from fogp2p.transports.libp2p.host import LibP2PHost

INTEROP = Path(__file__).resolve().parents[2] / "interop"
NODE = INTEROP / "js" / "node_modules" / ".bin" / "node"
GO = INTEROP / "go" / "bin" / "peer"
COMMANDS = {"js": [str(NODE), str(INTEROP / "js" / "peer.mjs")], "go": [str(GO)]}
ECHO = ProtocolId("/bench/echo/1.0.0")
TOPIC = "/interop/1"
BULK = 20_000_000
PINGS = 20
MESSAGES = 50
# Messages under way at once: below every implementation's queue towards one peer.
WINDOW = 10

Note = Callable[[str, object], None]


def _when(path: Path, what: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        not path.exists(), reason=f"{what} is not built: `make interop` builds it"
    )


IMPLEMENTATIONS = [
    pytest.param("js", marks=_when(NODE, "js-libp2p")),
    pytest.param("go", marks=_when(GO, "go-libp2p")),
]
both = pytest.mark.parametrize("theirs", IMPLEMENTATIONS)


class Child:
    """Another implementation's peer: it says JSON lines and reads lines."""

    def __init__(self, process: trio.Process) -> None:
        self._process, self._buffer = process, b""

    async def until(self, key: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """The next message that has `key`."""
        assert self._process.stdout is not None
        with trio.fail_after(timeout_s):
            while True:
                while b"\n" not in self._buffer:
                    part = await self._process.stdout.receive_some()
                    assert part, "the other peer ended"
                    self._buffer += part
                line, _, self._buffer = self._buffer.partition(b"\n")
                message: dict[str, Any] = json.loads(line)
                if key in message:
                    return message

    async def tell(self, *lines: str) -> None:
        """Lines on its standard input."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all("".join(f"{line}\n" for line in lines).encode())


@asynccontextmanager
async def child(theirs: str, *arguments: str) -> AsyncIterator[Child]:
    process = await trio.lowlevel.open_process(
        [*COMMANDS[theirs], *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield Child(process)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                await pipe.aclose()


@asynccontextmanager
async def our_host() -> AsyncIterator[LibP2PHost]:
    identity = ephemeral(random.SystemRandom())
    async with open_host(identity, Libp2pConfig(), real_environment()) as host:
        host.set_handler(ECHO, _echo)
        ping.install(host)
        yield host


async def _echo(stream: Stream) -> None:
    while data := await stream.read_some():
        await stream.write_all(data)


async def _echoed(host: LibP2PHost, peer: PeerId, sent: bytes) -> float:
    """Send and compare what comes back, both at once; seconds it took."""
    stream = await host.open_stream(peer, [ECHO], deadline=within(10))
    got, start = bytearray(), trio.current_time()
    async with stream, trio.open_nursery() as nursery:
        nursery.start_soon(stream.write_all, sent)
        with trio.fail_after(60):
            while len(got) < len(sent):
                part = await stream.read_some()
                assert part, f"the stream ended after {len(got)} bytes"
                got += part
    assert bytes(got) == sent
    return trio.current_time() - start


async def _connect(host: LibP2PHost, text: str) -> PeerId:
    address = parse_address(text)
    peer = peer_of(address)
    assert peer is not None
    await host.connect(peer, [without_peer(address)], deadline=within(10))
    return peer


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Note:
    """Write down what passed, for the report."""
    return lambda name, value: request.node.user_properties.append((name, value))


@both
async def test_we_dial(theirs: str, note: Note) -> None:
    async with child(theirs, "serve") as other, our_host() as host:
        with host.events() as events:
            peer = await _connect(host, (await other.until("address"))["address"])
            with trio.fail_after(10):
                async for event in events:
                    if isinstance(event, PeerIdentified):
                        break
        assert event.agent.startswith(f"{theirs}-libp2p") and ECHO in event.protocols
        told = await other.until("identified")
        assert told["identified"] == str(host.peer_id) and told["agent"] == Libp2pConfig().agent
        assert ECHO in told["protocols"]
        note("identify", f"both learn the other's agent; theirs is {event.agent}")
        times = [
            await ping.ping(host, peer, random.Random(n), deadline=within(10)) for n in range(PINGS)
        ]
        note("ping", f"{1000 * statistics.median(times):.2f} ms, median of {PINGS}")
        sent = random.Random(2).randbytes(600_000)
        await _echoed(host, peer, sent)
        note("echo", f"{len(sent):,} of {len(sent):,} bytes, equal")
        took = await _echoed(host, peer, random.Random(3).randbytes(BULK))
        note("echo of 20 MB", f"{BULK / 1e6 / took:.1f} MB/s each way at once, equal")


@both
async def test_they_dial_us(theirs: str, note: Note) -> None:
    async with our_host() as host, child(theirs, "ping", str(host.addresses[0])) as other:
        with host.events() as events:
            told = await other.until("echoed")
            with trio.fail_after(10):
                async for event in events:
                    if isinstance(event, PeerIdentified):
                        break
        assert event.agent.startswith(f"{theirs}-libp2p")
        assert told["agent"] == Libp2pConfig().agent and ECHO in told["protocols"]
        note("identify", f"both learn the other's agent; theirs is {event.agent}")
        assert told["pings"] == PINGS and told["ping_ms"] > 0
        note("ping", f"{told['ping_ms']:.2f} ms, median of {told['pings']}")
        assert told["echoed"] == f"from {theirs}"
        size = len(told["echoed"])
        note("echo", f"{size} of {size} bytes, equal")
        assert (told["bulk_bytes"], told["bulk_same"]) == (BULK, True)
        rate = BULK / 1e6 / told["bulk_seconds"]
        note("echo of 20 MB", f"{rate:.1f} MB/s each way at once, equal")


@both
async def test_gossip_when_we_dial(theirs: str, note: Note) -> None:
    async with _gossiping() as (host, gossip), child(theirs, "gossip", "-", TOPIC) as other:
        with gossip.subscribe(TOPIC) as messages:
            peer = await _connect(host, (await other.until("address"))["address"])
            await _exchange(host, gossip, messages, other, peer, note)


@both
async def test_gossip_when_they_dial(theirs: str, note: Note) -> None:
    async with (
        _gossiping() as (host, gossip),
        child(theirs, "gossip", str(host.addresses[0]), TOPIC) as other,
    ):
        with gossip.subscribe(TOPIC) as messages:
            peer = PeerId.parse((await other.until("id"))["id"])
            await _exchange(host, gossip, messages, other, peer, note)


@asynccontextmanager
async def _gossiping() -> AsyncIterator[tuple[LibP2PHost, Gossip]]:
    keys = ephemeral(random.SystemRandom())
    async with (
        open_host(keys, Libp2pConfig(), real_environment()) as host,
        open_gossip(host, keys, real_environment()) as gossip,
    ):
        yield host, gossip


async def _exchange(
    host: LibP2PHost,
    gossip: Gossip,
    messages: Subscription,
    other: Child,
    peer: PeerId,
    note: Note,
) -> None:
    """50 messages each way once both are in the mesh, every one counted where it arrives."""
    with trio.fail_after(20):
        while peer not in gossip.router.mesh.get(TOPIC, ()):  # noqa: ASYNC110
            await trio.sleep(0.01)
    ours = [f"ours {n}" for n in range(MESSAGES)]
    heard = set()
    for at in range(0, MESSAGES, WINDOW):
        for text in ours[at : at + WINDOW]:
            await gossip.publish(TOPIC, text.encode())
        for _ in range(WINDOW):
            told = await other.until("heard", 20)
            assert told["from"] == str(host.peer_id)
            heard.add(told["heard"])
    assert heard == set(ours)
    note("gossip, ours to them", f"{len(heard)} of {MESSAGES} messages")
    theirs = [f"theirs {n}" for n in range(MESSAGES)]
    got: set[str] = set()
    for at in range(0, MESSAGES, WINDOW):
        await other.tell(*theirs[at : at + WINDOW])
        with trio.fail_after(20):
            while len(got) < at + WINDOW:
                message = await anext(messages)
                assert isinstance(message, Message)
                if message.author == peer:
                    got.add(message.data.decode())
    assert got == set(theirs)
    note("gossip, theirs to us", f"{len(got)} of {MESSAGES} messages")
