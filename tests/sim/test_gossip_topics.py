"""Topics among hosts in memory: IDONTWANT, validators, rates, floods, and what the status says."""

from __future__ import annotations

import random
import time
from contextlib import AsyncExitStack

import pytest
import trio

from fogp2p.environment import Environment, within
from fogp2p.errors import LimitExceeded, RemoteProtocolError, TransportError
from fogp2p.events import Gap
from fogp2p.framing import encode_frame
from fogp2p.host import Message, Stream, Verdict
from fogp2p.identity import Identity, ephemeral
from fogp2p.protocols.gossip import Gossip, GossipConfig, open_gossip
from fogp2p.protocols.gossip.config import PROTOCOLS, V12
from fogp2p.protocols.gossip.messages import Envelope, Rpc, Subscription
from fogp2p.testing import Trace, run_simulation, sim_environment
from fogp2p.transports.memory import MemoryNetwork
from fogp2p.transports.memory.host import MemoryHost

T = "/fog/topics"
Member = tuple[MemoryHost, Gossip, Identity]


class Peers:
    """Hosts that all know each other and listen to one topic."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.stack = stack
        self.network = MemoryNetwork(seed=1)
        self.members: list[Member] = []
        self.heard: list[list[bytes]] = []

    async def add(
        self, config: GossipConfig | None = None, environment: Environment | None = None
    ) -> Member:
        index = len(self.members)
        keys = ephemeral(random.Random(f"topics/{index}"))
        host = await self.stack.enter_async_context(self.network.open_host(keys))
        gossip = await self.stack.enter_async_context(
            open_gossip(host, keys, environment or sim_environment(1, str(index)), config)
        )
        for other, _, _ in self.members:
            await host.connect(other.peer_id, other.addresses, deadline=within(5))
        self.members.append((host, gossip, keys))
        self.heard.append([])
        nursery = await self.stack.enter_async_context(trio.open_nursery())
        self.stack.callback(nursery.cancel_scope.cancel)
        nursery.start_soon(self._listen, index, gossip)
        return self.members[-1]

    async def _listen(self, index: int, gossip: Gossip) -> None:
        with gossip.subscribe(T) as messages:
            async for message in messages:
                assert not isinstance(message, Gap)
                self.heard[index].append(message.data)

    async def infiltrate(self, victim: MemoryHost) -> tuple[Identity, Stream]:
        keys = ephemeral(random.Random("infiltrator"))
        host = await self.stack.enter_async_context(self.network.open_host(keys))

        async def swallow(stream: Stream) -> None:
            while await stream.read_some():
                pass

        for protocol in PROTOCOLS:
            host.set_handler(protocol, swallow)
        await host.connect(victim.peer_id, victim.addresses, deadline=within(5))
        stream = await host.open_stream(victim.peer_id, PROTOCOLS, deadline=within(5))
        wanted = Rpc(subscriptions=(Subscription(T, True),), graft=(T,))
        await stream.write_all(encode_frame(wanted.to_bytes()))
        await trio.sleep(1)
        return keys, stream


def signed(keys: Identity, number: int, data: bytes = b"x") -> Envelope:
    bare = Envelope(keys.peer_id, number, T, data)
    return Envelope(keys.peer_id, number, T, data, keys.sign(bare.preimage()))


@pytest.mark.spec("GOS-040", "GOS-041")
def test_large_messages_cross_the_mesh_fewer_times_with_idontwant() -> None:
    async def scenario(trace: Trace) -> tuple[int, int, int]:
        async with AsyncExitStack() as stack:
            peers = Peers(stack)
            for _ in range(6):
                await peers.add()
            await trio.sleep(3)
            for n in range(20):
                await peers.members[n % 6][1].publish(T, bytes(20_000) + b"%d" % n)
                if n % 4 == 3:  # four at once: what comes second waits and may be spared
                    await trio.sleep(0.5)
            assert all(len(heard) == 20 for heard in peers.heard)
            stats = [gossip.stats() for _, gossip, _ in peers.members]
            return (
                sum(each.idontwant_received for each in stats),
                sum(each.verified for each in stats),
                sum(each.drops["unwanted"] for each in stats),
            )

    (told, verified, unwanted), _ = run_simulation(1, scenario)
    assert told > 0 and verified == 20 * 5
    assert unwanted > 0


def test_peers_of_1_1_are_told_nothing_of_1_2() -> None:
    async def scenario(trace: Trace) -> None:
        async with AsyncExitStack() as stack:
            peers = Peers(stack)
            old, _, _ = await peers.add()
            old.remove_handler(V12)
            _, new, _ = await peers.add()
            await trio.sleep(2)
            await new.publish(T, bytes(5_000))
            await peers.members[0][1].publish(T, bytes(5_001))
            await trio.sleep(2)
            assert [len(heard) for heard in peers.heard] == [2, 2]
            assert new.stats().idontwant_sent == 0

    run_simulation(2, scenario)


@pytest.mark.spec("GOS-006", "GOS-022")
def test_what_is_dropped_has_a_name() -> None:
    async def scenario(trace: Trace) -> None:
        async with AsyncExitStack() as stack:
            peers = Peers(stack)
            host, gossip, _ = await peers.add(GossipConfig(topic_rates={T: 3.0}, peer_rate=5.0))
            keys, stream = await peers.infiltrate(host)

            def judge(message: Message) -> Verdict:
                if message.data == b"unreadable":
                    raise RemoteProtocolError("no", code="no")
                if message.data == b"too much":
                    raise LimitExceeded("no room")
                return Verdict.IGNORE

            gossip.set_validator(T, judge)
            for number, data in enumerate((b"unreadable", b"too much", b"dull", b"one too many")):
                rpc = Rpc(publish=(signed(keys, number, data),))
                await stream.write_all(encode_frame(rpc.to_bytes()))
            strange = ephemeral(random.Random(1))
            author = type(keys.peer_id).from_key_protobuf(bytes(300))
            unverifiable = Envelope(author, 1, T, b"x", strange.sign(b"x"))
            await stream.write_all(encode_frame(Rpc(publish=(unverifiable,)).to_bytes()))
            await trio.sleep(0.1)
            drops = {label: count for label, count in gossip.stats().drops.items() if count}
            assert drops == {
                "rejected": 1,
                "validator-error": 1,
                "ignored": 1,
                "topic-rate": 1,
                "unverifiable": 1,
            }
            assert gossip.stats().verified == 4 and gossip.stats().peers == 1
            assert peers.heard == [[]]

    run_simulation(3, scenario)


@pytest.mark.spec("GOS-023")
def test_a_slow_validator_holds_the_loop_a_quarter_of_the_time() -> None:
    class Watch:
        """A clock that the validator moves."""

        now = 0.0

        def monotonic(self) -> float:
            return self.now

        def wall(self) -> float:
            return 1e9 + self.now

    async def scenario(trace: Trace) -> tuple[int, int, int]:
        async with AsyncExitStack() as stack:
            watch, world, peers = Watch(), sim_environment(4), Peers(stack)
            world = Environment(watch, world.random, world.executor, world.disk)
            host, gossip, _ = await peers.add(environment=world)
            keys, stream = await peers.infiltrate(host)
            calls = 0

            def slow(message: Message) -> Verdict:
                nonlocal calls
                calls += 1
                watch.now += 0.1
                return Verdict.ACCEPT

            gossip.set_validator(T, slow)
            await trio.sleep(1)
            rpc = Rpc(publish=tuple(signed(keys, n) for n in range(50)))
            await stream.write_all(encode_frame(rpc.to_bytes()))
            await trio.sleep(0.3)
            first = calls
            await trio.sleep(1)
            rpc = Rpc(publish=(signed(keys, 100),))
            await stream.write_all(encode_frame(rpc.to_bytes()))
            await trio.sleep(0.3)
            stats = gossip.stats()
            assert stats.slow_validations == calls
            return first, calls, stats.drops["validator-slow"]

    (first, calls, dropped), _ = run_simulation(4, scenario)
    assert (first, calls, dropped) == (3, 4, 47)


@pytest.mark.attack(26)
def test_a_thousand_forgeries_a_second_cost_one_verification_and_little_time() -> None:
    """The flood for ten seconds of virtual time; what it costs is measured in real time."""

    async def scenario(trace: Trace) -> tuple[int, int, float]:
        async with AsyncExitStack() as stack:
            peers = Peers(stack)
            host, gossip, _ = await peers.add()
            await peers.add()
            keys, stream = await peers.infiltrate(host)
            before, spent = gossip.stats().verified, 0.0
            take = gossip._take

            def timed(peer: object, frame: bytes) -> None:
                nonlocal spent
                start = time.thread_time()
                take(peer, frame)  # type: ignore[arg-type]
                spent += time.thread_time() - start

            gossip._take = timed  # type: ignore[method-assign,assignment]
            for n in range(10_000):
                forged = Envelope(keys.peer_id, n, T, b"forged", bytes(64))
                try:
                    await stream.write_all(encode_frame(Rpc(publish=(forged,)).to_bytes()))
                except TransportError:
                    break
                if n % 100 == 0:
                    await trio.sleep(0.1)
            await trio.sleep(1)
            stats = gossip.stats()
            await peers.members[1][1].publish(T, b"genuine")
            await trio.sleep(1)
            assert peers.heard[0] == [b"genuine"]
            return stats.verified - before, stats.drops["muted"], spent

    (verified, muted, spent), _ = run_simulation(5, scenario)
    assert verified == 1 and muted >= 9_990
    assert spent < 0.3 * 10


@pytest.mark.attack(29)
def test_publishing_faster_than_anybody_reads_is_refused_and_makes_no_tasks() -> None:
    async def scenario(trace: Trace) -> None:
        async with AsyncExitStack() as stack:
            peers = Peers(stack)
            _, gossip, _ = await peers.add()
            await peers.add()
            await trio.sleep(2)
            tasks, refused = len(gossip._nursery.child_tasks), 0
            async with trio.open_nursery() as nursery:

                async def one(n: int) -> None:
                    nonlocal refused
                    try:
                        await gossip.publish(T, b"%d" % n)
                    except LimitExceeded:
                        refused += 1

                for n in range(2_000):
                    nursery.start_soon(one, n)
            assert refused > 0 and gossip.stats().drops["overload"] == refused
            assert len(gossip._nursery.child_tasks) == tasks
            await trio.sleep(5)
            await gossip.publish(T, b"after")
            await trio.sleep(1)
            assert peers.heard[1][-1] == b"after"
            assert gossip.stats().queued == 0

    run_simulation(6, scenario)
