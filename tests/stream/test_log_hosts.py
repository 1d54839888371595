"""Group logs between hosts in memory, under a virtual clock."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio

from fogp2p.environment import within
from fogp2p.errors import LimitExceeded, LocalProtocolError
from fogp2p.identity import Identity, ephemeral
from fogp2p.protocols.log import (
    Delivery,
    Group,
    LogDamaged,
    Logs,
    MemoryStorage,
    NotPermitted,
    Role,
    Stored,
    Verdict,
    open_logs,
)
from fogp2p.testing import sim_environment
from fogp2p.transports.memory import LinkSettings, MemoryNetwork
from fogp2p.transports.memory.host import MemoryHost

KEYS = [ephemeral(random.Random(f"stream/{n}")) for n in range(6)]


class Member:
    """One peer with its log."""

    def __init__(self, keys: Identity, host: MemoryHost, logs: Logs, storage: MemoryStorage):
        self.keys, self.host, self.logs, self.storage = keys, host, logs, storage

    async def opened(self, group: Group) -> Group:
        return await self.logs.open(group.id)


@asynccontextmanager
async def member(
    network: MemoryNetwork, number: int, storage: MemoryStorage | None = None
) -> AsyncIterator[Member]:
    kept = storage if storage is not None else MemoryStorage()
    keys = KEYS[number]
    async with network.open_host(keys) as host:
        async with open_logs(host, keys, kept, sim_environment(number, "log")) as logs:
            yield Member(keys, host, logs, kept)


async def crowd(stack: AsyncExitStack, network: MemoryNetwork, count: int) -> list[Member]:
    members = [await stack.enter_async_context(member(network, n)) for n in range(count)]
    for one in members:
        for other in members:
            if one.keys.peer_id < other.keys.peer_id:
                await one.host.connect(
                    other.keys.peer_id, other.host.addresses, deadline=within(10)
                )
    return members


async def read(group: Group, count: int) -> list[Delivery]:
    """The first `count` deliveries."""
    found = []
    with trio.fail_after(120):
        async for each in group.deliveries():
            found.append(each)
            if len(found) == count:
                return found
    raise AssertionError


async def level(*groups: Group) -> None:
    """Wait until all have the same."""
    with trio.fail_after(300):
        while len({group.replica.fingerprint for group in groups}) > 1:
            await trio.sleep(0.1)


async def test_a_group_writes_and_reads(autojump_clock: trio.testing.MockClock) -> None:
    network = MemoryNetwork(seed=1, default=LinkSettings(latency_s=0.02, jitter_s=0.05, loss=0.05))
    async with AsyncExitStack() as stack:
        ada, ben, eve = await crowd(stack, network, 3)
        group = await ada.logs.create("boat trip")
        bens, eves = await ben.opened(group), await eve.opened(group)
        await group.append(b"before ben")
        await group.admit(ben.keys.peer_id)
        await level(group, bens, eves)
        assert bens.replica.name == "boat trip" and bens.status().is_member
        await bens.append(b"one")
        await level(group, bens, eves)
        await group.append(b"two")
        await level(group, bens, eves)
        texts = [each.text for each in await read(group, 7)]
        assert [text for text in texts if text] == [b"before ben", b"one", b"two"]
        # A new member reads from its first epoch on; who is no member carries and reads nothing.
        assert [each.text for each in await read(bens, 7) if each.text] == [b"one", b"two"]
        assert [each.text for each in await read(eves, 7)] == [None] * 7
        with pytest.raises(NotPermitted):
            await eves.append(b"me too")
        with pytest.raises(NotPermitted):
            await bens.admit(eve.keys.peer_id)
        assert group.status().peers == 2


async def test_removal_changes_the_key(autojump_clock: trio.testing.MockClock) -> None:
    async with AsyncExitStack() as stack:
        ada, ben, eve = await crowd(stack, MemoryNetwork(seed=2), 3)
        group = await ada.logs.create("g")
        bens, eves = await ben.opened(group), await eve.opened(group)
        await group.admit(ben.keys.peer_id)
        await group.admit(eve.keys.peer_id)
        await level(group, bens, eves)
        await eves.append(b"hello")
        await level(group, bens, eves)
        await group.remove(eve.keys.peer_id)
        await level(group, bens, eves)
        await bens.append(b"without eve")
        await level(group, bens, eves)
        count = len(group.replica)
        assert b"without eve" in {each.text for each in await read(group, count)}
        assert b"hello" in {each.text for each in await read(group, count)}
        assert b"without eve" not in {each.text for each in await read(eves, count)}
        with pytest.raises(NotPermitted):
            await eves.append(b"still here?")
        await bens.leave()
        await level(group, bens)
        await group.append(b"alone")
        await level(group, bens)
        assert b"alone" not in {each.text for each in await read(bens, len(group.replica))}
        assert [each.peer for each in group.members()] == [ada.keys.peer_id]
