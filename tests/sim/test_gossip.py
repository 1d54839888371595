"""Gossip among many hosts under a virtual clock, honest and hostile."""

from __future__ import annotations

import random
import statistics
from contextlib import AsyncExitStack, ExitStack

import pytest
import trio

from fogp2p.environment import within
from fogp2p.errors import LimitExceeded, LocalProtocolError, TransportError
from fogp2p.events import Gap
from fogp2p.framing import FrameDecoder, encode_frame, read_frame
from fogp2p.host import Message, Stream, Verdict
from fogp2p.identity import Identity, ephemeral
from fogp2p.protocols.gossip import Gossip, GossipConfig, open_gossip
from fogp2p.protocols.gossip.config import OUTBOX, PROTOCOLS
from fogp2p.protocols.gossip.messages import Envelope, Rpc, Subscription
from fogp2p.testing import Trace, run_simulation, sim_environment
from fogp2p.transports.memory import MemoryNetwork
from fogp2p.transports.memory.host import MemoryHost

T = "/fog/test"
Member = tuple[MemoryHost, Gossip]


class Crowd:
    """Hosts in a random graph, what each heard of the topic, and when."""

    def __init__(self) -> None:
        self.members: list[Member] = []
        self.heard: list[dict[bytes, float]] = []
        self.gaps = 0


async def listen(crowd: Crowd, index: int, gossip: Gossip) -> None:
    with gossip.subscribe(T) as messages:
        async for message in messages:
            if isinstance(message, Gap):
                crowd.gaps += message.missed
            else:
                assert message.data not in crowd.heard[index], "delivered twice"
                crowd.heard[index][message.data] = trio.current_time()


async def gather(stack: AsyncExitStack, network: MemoryNetwork, count: int, degree: int) -> Crowd:
    crowd, source = Crowd(), random.Random(count)
    for n in range(count):
        keys = ephemeral(random.Random(f"{count}/{n}"))
        host = await stack.enter_async_context(network.open_host(keys))
        gossip = await stack.enter_async_context(
            open_gossip(host, keys, sim_environment(count, str(n)))
        )
        for other, _ in source.sample(crowd.members, min(degree // 2, len(crowd.members))):
            await host.connect(other.peer_id, other.addresses, deadline=within(10))
        crowd.members.append((host, gossip))
        crowd.heard.append({})
    nursery = await stack.enter_async_context(trio.open_nursery())
    stack.callback(nursery.cancel_scope.cancel)
    for n, (_, gossip) in enumerate(crowd.members):
        nursery.start_soon(listen, crowd, n, gossip)
    await trio.sleep(5)
    return crowd


def test_a_message_reaches_everybody_soon_and_once() -> None:
    async def scenario(trace: Trace) -> tuple[float, float, int]:
        async with AsyncExitStack() as stack:
            crowd = await gather(stack, MemoryNetwork(seed=1), 50, 10)
            delays, missing = [], 0
            for n in range(20):
                _, gossip = crowd.members[n]
                start = trio.current_time()
                data = b"message %d" % n
                await gossip.publish(T, data)
                await trio.sleep(1)
                for heard in crowd.heard:
                    missing += data not in heard
                    if data in heard:
                        delays.append(heard[data] - start)
            meshes = [len(gossip.router.mesh[T]) for _, gossip in crowd.members]
            assert statistics.median(meshes) >= 5 and max(meshes) <= 12
            return statistics.median(delays), max(delays), missing

    (median, worst, missing), _ = run_simulation(1, scenario)
    assert missing == 0
    assert median < 0.2 and worst < 1.0


def test_lost_frames_are_made_up_for_by_gossip() -> None:
    """Half of the mesh of one host says nothing: what it misses there comes by IHAVE and IWANT."""

    async def scenario(trace: Trace) -> int:
        async with AsyncExitStack() as stack:
            crowd = await gather(stack, MemoryNetwork(seed=2), 25, 10)
            victim = crowd.members[7][0].peer_id
            # Everybody forgets to pass messages on to the victim; only gossip reaches it.
            for host, gossip in crowd.members:
                if host.peer_id != victim:
                    gossip.router.mesh[T].discard(victim)
                    gossip.router._backoff[T][victim] = trio.current_time() + 3_000
            crowd.members[7][1].router.mesh[T].clear()
            config = GossipConfig(flood_publish=False)
            for _, gossip in crowd.members:
                gossip.router._config = config
            for n in range(10):
                index = (8 + n) % 25
                if index != 7:
                    await crowd.members[index][1].publish(T, b"message %d" % n)
                await trio.sleep(2)
            await trio.sleep(5)
            return len(crowd.heard[7])

    assert run_simulation(2, scenario)[0] == 10


def test_validators_decide_what_is_passed_on() -> None:
    async def scenario(trace: Trace) -> None:
        async with AsyncExitStack() as stack:
            crowd = await gather(stack, MemoryNetwork(seed=3), 12, 4)

            def judge(message: Message) -> Verdict:
                if message.data.startswith(b"bad"):
                    return Verdict.REJECT
                return Verdict.IGNORE if message.data.startswith(b"dull") else Verdict.ACCEPT

            for _, gossip in crowd.members:
                gossip.set_validator(T, judge)
            host, gossip = crowd.members[0]
            for data in (b"bad", b"dull", b"good"):
                await gossip.publish(T, data)
            await trio.sleep(3)
            for heard in crowd.heard[1:]:
                assert set(heard) == {b"good"}
            neighbours = [
                each for other, each in crowd.members if other.connection_to(host.peer_id)
            ]
            now = trio.current_time()
            assert all(each.router.scores.score(host.peer_id, now) < 0 for each in neighbours)
            gossip.set_validator(T, None)

    run_simulation(3, scenario)


def test_local_mistakes_and_limits() -> None:
    async def scenario(trace: Trace) -> None:
        async with AsyncExitStack() as stack:
            crowd = await gather(stack, MemoryNetwork(seed=4), 2, 2)
            gossip = crowd.members[0][1]
            for topic, data in (("", b""), ("x" * 257, b""), (T, bytes(65_537))):
                with pytest.raises(LocalProtocolError):
                    await gossip.publish(topic, data)
            with ExitStack() as many, pytest.raises(LimitExceeded):
                for n in range(101):
                    many.enter_context(gossip.subscribe(str(n)))
            assert set(gossip.router.mesh) == {T}

    run_simulation(4, scenario)


async def infiltrate(
    stack: AsyncExitStack, network: MemoryNetwork, victim: MemoryHost, seed: int = 66
) -> tuple[MemoryHost, Identity, Stream]:
    """A host without gossip of its own, and its stream to the victim."""
    keys = ephemeral(random.Random(seed))
    host = await stack.enter_async_context(network.open_host(keys))

    async def swallow(stream: Stream) -> None:
        while await stream.read_some():
            pass

    for protocol in PROTOCOLS:
        host.set_handler(protocol, swallow)
    await host.connect(victim.peer_id, victim.addresses, deadline=within(5))
    stream = await host.open_stream(victim.peer_id, PROTOCOLS, deadline=within(5))
    await stream.write_all(encode_frame(Rpc(subscriptions=(Subscription(T, True),)).to_bytes()))
    await trio.sleep(1)
    return host, keys, stream


@pytest.mark.attack(21)
@pytest.mark.parametrize("data", [b"\x05abcde", b"\x64" + b"\xff" * 100, b"\x80\x80\x80\x80\x10"])
def test_garbage_costs_its_sender_the_stream_and_nobody_anything(data: bytes) -> None:
    """P3: in libp2p 0.8.1 the first of these ends the host."""

    async def scenario(trace: Trace) -> None:
        async with AsyncExitStack() as stack:
            network = MemoryNetwork(seed=5)
            crowd = await gather(stack, network, 4, 3)
            _, _, stream = await infiltrate(stack, network, crowd.members[0][0])
            with pytest.raises(TransportError):
                await stream.write_all(data)
                while await stream.read_some():
                    pass
                raise AssertionError("the stream ended as if all were well")
            await crowd.members[1][1].publish(T, b"still here")
            await trio.sleep(1)
            assert all(b"still here" in heard for heard in crowd.heard)

    run_simulation(5, scenario)


@pytest.mark.spec("GOS-003")
@pytest.mark.attack(26)
def test_a_flood_of_forgeries_costs_one_check_and_hides_nothing() -> None:
    async def scenario(trace: Trace) -> None:
        async with AsyncExitStack() as stack:
            network = MemoryNetwork(seed=6)
            crowd = await gather(stack, network, 6, 4)
            (victim, gossip), (author, honest) = crowd.members[0], crowd.members[1]
            _, _, stream = await infiltrate(stack, network, victim)
            checks = 0
            judge = gossip._judge

            def counted(envelope: Envelope, relay: object) -> None:
                nonlocal checks
                checks += 1
                judge(envelope, relay)  # type: ignore[arg-type]

            gossip._judge = counted  # type: ignore[method-assign,assignment]
            # Forged in the name of an honest author, with the very number it will use next.
            ids = range(honest._number + 1, honest._number + 1_001)
            for number in ids:
                forged = Envelope(author.peer_id, number, T, b"forged", bytes(64))
                await stream.write_all(encode_frame(Rpc(publish=(forged,)).to_bytes()))
            await trio.sleep(1)
            assert checks == 1
            await honest.publish(T, b"genuine")
            await trio.sleep(2)
            assert b"genuine" in crowd.heard[0] and b"forged" not in crowd.heard[0]

    run_simulation(6, scenario)


@pytest.mark.spec("GOS-007")
@pytest.mark.attack(139)
def test_a_copy_kept_for_minutes_is_heard_by_nobody_a_second_time() -> None:
    """Signed by its author and true: only its number tells that it is old."""

    async def scenario(trace: Trace) -> None:
        async with AsyncExitStack() as stack:
            network = MemoryNetwork(seed=8)
            crowd = await gather(stack, network, 6, 4)
            (victim, gossip), (author, honest) = crowd.members[0], crowd.members[1]
            _, _, stream = await infiltrate(stack, network, victim)
            await honest.publish(T, b"yes")
            await trio.sleep(2)
            (kept,) = gossip.router.cache._messages.values()
            assert kept.author == author.peer_id
            for pause in (1, 150, 1_000, 3_000):
                before = gossip.stats().duplicates
                await trio.sleep(pause)
                await stream.write_all(encode_frame(Rpc(publish=(kept,)).to_bytes()))
                await trio.sleep(2)  # `listen` fails when something comes twice
                assert gossip.stats().duplicates > before
                await honest.publish(T, b"after %d" % pause)
                await trio.sleep(2)
                assert b"after %d" % pause in crowd.heard[0]
            assert all(b"yes" in heard for heard in crowd.heard)

    run_simulation(8, scenario)


@pytest.mark.attack(27)
def test_twenty_sybils_round_one_host_do_not_silence_it() -> None:
    """They dial it, graft, relay nothing, and keep on grafting."""

    async def scenario(trace: Trace) -> float:
        async with AsyncExitStack() as stack:
            network = MemoryNetwork(seed=7)
            crowd = await gather(stack, network, 20, 6)
            victim, gossip = crowd.members[19]  # it dialled three of the others
            streams = [(await infiltrate(stack, network, victim, 1_000 + n))[2] for n in range(20)]
            frame = encode_frame(Rpc(graft=(T,)).to_bytes())
            for n in range(100):
                for stream in streams:
                    try:
                        await stream.write_all(frame)
                    except TransportError:
                        continue
                await crowd.members[n % 19][1].publish(T, b"message %d" % n)
                await trio.sleep(1)
            await trio.sleep(6)
            dialled = [c for c in victim.connections() if c.direction.value == "outbound"]
            assert {c.peer for c in dialled} & gossip.router.mesh[T]
            return len(crowd.heard[19]) / 100

    assert run_simulation(7, scenario)[0] >= 0.99


@pytest.mark.attack(28)
def test_sybils_that_behave_and_then_drop_everything_do_not_stop_delivery() -> None:
    """Cold boot: two thirds of the peers are hostile and pass nothing on from the start."""

    async def scenario(trace: Trace) -> float:
        async with AsyncExitStack() as stack:
            network = MemoryNetwork(seed=8)
            crowd = await gather(stack, network, 12, 6)
            streams = []
            for n in range(24):
                target = crowd.members[n % 12][0]
                streams.append((await infiltrate(stack, network, target, 2_000 + n))[2])
            frame = encode_frame(Rpc(graft=(T,)).to_bytes())
            for stream in streams:
                await stream.write_all(frame)
            await trio.sleep(10)
            for n in range(40):
                await crowd.members[n % 12][1].publish(T, b"message %d" % n)
                await trio.sleep(1)
            await trio.sleep(5)
            return sum(len(heard) for heard in crowd.heard) / (40 * 12)

    assert run_simulation(8, scenario)[0] >= 0.99


@pytest.mark.spec("GOS-020")
@pytest.mark.attack(29)
def test_a_peer_that_does_not_read_costs_a_bounded_queue() -> None:
    """F4: in libp2p 0.8.1 each message is a task."""

    async def scenario(trace: Trace) -> None:
        async with AsyncExitStack() as stack:
            network = MemoryNetwork(seed=9)
            crowd = await gather(stack, network, 3, 2)
            victim, gossip = crowd.members[0]
            keys = ephemeral(random.Random(9))
            host = await stack.enter_async_context(network.open_host(keys))

            async def deaf(stream: Stream) -> None:
                await trio.sleep_forever()

            for protocol in PROTOCOLS:
                host.set_handler(protocol, deaf)
            await host.connect(victim.peer_id, victim.addresses, deadline=within(5))
            stream = await host.open_stream(victim.peer_id, PROTOCOLS, deadline=within(5))
            wanted = Rpc(subscriptions=(Subscription(T, True),), graft=(T,))
            await stream.write_all(encode_frame(wanted.to_bytes()))
            await trio.sleep(1)
            tasks = len(gossip._nursery.child_tasks)
            for n in range(600):
                await crowd.members[0][1].publish(T, bytes(20_000) + b"%d" % n)
                if n % 20 == 0:
                    await trio.sleep(0.1)
                boxes = [box for _, box, _ in gossip._outboxes.values()]
                assert all(len(box) <= OUTBOX for box in boxes)
                assert len(gossip._nursery.child_tasks) <= tasks
            await trio.sleep(20)
            assert gossip.stats().drops["backlog"] > 0
            assert all(peer != host.peer_id for peer, _, _ in gossip._outboxes.values())
            await gossip.publish(T, b"the others hear")
            await trio.sleep(1)
            assert all(b"the others hear" in heard for heard in crowd.heard)

    run_simulation(9, scenario)


def test_a_thousand_streams_of_one_peer_are_refused() -> None:
    async def scenario(trace: Trace) -> None:
        async with AsyncExitStack() as stack:
            network = MemoryNetwork(seed=10)
            crowd = await gather(stack, network, 2, 2)
            victim = crowd.members[0][0]
            host, _, _ = await infiltrate(stack, network, victim)
            refused = 0
            for _ in range(50):
                stream = await host.open_stream(victim.peer_id, PROTOCOLS, deadline=within(5))
                try:
                    with trio.move_on_after(0.5):
                        await read_frame(stream, FrameDecoder())
                except TransportError:
                    refused += 1
            assert refused >= 44

    run_simulation(10, scenario)
