"""Parts of whole nodes fail, on memory hosts under a virtual clock, and come back."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import jsonschema
import pytest
import trio

from fogp2p.config import Config, NetworkConfig
from fogp2p.environment import within
from fogp2p.errors import ConfigError, LocalProtocolError
from fogp2p.events import Gap
from fogp2p.host import Host, Message, Stream
from fogp2p.identity import ephemeral
from fogp2p.node import Health, Node, Peers, Services, Way, open_node
from fogp2p.protocols.kad import open_kad
from fogp2p.schema import answer, json_schema
from fogp2p.supervisor import Service, ServiceDown, State, running
from fogp2p.testing import Trace, run_simulation, sim_environment
from fogp2p.transports.memory import MemoryNetwork
from fogp2p.transports.peerbook import Bootstrap, open_known_peers

CHAT = "/chat/1.0.0"


class Net:
    """Nodes that know how to open their hosts again."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.network = MemoryNetwork(seed=1)
        self._stack = stack

    async def open(self, seed: int, *more: Way) -> Node:
        environment = sim_environment(seed, "node")
        identity = ephemeral(random.Random(seed))
        known = [host.addresses[0] for host in self.network.hosts()]
        config = Config(network=NetworkConfig(target_peers=20))
        return await self._stack.enter_async_context(
            open_node(
                lambda: self.network.open_host(identity),
                identity,
                config,
                environment,
                discoveries=[Bootstrap(known), *more],
            )
        )


def simulate(scenario: Callable[[Net], object]) -> None:
    async def run(trace: Trace) -> None:
        async with AsyncExitStack() as stack:
            await scenario(Net(stack))  # type: ignore[misc]

    run_simulation(1, run)


async def until(condition: Callable[[], bool], every_s: float = 0.1) -> None:
    with trio.fail_after(60):
        while not condition():  # noqa: ASYNC110 - there is no event for everything
            await trio.sleep(every_s)


async def agreed(*nodes: Node) -> None:
    await until(lambda: all(node.status().peers_agreed == len(nodes) - 1 for node in nodes))


def restarts(node: Node) -> dict[str, int]:
    return {each.name: each.restarts for each in node.services()}


def test_a_crashed_host_comes_back_with_its_peers_protocols_and_subscriptions() -> None:
    async def scenario(net: Net) -> None:
        one, two = await net.open(1), await net.open(2)
        served: list[bytes] = []

        async def chat(stream: Stream) -> None:
            served.append(await stream.read_some())
            await stream.write_all(b"hello " + served[-1])

        two.serve(CHAT, chat)
        await agreed(one, two)
        heard: list[Message | Gap] = []
        with two.pubsub.subscribe("/news") as news:
            started, seen = trio.current_time(), two.event_log.last
            old = two.host
            await two.crash_service("host")
            await until(lambda: two.services()[0].state is not State.READY, 0.001)
            assert two.status().health is Health.FAILING
            assert two.status().reasons[0].subject == "host"
            assert two.peers() == ()
            with pytest.raises(ServiceDown, match="host is"):
                two.host  # noqa: B018
            await agreed(one, two)
            assert trio.current_time() - started < 3
            assert two.host is not old
            assert restarts(two)["host"] == restarts(two)["gossip"] == 1
            assert restarts(two)["bootstrap"] == 0
            assert set(restarts(one).values()) == {0}

            async with await one.open_stream(two.peer_id, CHAT, deadline=within(5)) as stream:
                await stream.write_all(b"again")
                assert await stream.read_some() == b"hello again"
            assert (await one.echo(two.peer_id, [b"x"], deadline=within(5))).confirmed
            await trio.sleep(3)  # gossip finds its neighbours by its heartbeat
            await one.pubsub.publish("/news", b"still there?")
            with trio.fail_after(10):
                while not any(isinstance(each, Message) for each in heard):
                    heard.append(await anext(news))
            assert heard[0] == Gap(0)
            assert isinstance(heard[-1], Message) and heard[-1].data == b"still there?"
        told = [(each.type, dict(each.data)) for each in two.event_log.after(seen)]  # type: ignore[union-attr]
        kinds = [kind for kind, _ in told]
        assert kinds.index("peer.disconnected") < kinds.index("peer.connected")
        assert kinds.index("peer.connected") < kinds.index("peer.agreed")
        assert {"from": "ok", "to": "failing"} in [
            d for kind, d in told if kind == "health.changed"
        ]
        assert two.status().health is Health.OK
        drill = next(
            d for kind, d in told if kind == "service.changed" and d["to"] == "backing-off"
        )
        assert (drill["name"], drill["reason"]) == ("host", "host: a failure was asked for")

    simulate(scenario)


@pytest.mark.parametrize(
    "name",
    ["versioning", "ping", "echo", "gossip", "handlers", "watcher", "bootstrap", "connector"],
)
def test_every_part_can_fail_and_only_those_that_need_it_restart(name: str) -> None:
    async def scenario(net: Net) -> None:
        one, two = await net.open(1), await net.open(2)
        await agreed(one, two)
        before = one.host.connections()
        await two.crash_service(name)
        await until(lambda: restarts(two)[name] == 1)
        await agreed(one, two)
        needs = {"versioning": {"echo", "watcher", "registry"}}.get(name, set())
        assert restarts(two) == {n: int(n in {name} | needs) for n in restarts(two)}
        if name != "versioning":  # versions are agreed once for each connection
            assert one.host.connections() == before
        assert (await one.echo(two.peer_id, [b"x"], deadline=within(5))).confirmed
        assert await one.ping(two.peer_id, deadline=within(5)) >= 0
        assert two.status().health is Health.OK
        assert two.status().services.restarts == 1 + len(needs)

    simulate(scenario)


def test_a_vanished_host_is_noticed_and_opened_again() -> None:
    """As if its sockets had been closed behind its back: nothing is raised, the probe finds out."""

    async def scenario(net: Net) -> None:
        one, two = await net.open(1), await net.open(2)
        await agreed(one, two)
        start = trio.current_time()
        net.network.kill(two.peer_id)
        await until(lambda: restarts(two)["host"] == 1 and two.status().health is Health.OK)
        assert trio.current_time() - start < 6
        await agreed(one, two)
        host = next(each for each in two.services() if each.name == "host")
        assert host.last_failure == "its probe failed: this host is gone from the network"

    simulate(scenario)


def _state(node: Node, name: str) -> State:
    return next(each.state for each in node.services() if each.name == name)


def test_a_soft_part_that_keeps_failing_leaves_the_peer_working_and_saying_so() -> None:
    @asynccontextmanager
    async def broken(_: object) -> AsyncIterator[Bootstrap]:
        raise OSError("no such device")
        yield Bootstrap([])

    async def scenario(net: Net) -> None:
        one, two = await net.open(1), await net.open(2, Way("mdns", broken))
        await agreed(one, two)
        await until(lambda: _state(two, "mdns") is State.FAILED)
        status = two.status()
        assert status.health is Health.DEGRADED
        (reason,) = status.reasons
        assert reason.subject == "mdns"
        assert reason.happened == "failed: OSError: no such device"
        assert reason.hint.startswith("it is started again in")
        assert status.services.ready == status.services.total - 1
        assert [each.problem for each in status.discovery][1] == "OSError: no such device"
        assert await two.find_peer(one.peer_id, deadline=within(5))  # by those that are up

    simulate(scenario)


def test_keys_that_were_announced_are_announced_again_by_a_new_dht() -> None:
    key = b"\x12\x20" + bytes(32)  # a SHA-256 multihash

    async def scenario(net: Net) -> None:
        environment = sim_environment(9)
        dht = Way("dht", lambda host: open_kad(host(), environment), needs_host=True)
        one, two = await net.open(1, dht), await net.open(2, dht)
        await agreed(one, two)
        await until(lambda: not any(each.problem for each in two.status().discovery[1:]))
        assert await two.provide(key, deadline=within(10)) == 1
        for node in (one, two):  # the other's record is lost with its DHT
            await node.crash_service("dht")
            with pytest.raises(ServiceDown):
                while True:
                    await node.find_providers(key, deadline=within(1))
        await until(lambda: not any(each.problem for each in one.status().discovery[1:]))
        (found,) = await one.find_providers(key, deadline=within(10))
        assert found.peer == two.peer_id

    simulate(scenario)


def test_an_essential_part_that_keeps_failing_ends_the_node_with_its_error() -> None:
    async def scenario(trace: Trace) -> None:
        network, identity = MemoryNetwork(seed=1), ephemeral(random.Random(1))
        opened = 0

        @asynccontextmanager
        async def once() -> AsyncIterator[Host]:
            nonlocal opened
            opened += 1
            if opened > 1:
                raise ConfigError("the port is taken")
            async with network.open_host(identity) as host:
                yield host

        with pytest.raises(ConfigError, match="the port is taken"):
            async with open_node(once, identity, Config(), sim_environment(1)) as node:
                await node.crash_service("host")
                await trio.sleep_forever()
        assert opened > 10
        with pytest.raises(ConfigError, match="the port is taken"):  # now at the start: at once
            async with open_node(once, identity, Config(), sim_environment(1)):
                raise AssertionError("it does not open")
        assert not network.hosts()

    run_simulation(1, scenario)


def test_answers_for_programs_keep_to_their_schemas() -> None:
    async def scenario(net: Net) -> None:
        one, two = await net.open(1), await net.open(2)
        await agreed(one, two)
        await two.crash_service("gossip")
        await until(lambda: two.status().services.ready != two.status().services.total, 0.001)
        answers = (
            two.status(),
            Peers(two.peers()),
            Services(two.services(), two.service_groups()),
        )
        for each in answers:
            told = json.loads(json.dumps(answer(each)))
            jsonschema.validate(told, json_schema(type(each), closed=True))
        assert told["schema"] == "services/1"
        gossip = next(each for each in told["services"] if each["name"] == "gossip")
        assert gossip["state"] == "backing-off"
        assert gossip["last_failure"] == "gossip: a failure was asked for"
        assert 0 <= gossip["retry_in_s"] <= 0.1

    simulate(scenario)


def test_programs_add_parts_of_their_own() -> None:
    async def scenario(net: Net) -> None:
        node = await net.open(1)
        lives = 0

        async def part(task_status: trio.TaskStatus[str]) -> None:
            nonlocal lives
            lives += 1
            task_status.started("mine")
            await trio.sleep_forever()

        mine = Service("mine", running(part), needs=("host",))
        assert await node.add_service(mine) == "mine"
        await node.restart_service("host")
        await until(lambda: lives == 2 and node.status().health is Health.OK)
        with pytest.raises(LocalProtocolError, match="twice"):
            await node.add_service(mine)
        with pytest.raises(LocalProtocolError, match="no service mind"):
            await node.restart_service("mind")
        node.serve(CHAT, _nothing)
        with pytest.raises(LocalProtocolError, match="served already"):
            node.serve(CHAT, _nothing)
        assert [group.name for group in node.service_groups()] == [
            "network",
            "protocols",
            "discovery",
            "rooms",
        ]

    simulate(scenario)


def test_while_the_host_is_down_everything_says_so() -> None:
    async def scenario(trace: Trace) -> None:
        network, identity = MemoryNetwork(seed=1), ephemeral(random.Random(1))
        closed = trio.Event()
        environment = sim_environment(1)

        def host() -> AbstractAsyncContextManager[Host]:
            return _slow(network.open_host(identity), closed)

        closed.set()
        async with open_node(
            host,
            identity,
            Config(),
            environment,
            discoveries=[Way("known", lambda _: open_known_peers(Path("/known"), environment))],
        ) as node:
            closed = trio.Event()
            await node.restart_service("host")
            await until(lambda: node.services()[0].state is State.STARTING)
            assert node.peer_id == identity.peer_id
            assert (node.peers(), node.status().addresses) == ((), ())
            for call in (
                lambda: node.ping(identity.peer_id, deadline=within(1)),
                lambda: node.connect(f"/memory/9/p2p/{identity.peer_id}", deadline=within(1)),
                lambda: node.open_stream(identity.peer_id, CHAT, deadline=within(1)),
                lambda: node.reach(identity.peer_id, deadline=within(1)),
                lambda: node.echo(identity.peer_id, [], deadline=within(1)),
            ):
                with pytest.raises(ServiceDown, match="host is starting"):
                    await call()
            with pytest.raises(ServiceDown, match="gossip is waiting: it waits for host"):
                await node.pubsub.publish("/x", b"")
            with pytest.raises(ServiceDown), node.pubsub.subscribe("/x"):
                pass
            assert [each.subject for each in node.status().reasons] == ["host"]
            node.serve(CHAT, _nothing)  # it is kept for the next host
            closed.set()
            await until(lambda: node.status().health is Health.OK)
            with pytest.raises(LocalProtocolError, match="served already"):
                node.host.set_handler(next(iter(node._parts.handlers)), _nothing)

    run_simulation(1, scenario)


@asynccontextmanager
async def _slow(
    opened: AbstractAsyncContextManager[Host], may_open: trio.Event
) -> AsyncIterator[Host]:
    await may_open.wait()
    async with opened as host:
        yield host


async def _nothing(stream: Stream) -> None:
    raise AssertionError("nobody calls")


def test_what_gossip_dropped_is_told_while_it_is_up() -> None:
    async def scenario(net: Net) -> None:
        one, two = await net.open(1), await net.open(2)
        await agreed(one, two)
        with two.pubsub.subscribe("/news") as news:
            await trio.sleep(3)
            await one.pubsub.publish("/news", b"hello")
            heard = await anext(aiter(news))
            assert isinstance(heard, Message) and heard.data == b"hello"
        told = two.gossip_stats()
        assert told is not None and told.delivered == 1 and told.verified == 1
        await two.crash_service("gossip")
        while two.gossip_stats() is not None:
            await trio.lowlevel.checkpoint()
        await until(lambda: two.gossip_stats() is not None)

    simulate(scenario)
