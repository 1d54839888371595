"""Blobs between whole hosts, on a network in memory and under a virtual clock."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from fogp2p.environment import Environment, within
from fogp2p.errors import FogError, LimitExceeded, Unreachable
from fogp2p.framing import FrameDecoder, encode_frame, read_frame
from fogp2p.host import Host, Stream
from fogp2p.identity import ephemeral
from fogp2p.ids import PeerId
from fogp2p.protocols.blob import (
    CHUNK_BYTES,
    PROTOCOL_ID,
    BlobConfig,
    Blobs,
    Cid,
    State,
    UnknownBlob,
    open_blobs,
)
from fogp2p.protocols.blob.config import MAX_REPLY_BYTES
from fogp2p.protocols.blob.messages import (
    Request,
    Status,
    bitmap_of,
    decode_request,
    reply_frame,
)
from fogp2p.testing import MemoryDisk, Trace, run_simulation, sim_environment
from fogp2p.transports.memory import LinkSettings, MemoryNetwork
from fogp2p.transports.peerbook import Bootstrap

FOLDER = Path("/blobs")
CONTENT = random.Random(7).randbytes(5 * CHUNK_BYTES + 1_000)
CHUNKS = [CONTENT[at : at + CHUNK_BYTES] for at in range(0, len(CONTENT), CHUNK_BYTES)]


class Peer:
    """One side, with a disk that can be looked into."""

    def __init__(self, host: Host, blobs: Blobs, environment: Environment) -> None:
        self.host = host
        self.blobs = blobs
        self.environment = environment
        assert isinstance(environment.disk, MemoryDisk)
        self.disk = environment.disk


@asynccontextmanager
async def _peer(
    network: MemoryNetwork, number: int, config: BlobConfig | None = None
) -> AsyncIterator[Peer]:
    environment = sim_environment(1, str(number))
    async with (
        network.open_host(ephemeral(random.Random(number))) as host,
        open_blobs(host, [], environment, FOLDER, config) as blobs,
    ):
        yield Peer(host, blobs, environment)


def _simulate(scenario: Callable[[MemoryNetwork], Awaitable[None]]) -> None:
    async def run(trace: Trace) -> None:
        await scenario(MemoryNetwork(seed=1, default=LinkSettings(latency_s=0.01)))

    run_simulation(1, run)


async def _meet(one: Peer, other: Peer) -> None:
    await one.host.connect(other.host.peer_id, other.host.addresses, deadline=within(5))


def test_a_blob_comes_whole_from_one_source() -> None:
    async def scenario(network: MemoryNetwork) -> None:
        async with _peer(network, 1) as one, _peer(network, 2) as other:
            cid = await one.blobs.store.add_bytes(CONTENT, name="a.bin")
            await _meet(other, one)
            got = await other.blobs.fetch(cid, deadline=within(60))
            assert got == {one.host.peer_id: 6}
            assert await other.blobs.store.content(cid) == CONTENT
            again = await other.blobs.fetch(cid, deadline=within(60))
            assert again == {}

    _simulate(scenario)


def test_empty_and_repeating_contents() -> None:
    async def scenario(network: MemoryNetwork) -> None:
        async with _peer(network, 1) as one, _peer(network, 2) as other:
            await _meet(other, one)
            for content in (b"", b"x", bytes(3 * CHUNK_BYTES)):
                cid = await one.blobs.store.add_bytes(content)
                await other.blobs.fetch(cid, deadline=within(60))
                assert await other.blobs.store.content(cid) == content
            assert other.blobs.store.used_bytes == 1 + 3 * CHUNK_BYTES

    _simulate(scenario)


def test_four_sources_share_the_work() -> None:
    content = random.Random(8).randbytes(40 * CHUNK_BYTES)

    async def scenario(network: MemoryNetwork) -> None:
        async with (
            _peer(network, 1) as a,
            _peer(network, 2) as b,
            _peer(network, 3) as c,
            _peer(network, 4) as d,
            _peer(network, 5) as getter,
        ):
            for each in (a, b, c, d):
                cid = await each.blobs.store.add_bytes(content)
                await _meet(getter, each)
            got = await getter.blobs.fetch(cid, deadline=within(60))
            assert sum(got.values()) == 40 and len(got) == 4 and min(got.values()) >= 4
            assert await getter.blobs.store.content(cid) == content

    _simulate(scenario)


def test_two_that_have_halves_complete_each_other() -> None:
    async def scenario(network: MemoryNetwork) -> None:
        async with (
            _peer(network, 1) as origin,
            _peer(network, 2) as one,
            _peer(network, 3) as other,
        ):
            cid = await origin.blobs.store.add_bytes(CONTENT)
            encoded = await origin.blobs.store.encoded_manifest(cid)
            assert encoded is not None
            for peer, part in ((one, range(0, 6, 2)), (other, range(1, 6, 2))):
                await peer.blobs.store.add_manifest(cid, encoded, name="", pinned=True)
                for index in part:
                    chunk = await origin.blobs.store.chunk(cid, index)
                    assert chunk is not None
                    await peer.blobs.store.put(cid, [(index, chunk)])
            await _meet(one, other)
            async with trio.open_nursery() as nursery:
                for peer in (one, other):
                    nursery.start_soon(_fetch, peer, cid)
            for peer in (one, other):
                assert await peer.blobs.store.content(cid) == CONTENT

    _simulate(scenario)


async def _fetch(peer: Peer, cid: Cid) -> None:
    await peer.blobs.fetch(cid, deadline=within(120))


@pytest.mark.attack(131)
@pytest.mark.spec("BLO-011")
def test_a_source_that_lies_is_named_and_the_rest_comes_from_others() -> None:
    async def scenario(network: MemoryNetwork) -> None:
        async with (
            _peer(network, 1) as honest,
            network.open_host(ephemeral(random.Random(9))) as liar,
            _peer(network, 2) as getter,
        ):
            cid = await honest.blobs.store.add_bytes(CONTENT)
            liar.set_handler(PROTOCOL_ID, _lies(lambda request: reply_frame(Status.OK, b"poison")))
            for host in (liar, honest.host):
                await getter.host.connect(host.peer_id, host.addresses, deadline=within(5))
            first = [liar.peer_id, honest.host.peer_id]
            got = await getter.blobs.fetch(cid, sources=first, deadline=within(120))
            assert got == {honest.host.peer_id: 6}
            assert await getter.blobs.store.content(cid) == CONTENT

    _simulate(scenario)


def _lies(answer: Callable[[Request], bytes]) -> Callable[[Stream], Awaitable[None]]:
    """A source that claims to have everything and then answers as it likes."""

    async def handle(stream: Stream) -> None:
        decoder = FrameDecoder()
        while (frame := await read_frame(stream, decoder)) is not None:
            request = decode_request(frame)
            said = reply_frame(Status.OK, bitmap_of(6, range(6)))
            if request.kind != "have":
                said = answer(request)
            await stream.write_all(said)

    return handle


@pytest.mark.attack(130)
@pytest.mark.attack(134)
@pytest.mark.parametrize(
    "answer",
    [
        lambda request: reply_frame(Status.OK, b"not a manifest"),
        lambda request: reply_frame(Status.OK, bytes(CHUNK_BYTES)),  # a manifest without end
        lambda request: reply_frame(Status.UNKNOWN),
        lambda request: b"\x01\x09",
        lambda request: b"\x00",
    ],
)
def test_hostile_manifests_cost_their_sender_only(answer: Callable[[Request], bytes]) -> None:
    async def scenario(network: MemoryNetwork) -> None:
        async with (
            network.open_host(ephemeral(random.Random(9))) as liar,
            _peer(network, 2) as getter,
        ):
            liar.set_handler(PROTOCOL_ID, _lies(answer))
            await getter.host.connect(liar.peer_id, liar.addresses, deadline=within(5))
            cid = Cid(b"\x01\x51\x12\x20" + bytes(32))
            with pytest.raises(Unreachable):
                await getter.blobs.fetch(cid, deadline=within(40))
            assert getter.blobs.store.blobs() == () and getter.blobs.fetching == ()

    _simulate(scenario)


def test_a_source_that_stops_answering_is_left_and_the_rest_goes_on() -> None:
    async def scenario(network: MemoryNetwork) -> None:
        async with (
            _peer(network, 1) as quick,
            network.open_host(ephemeral(random.Random(9))) as frozen,
            _peer(network, 2) as getter,
        ):
            cid = await quick.blobs.store.add_bytes(CONTENT)

            async def freeze(stream: Stream) -> None:
                await trio.sleep_forever()

            frozen.set_handler(PROTOCOL_ID, freeze)
            for host in (frozen, quick.host):
                await getter.host.connect(host.peer_id, host.addresses, deadline=within(5))
            begin = trio.current_time()
            await getter.blobs.fetch(
                cid, sources=[quick.host.peer_id, frozen.peer_id], deadline=within(120)
            )
            assert trio.current_time() - begin < 5

    _simulate(scenario)


@pytest.mark.attack(140)
@pytest.mark.parametrize("sulk", [Unreachable("takes no streams"), LimitExceeded("too many")])
def test_a_peer_that_takes_no_streams_ends_no_fetch_from_others(
    sulk: FogError, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A yamux go-away, or a limit of our own: about one source, and not about the file."""

    async def scenario(network: MemoryNetwork) -> None:
        async with (
            _peer(network, 1) as quick,
            network.open_host(ephemeral(random.Random(9))) as sulking,
            _peer(network, 2) as getter,
        ):
            cid = await quick.blobs.store.add_bytes(CONTENT)
            for host in (sulking, quick.host):
                await getter.host.connect(host.peer_id, host.addresses, deadline=within(5))
            open_stream = getter.host.open_stream

            async def refused(peer: PeerId, *args: Any, **kwargs: Any) -> Stream:
                if peer == sulking.peer_id:
                    raise sulk
                return await open_stream(peer, *args, **kwargs)

            monkeypatch.setattr(getter.host, "open_stream", refused)
            first = [sulking.peer_id, quick.host.peer_id]
            got = await getter.blobs.fetch(cid, sources=first, deadline=within(60))
            assert got == {quick.host.peer_id: 6}

    _simulate(scenario)


def test_what_arrived_stays_and_the_next_run_goes_on_from_there() -> None:
    async def scenario(network: MemoryNetwork) -> None:
        async with _peer(network, 1) as one:
            cid = await one.blobs.store.add_bytes(CONTENT)
            async with _peer(network, 2) as getter:
                encoded = await one.blobs.store.encoded_manifest(cid)
                assert encoded is not None
                await getter.blobs.store.add_manifest(cid, encoded, name="", pinned=True)
                for index in (0, 5):
                    chunk = await one.blobs.store.chunk(cid, index)
                    assert chunk is not None
                    await getter.blobs.store.put(cid, [(index, chunk)])
                disk = getter.disk
            # The process died here; its disk has two chunks, and files that belong to nobody.
            environment = Environment(
                getter.environment.clock, random.Random(3), getter.environment.executor, disk
            )
            strays = [FOLDER / part / "left" for part in ("contents", "have", "manifests")]
            for stray in strays:
                disk.replace(stray, b"left by a crash")
            async with (
                network.open_host(ephemeral(random.Random(3))) as host,
                open_blobs(host, [], environment, FOLDER) as blobs,
            ):
                assert blobs.store.present(cid) == {0, 5}
                assert [disk.mode(stray) for stray in strays] == [None, None, None]
                await host.connect(one.host.peer_id, one.host.addresses, deadline=within(5))
                assert await blobs.fetch(cid, deadline=within(60)) == {one.host.peer_id: 4}
                assert await blobs.store.content(cid) == CONTENT

    _simulate(scenario)


def test_a_chunk_spoilt_on_the_disk_is_missing_not_served() -> None:
    async def scenario(network: MemoryNetwork) -> None:
        async with _peer(network, 1) as one, _peer(network, 2) as other:
            cid = await one.blobs.store.add_bytes(CONTENT)
            one.disk.flip(FOLDER / "contents" / str(cid), 77)
            await _meet(other, one)
            with pytest.raises(Unreachable, match="1 of 6 chunks are missing"):
                await other.blobs.fetch(cid, deadline=within(50))
            assert one.blobs.store.present(cid) == {1, 2, 3, 4, 5}
            with pytest.raises(UnknownBlob):
                await one.blobs.store.content(cid)

    _simulate(scenario)


@pytest.mark.attack(132)
@pytest.mark.spec("BLO-020", "BLO-021")
def test_a_file_sent_is_delivered_when_the_receiver_says_so() -> None:
    async def scenario(network: MemoryNetwork) -> None:
        async with _peer(network, 1) as one, _peer(network, 2) as other:
            received: list[tuple[PeerId, Cid, str]] = []
            other.blobs.on_received = lambda *what: received.append(what)
            cid = await one.blobs.store.add_bytes(CONTENT, name="report.pdf")
            await _meet(one, other)
            steps: list[int] = []
            await one.blobs.send(
                other.host.peer_id,
                cid,
                name="../../report.pdf",
                deadline=within(60),
                progress=steps.append,
            )
            assert steps[-1] == 6
            assert received == [(one.host.peer_id, cid, "report.pdf")]
            assert await other.blobs.store.content(cid) == CONTENT
            (kept,) = other.blobs.store.blobs()
            assert not kept.pinned and kept.name == "report.pdf"

    _simulate(scenario)


@pytest.mark.attack(133)
@pytest.mark.spec("BLO-022")
def test_offers_are_bounded_and_may_be_refused() -> None:
    async def scenario(network: MemoryNetwork) -> None:
        small = BlobConfig(quota_bytes=2 * CHUNK_BYTES)
        closed = BlobConfig(accept_offers=False)
        async with (
            _peer(network, 1) as one,
            _peer(network, 2, small) as full,
            _peer(network, 3, closed) as shut,
        ):
            cid = await one.blobs.store.add_bytes(CONTENT)
            for peer in (full, shut):
                await _meet(one, peer)
                with pytest.raises(FogError):
                    await one.blobs.send(peer.host.peer_id, cid, name="x", deadline=within(60))
            assert full.blobs.store.used_bytes <= 2 * CHUNK_BYTES
            assert shut.blobs.store.blobs() == ()

    _simulate(scenario)


@pytest.mark.attack(133)
@pytest.mark.spec("BLO-022")
def test_who_offers_and_leaves_holds_nobody_up() -> None:
    async def scenario(network: MemoryNetwork) -> None:
        async with AsyncExitStack() as stack:
            one, other, *liars = [
                await stack.enter_async_context(_peer(network, number)) for number in range(1, 5)
            ]
            for number in range(4):
                liar = liars[number % 2]
                await _meet(liar, other)
                assert await _offer(liar.host, other, number) == Status.OK
            cid = await one.blobs.store.add_bytes(b"true")
            await _meet(one, other)
            with pytest.raises(Unreachable, match="busy"):
                await one.blobs.send(other.host.peer_id, cid, name="a", deadline=within(5))
            await liars[0].host.disconnect(other.host.peer_id)
            await trio.sleep(0.1)
            await one.blobs.send(other.host.peer_id, cid, name="a", deadline=within(5))

    _simulate(scenario)


async def _offer(host: Host, target: Peer, number: int) -> int:
    """Offer what nobody has; the first byte of the answer. The stream stays open."""
    stream = await host.open_stream(target.host.peer_id, [PROTOCOL_ID], deadline=within(5))
    offer = Request("offer", Cid.of_manifest(bytes([number])), name="x")
    await stream.write_all(encode_frame(offer.to_bytes()))
    frame = await read_frame(stream, FrameDecoder(max_bytes=MAX_REPLY_BYTES))
    assert frame is not None
    return frame[0]


@pytest.mark.attack(136)
@pytest.mark.spec("BLO-014")
def test_streams_of_one_peer_are_bounded() -> None:
    async def scenario(network: MemoryNetwork) -> None:
        async with _peer(network, 1) as one, _peer(network, 2) as other:
            await _meet(other, one)
            cid = await one.blobs.store.add_bytes(b"x")
            streams = [
                await other.host.open_stream(one.host.peer_id, [PROTOCOL_ID], deadline=within(5))
                for _ in range(5)
            ]
            answers = []
            for stream in streams:
                request = encode_frame(Request("have", cid).to_bytes())
                await stream.write_all(request)
                frame = await read_frame(stream, FrameDecoder(max_bytes=MAX_REPLY_BYTES))
                answers.append(frame)
            # Which of the five came last is the network's choice.
            assert sorted(map(bytes, answers)) == [b"\0\x01"] * 4 + [bytes((Status.BUSY,))]

    _simulate(scenario)


@pytest.mark.attack(133)
@pytest.mark.spec("BLO-022")
def test_a_flood_of_offers_begins_two_downloads_of_a_peer_and_four_in_all() -> None:
    async def scenario(network: MemoryNetwork) -> None:
        async with AsyncExitStack() as stack:
            target = await stack.enter_async_context(_peer(network, 1))

            async def silent(stream: Stream) -> None:
                await trio.sleep_forever()  # it offers, and then gives nothing

            hosts = []
            for number in range(3):
                keys = ephemeral(random.Random(50 + number))
                host = await stack.enter_async_context(network.open_host(keys))
                host.set_handler(PROTOCOL_ID, silent)
                await host.connect(target.host.peer_id, target.host.addresses, deadline=within(5))
                hosts.append(host)
            answers = [await _offer(hosts[number // 3], target, number) for number in range(9)]
            ok, busy = Status.OK, Status.BUSY
            assert answers == [ok, ok, busy, ok, ok, busy, busy, busy, busy]
            assert len(target.blobs.fetching) == 4 and target.blobs.store.blobs() == ()

    _simulate(scenario)


@pytest.mark.attack(135)
@pytest.mark.parametrize("bitmap", [b"", b"\x3f\x00", b"\xff", bytes(4096)])
def test_a_bitmap_of_another_size_ends_the_source(bitmap: bytes) -> None:
    async def scenario(network: MemoryNetwork) -> None:
        async with (
            _peer(network, 1) as honest,
            network.open_host(ephemeral(random.Random(9))) as liar,
            _peer(network, 2) as getter,
        ):
            cid = await honest.blobs.store.add_bytes(CONTENT)

            async def handle(stream: Stream) -> None:
                decoder = FrameDecoder()
                while await read_frame(stream, decoder) is not None:
                    said = reply_frame(Status.OK, bitmap)
                    await stream.write_all(encode_frame(said, max_bytes=MAX_REPLY_BYTES))

            liar.set_handler(PROTOCOL_ID, handle)
            for host in (liar, honest.host):
                await getter.host.connect(host.peer_id, host.addresses, deadline=within(5))
            got = await getter.blobs.fetch(
                cid, sources=[honest.host.peer_id, liar.peer_id], deadline=within(60)
            )
            assert got == {honest.host.peer_id: 6}

    _simulate(scenario)


@pytest.mark.attack(135)
def test_a_source_that_claims_what_it_does_not_have_delays_nothing_for_long() -> None:
    async def scenario(network: MemoryNetwork) -> None:
        async with (
            _peer(network, 1) as honest,
            network.open_host(ephemeral(random.Random(9))) as liar,
            _peer(network, 2) as getter,
        ):
            cid = await honest.blobs.store.add_bytes(CONTENT)
            liar.set_handler(PROTOCOL_ID, _lies(lambda request: reply_frame(Status.UNKNOWN)))
            for host in (liar, honest.host):
                await getter.host.connect(host.peer_id, host.addresses, deadline=within(5))
            begin = trio.current_time()
            first = [honest.host.peer_id, liar.peer_id]
            got = await getter.blobs.fetch(cid, sources=first, deadline=within(60))
            assert got == {honest.host.peer_id: 6}
            assert trio.current_time() - begin < 5
            assert await getter.blobs.store.content(cid) == CONTENT

    _simulate(scenario)


@pytest.mark.attack(136)
def test_streams_that_are_hoarded_are_closed_after_a_minute() -> None:
    async def scenario(network: MemoryNetwork) -> None:
        async with _peer(network, 1) as one, _peer(network, 2) as other:
            await _meet(other, one)
            cid = await one.blobs.store.add_bytes(b"x")
            for _ in range(4):
                await other.host.open_stream(one.host.peer_id, [PROTOCOL_ID], deadline=within(5))
            await trio.sleep(61)
            assert await other.blobs.fetch(cid, deadline=within(10)) == {one.host.peer_id: 1}

    _simulate(scenario)


def test_a_transfer_tells_how_far_it_is_and_can_be_ended() -> None:
    async def scenario(network: MemoryNetwork) -> None:
        async with _peer(network, 1) as one, _peer(network, 2) as other:
            told: list[tuple[str, State]] = []
            other.blobs.transfers.on_event = lambda what, each: told.append((what, each.state))
            cid = await one.blobs.store.add_bytes(CONTENT, name="a.bin")
            waiting = other.blobs.start_fetch(cid)
            await trio.sleep(40)  # nobody has it
            assert waiting.state is State.RUNNING and waiting.eta_s is None
            assert other.blobs.start_fetch(cid) is waiting
            await _meet(other, one)
            begin = trio.current_time()
            await waiting.over.wait()
            assert trio.current_time() - begin < 5  # whoever comes is asked at once
            found = waiting.measure()
            assert (waiting.state, found.done, found.size) == (
                State.DONE,
                len(CONTENT),
                len(CONTENT),
            )
            assert found.sources == {one.host.peer_id: 6} and waiting.rate > 0
            unknown = Cid(b"\x01\x51\x12\x20" + bytes(32))
            ended = other.blobs.start_fetch(unknown)
            await trio.sleep(1)
            other.blobs.transfers.cancel(ended)
            await ended.over.wait()
            assert ended.state is State.CANCELLED and other.blobs.fetching == ()
            assert told[0] == ("started", State.RUNNING)
            assert told[-1] == ("cancelled", State.CANCELLED)
            for _ in range(16):
                other.blobs.transfers.start("add", _forever)
            with pytest.raises(LimitExceeded, match="16 transfers"):
                other.blobs.start_fetch(unknown)

    _simulate(scenario)


async def _forever(transfer: object) -> None:
    await trio.sleep_forever()


def test_a_blob_removed_while_it_is_fetched_fails_the_fetch_and_nothing_else() -> None:
    async def scenario(network: MemoryNetwork) -> None:
        async with _peer(network, 1) as one, _peer(network, 2) as other:
            content = random.Random(3).randbytes(30 * CHUNK_BYTES)
            cid = await one.blobs.store.add_bytes(content)
            await _meet(other, one)
            transfer = other.blobs.start_fetch(cid)
            while not other.blobs.store.present(cid):  # noqa: ASYNC110 - nothing tells
                await trio.sleep(0.001)
            await other.blobs.store.remove(cid)
            await transfer.over.wait()
            assert transfer.state is State.FAILED and isinstance(transfer.error, UnknownBlob)
            assert other.blobs.store.used_bytes == 0
            again = other.blobs.start_fetch(cid)
            await again.over.wait()
            assert await other.blobs.store.content(cid) == content

    _simulate(scenario)


class Heard(Bootstrap):
    """A way of finding peers that remembers what it was told to announce."""

    def __init__(self) -> None:
        super().__init__([])
        self.keys: list[bytes] = []

    async def provide(self, key: bytes, *, deadline: float) -> int:
        await trio.lowlevel.checkpoint()
        self.keys.append(key)
        return 2

    def withdraw(self, key: bytes) -> None:
        self.keys.remove(key)


def test_what_was_shared_is_announced_again_after_a_restart_until_it_is_gone() -> None:
    async def scenario(network: MemoryNetwork) -> None:
        environment, way = sim_environment(1, "1"), Heard()
        async with network.open_host(ephemeral(random.Random(1))) as host:
            async with open_blobs(host, [way], environment, FOLDER) as blobs:
                shared = await blobs.store.add_bytes(b"for everybody")
                sent = await blobs.store.add_bytes(b"for one alone", pinned=False)
                assert await blobs.share(shared, deadline=within(5)) == 2
                with pytest.raises(UnknownBlob):
                    await blobs.share(Cid.of_manifest(b"?"), deadline=within(5))
                assert way.keys == [shared.raw]
            way.keys.clear()
            async with open_blobs(host, [way], environment, FOLDER) as blobs:
                await trio.sleep(1)
                assert way.keys == [shared.raw]
                flags = {kept.cid: kept.shared for kept in blobs.store.blobs()}
                assert flags == {shared: True, sent: False}
                await blobs.store.remove(shared)
                assert way.keys == []
            async with open_blobs(host, [way], environment, FOLDER) as blobs:
                await trio.sleep(1)
                assert way.keys == [] and blobs.store.find(sent) is not None

    _simulate(scenario)
