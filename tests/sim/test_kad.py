"""DHTs of many hosts under a virtual clock, and one hostile host among them."""

from __future__ import annotations

import hashlib
import random
import statistics
from contextlib import AsyncExitStack

import pytest
import trio

from fogp2p.addresses import parse_address
from fogp2p.environment import within
from fogp2p.errors import LimitExceeded, LocalProtocolError, TransportError
from fogp2p.framing import FrameDecoder, encode_frame, read_frame
from fogp2p.host import Stream
from fogp2p.identity import ephemeral
from fogp2p.protocols.kad import Kad, KadConfig, open_kad
from fogp2p.protocols.kad.config import MAX_OWN_KEYS
from fogp2p.protocols.kad.messages import Kind, PeerRecord, Request, Response, multihash_of
from fogp2p.testing import Trace, run_simulation, sim_environment
from fogp2p.transports.memory import MemoryNetwork
from fogp2p.transports.memory.host import MemoryHost

NOWHERE = parse_address("/ip4/6.6.6.6/tcp/1")
# Everybody has looked around twice: when the first peers came, and LOOK_S later.
SETTLED_S = 40
Pair = tuple[MemoryHost, Kad]


def key(text: str) -> bytes:
    return b"\x12\x20" + hashlib.sha256(text.encode()).digest()


async def grow(
    stack: AsyncExitStack, count: int, seed: int, *, links: int = 2, **config: object
) -> list[Pair]:
    """`count` hosts; each knows `links` that came before it."""
    network, source = MemoryNetwork(seed=seed), random.Random(seed)
    pairs: list[Pair] = []
    for n in range(count):
        host = await stack.enter_async_context(network.open_host(ephemeral(source)))
        environment = sim_environment(seed, str(n))
        kad = await stack.enter_async_context(
            open_kad(host, environment, KadConfig(k=8, alpha=3, **config))
        )
        for other, _ in source.sample(pairs, min(links, len(pairs))):
            await host.connect(other.peer_id, other.addresses, deadline=within(10))
        pairs.append((host, kad))
    await trio.sleep(SETTLED_S)
    return pairs


@pytest.mark.spec("KAD-003", "KAD-004")
def test_sixty_peers_find_each_other_and_what_was_announced() -> None:
    async def scenario(trace: Trace) -> tuple[int, int, float]:
        async with AsyncExitStack() as stack:
            pairs = await grow(stack, 60, 7)
            source = random.Random(7)
            found = 0
            for _ in range(60):
                (_, asker), (wanted, _) = source.sample(pairs, 2)
                addresses = await asker.find_peer(wanted.peer_id, deadline=within(30))
                found += wanted.addresses[0] in addresses or bool(addresses)
            held = [
                await kad.provide(key(f"content {n}"), deadline=within(60))
                for n, (_, kad) in enumerate(pairs[:20])
            ]
            seen = 0
            for n, (host, _) in enumerate(pairs[:20]):
                _, asker = source.choice(pairs[20:])
                providers = await asker.find_providers(key(f"content {n}"), deadline=within(30))
                seen += any(each.peer == host.peer_id for each in providers)
            return found, seen, statistics.median(held)

    (found, seen, held), _ = run_simulation(7, scenario)
    assert (found, seen) == (60, 20)
    assert held == 8


def test_the_same_seed_gives_the_same_lookups() -> None:
    async def scenario(trace: Trace) -> None:
        async with AsyncExitStack() as stack:
            pairs = await grow(stack, 15, 3)
            for host, kad in pairs:
                trace.record(str(host.peer_id), sorted(map(str, kad.table)))

    assert run_simulation(3, scenario)[1].digest == run_simulation(3, scenario)[1].digest


def test_half_of_the_peers_vanish_and_the_others_still_find() -> None:
    async def scenario(trace: Trace) -> int:
        async with AsyncExitStack() as stack:
            source = random.Random(55)
            stay = await grow(stack, 30, 5)
            async with AsyncExitStack() as leavers:
                network = stay[0][0]._network
                for n in range(30):
                    host = await leavers.enter_async_context(network.open_host(ephemeral(source)))
                    environment = sim_environment(5, f"leaver {n}")
                    await leavers.enter_async_context(
                        open_kad(host, environment, KadConfig(k=8, alpha=3))
                    )
                    for other, _ in source.sample(stay, 4):
                        await host.connect(other.peer_id, other.addresses, deadline=within(10))
                await trio.sleep(SETTLED_S)
                assert statistics.median(len(kad.table) for _, kad in stay) > 30
            found = 0
            for _ in range(30):
                (_, asker), (wanted, _) = source.sample(stay, 2)
                found += bool(await asker.find_peer(wanted.peer_id, deadline=within(60)))
            return found

    assert run_simulation(5, scenario)[0] == 30


def test_a_client_asks_and_is_not_asked() -> None:
    async def scenario(trace: Trace) -> None:
        async with AsyncExitStack() as stack:
            pairs = await grow(stack, 5, 9)
            network = pairs[0][0]._network
            host = await stack.enter_async_context(network.open_host(ephemeral(random.Random(1))))
            kad = await stack.enter_async_context(
                open_kad(host, sim_environment(1, "client"), KadConfig(serve=False))
            )
            assert kad.problem()
            server = pairs[0][0]
            await host.connect(server.peer_id, server.addresses, deadline=within(10))
            await trio.sleep(1)
            assert not kad.problem()
            assert await kad.find_peer(pairs[4][0].peer_id, deadline=within(10))
            assert all(host.peer_id not in other.table for _, other in pairs)
            with kad.sightings() as sightings:
                seen = await anext(aiter(sightings))
            assert seen.source == "dht" and seen.addresses  # type: ignore[union-attr]

    run_simulation(9, scenario)


def test_local_mistakes() -> None:
    async def scenario(trace: Trace) -> None:
        async with AsyncExitStack() as stack:
            ((_, kad),) = await grow(stack, 1, 2)
            for call in (kad.provide, kad.find_providers):
                with pytest.raises(LocalProtocolError):
                    await call(b"no key", deadline=within(1))  # type: ignore[operator]
            for n in range(MAX_OWN_KEYS):
                assert await kad.provide(key(str(n)), deadline=within(1)) == 0
            with pytest.raises(LimitExceeded):
                await kad.provide(key("more"), deadline=within(1))
            kad.withdraw(key("0"))
            await kad.provide(key("more"), deadline=within(1))

    run_simulation(2, scenario)


def _holds(kad: Kad, provider: MemoryHost) -> bool:
    """Whether it was told that `provider` has the file; asking would find it without that."""
    return provider.peer_id in kad.providers.get(multihash_of(key("file")), trio.current_time())


def test_what_nobody_took_is_announced_again_soon_and_then_more_rarely() -> None:
    async def scenario(trace: Trace) -> None:
        async with AsyncExitStack() as stack:
            pairs = await grow(stack, 4, 5, links=0)
            lonely, kad = pairs.pop()
            (first, _), *rest = pairs
            for other, _ in rest:
                await other.connect(first.peer_id, first.addresses, deadline=within(10))
            assert await kad.provide(key("file"), deadline=within(1)) == 0
            await trio.sleep(1_000)  # tried again after 60, 180, 420 and 900 s
            await lonely.connect(first.peer_id, first.addresses, deadline=within(10))
            await trio.sleep(500)
            assert not any(_holds(each, lonely) for _, each in pairs)
            await trio.sleep(500)  # and after 1,860
            assert all(_holds(each, lonely) for _, each in pairs)

    run_simulation(2, scenario)


async def ask(stream: Stream, request: Request) -> Response:
    await stream.write_all(encode_frame(request.to_bytes()))
    frame = await read_frame(stream, FrameDecoder())
    assert frame is not None
    return Response.from_bytes(frame, request.kind)


@pytest.mark.spec("KAD-004", "KAD-010")
@pytest.mark.attack(111)
def test_nobody_announces_for_somebody_else() -> None:
    async def scenario(trace: Trace) -> None:
        async with AsyncExitStack() as stack:
            (_, _), (liar, kad), (victim, _) = await grow(stack, 3, 4)
            server = next(p for p in kad.table if p not in (liar.peer_id, victim.peer_id))
            name = key("forged")
            forged = PeerRecord(victim.peer_id, (NOWHERE,))
            stream = await liar.open_stream(server, [kad.config.protocol], deadline=within(5))
            async with stream:
                add = Request(Kind.ADD_PROVIDER, name, (forged,))
                await stream.write_all(encode_frame(add.to_bytes()))
                response = await ask(stream, Request(Kind.GET_PROVIDERS, name))
            assert response.providers == ()

    run_simulation(4, scenario)


@pytest.mark.spec("KAD-001", "KAD-006", "KAD-011")
@pytest.mark.attack(112)
@pytest.mark.parametrize(
    "attack",
    ["garbage", "huge length", "value", "flood"],
)
def test_a_hostile_client_loses_its_stream_and_nothing_else_happens(attack: str) -> None:
    async def scenario(trace: Trace) -> None:
        async with AsyncExitStack() as stack:
            (good, served), (bad, kad), (other, asker) = await grow(stack, 3, 6)
            stream = await bad.open_stream(good.peer_id, [kad.config.protocol], deadline=within(5))
            data = {
                "garbage": encode_frame(b"\xff" * 50),
                "huge length": b"\x80\x80\x80\x80\x80\x40",  # 2^40
                "value": encode_frame(Request(Kind.PUT_VALUE, b"k").to_bytes()),
                "flood": encode_frame(Request(Kind.FIND_NODE, b"x").to_bytes()) * 200,
            }[attack]
            with pytest.raises(TransportError):
                await stream.write_all(data)
                while await stream.read_some():
                    pass
                raise AssertionError("the stream ended as if all were well")
            assert await asker.find_peer(bad.peer_id, deadline=within(10))
            assert len(served.providers) == 0 and other.connection_to(good.peer_id)

    run_simulation(6, scenario)


@pytest.mark.attack(112)
def test_a_hostile_server_costs_a_lookup_no_more_than_its_limits() -> None:
    """It invents peers without end, answers to something else, or says nothing."""

    async def scenario(trace: Trace) -> None:
        async with AsyncExitStack() as stack:
            network, source = MemoryNetwork(seed=8), random.Random(8)
            evil = await stack.enter_async_context(network.open_host(ephemeral(source)))
            host = await stack.enter_async_context(network.open_host(ephemeral(source)))
            config = KadConfig()
            mood = "invent"

            async def answer(stream: Stream) -> None:
                decoder = FrameDecoder()
                while (frame := await read_frame(stream, decoder)) is not None:
                    request = Request.from_bytes(frame)
                    if mood == "silent":
                        await trio.sleep_forever()
                    invented = tuple(
                        PeerRecord(ephemeral(source).peer_id, (NOWHERE,)) for _ in range(20)
                    )
                    kind = Kind.PING if mood == "other" else request.kind
                    await stream.write_all(encode_frame(Response(kind, invented).to_bytes(b"x")))

            evil.set_handler(config.protocol, answer)
            kad = await stack.enter_async_context(open_kad(host, sim_environment(8, "x"), config))
            await host.connect(evil.peer_id, evil.addresses, deadline=within(5))
            await trio.sleep(1)
            for each in ("invent", "other", "silent"):
                mood = each
                start = trio.current_time()
                nobody = ephemeral(source).peer_id
                assert await kad.find_peer(nobody, deadline=within(40)) == ()
                assert trio.current_time() - start <= 40.1
            assert len(kad.table) <= 1

    run_simulation(8, scenario)
