"""Group logs between hosts in memory, under a virtual clock."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio

from fogp2p.environment import DiskError, within
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

# Ascending: the side with the smaller id opens the stream.
KEYS = sorted(
    (ephemeral(random.Random(f"stream/{n}")) for n in range(8)), key=lambda keys: keys.peer_id
)


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
    async with (
        network.open_host(keys) as host,
        open_logs(host, keys, kept, sim_environment(number, "log")) as logs,
    ):
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
        while len({group.replica.fingerprint for group in groups}) > 1:  # noqa: ASYNC110
            await trio.sleep(0.1)


@pytest.mark.spec("LOG-050", "LOG-051", "LOG-053", "LOG-060", "LOG-061")
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


@pytest.mark.spec("LOG-052")
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


@pytest.mark.spec("LOG-010", "LOG-013")
async def test_a_restart_delivers_nothing_twice(autojump_clock: trio.testing.MockClock) -> None:
    network, disk = MemoryNetwork(seed=3), MemoryStorage()
    async with member(network, 0) as ada:
        group = await ada.logs.create("g")
        async with member(network, 1, disk) as ben:
            await ada.host.connect(ben.keys.peer_id, ben.host.addresses, deadline=within(10))
            await ben.opened(group)
            await group.admit(ben.keys.peer_id)
            bens = await ben.opened(group)
            await level(group, bens)
            await bens.append(b"one")
            before = await read(bens, len(bens.replica))
            await bens.mark("screen", before[-1].number)
        await group.append(b"while ben is away")
        async with member(network, 1, disk) as ben:
            (bens,) = ben.logs.groups
            assert await read(bens, len(before)) == before
            assert await bens.marked("screen") == len(before)
            await ada.host.connect(ben.keys.peer_id, ben.host.addresses, deadline=within(10))
            await level(group, bens)
            with trio.fail_after(60):
                async for each in bens.deliveries(await bens.marked("screen")):
                    assert each.text == b"while ben is away"
                    break
            await bens.append(b"two")  # the next position, not one that was signed before
            await level(group, bens)
            assert not group.forks() and not bens.forks()


class FailingDisk(MemoryStorage):
    """A disk that is full from some moment on."""

    full = False

    async def commit(self, group: bytes, entries: object, marks: object = None) -> None:
        if self.full:
            await trio.lowlevel.checkpoint()
            raise DiskError("no space left")
        await super().commit(group, entries, marks)  # type: ignore[arg-type]


async def test_a_disk_that_fails_closes_the_group(autojump_clock: trio.testing.MockClock) -> None:
    disk = FailingDisk()
    async with member(MemoryNetwork(seed=4), 0, disk) as ada:
        group = await ada.logs.create("g")
        await group.append(b"one")
        disk.full = True
        with pytest.raises(DiskError):
            await group.append(b"two")
        disk.full = False
        with pytest.raises(DiskError):
            await group.append(b"three")
        assert group.status().problem == "no space left"
    async with member(MemoryNetwork(seed=4), 0, disk) as ada:
        (group,) = ada.logs.groups
        await group.append(b"three")
        assert [x.text for x in await read(group, 4)] == [None, None, b"one", b"three"]


async def test_a_damaged_store_is_not_opened(autojump_clock: trio.testing.MockClock) -> None:
    disk = MemoryStorage()
    async with member(MemoryNetwork(seed=5), 0, disk) as ada:
        group = await ada.logs.create("g")
        await group.append(b"one")
        kept = disk._groups[group.id].entries
        number, name, data = kept[2].number, kept[2].id, kept[2].data
        kept[2] = Stored(number, name, data[:-70] + bytes([data[-70] ^ 1]) + data[-69:])
    with pytest.raises(LogDamaged) as caught:
        async with member(MemoryNetwork(seed=5), 0, disk):
            raise AssertionError("opened")
    assert caught.value.number == "FOG-LOG-002" and "backup" in caught.value.hint


async def test_what_a_member_may_not_do(autojump_clock: trio.testing.MockClock) -> None:
    async with AsyncExitStack() as stack:
        ada, ben, eve = await crowd(stack, MemoryNetwork(seed=6), 3)
        group = await ada.logs.create("g")
        bens, eves = await ben.opened(group), await eve.opened(group)
        await group.admit(ben.keys.peer_id, Role.ADMIT)
        await group.admit(eve.keys.peer_id, Role.ADMIT)
        await level(group, bens, eves)
        with pytest.raises(NotPermitted) as caught:
            await bens.remove(eve.keys.peer_id)
        assert caught.value.number == "FOG-LOG-001"
        with pytest.raises(NotPermitted):
            await bens.remove(ada.keys.peer_id)
        with pytest.raises(NotPermitted):
            await bens.remove(KEYS[5].peer_id)
        with pytest.raises(NotPermitted):
            await bens.admit(KEYS[5].peer_id, level=1)
        with pytest.raises(LocalProtocolError) as refused:
            await bens.append(bytes(16_345))
        assert refused.value.code == "log-size"
        with pytest.raises(LocalProtocolError) as refused:
            await bens.admit(ephemeral(random.Random(1), key_type="secp256k1").peer_id)
        assert refused.value.code == "log-key"
        with pytest.raises(LocalProtocolError) as refused:
            await ada.logs.create("x" * 65)
        assert refused.value.code == "log-name"
        await bens.append(bytes(16_344))
        for n in range(255):
            await ada.logs.open(n.to_bytes(32))
        with pytest.raises(LimitExceeded):
            await ada.logs.open(bytes([9]) * 32)


@pytest.mark.spec("LOG-040", "LOG-041", "LOG-042")
async def test_a_copied_key_forks_and_everybody_sees_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Ben's directory is copied: both copies write, each to one friend."""
    network, disk = MemoryNetwork(seed=7), MemoryStorage()
    async with AsyncExitStack() as stack:
        ada, eve = await crowd(stack, network, 2)
        group = await ada.logs.create("g")
        eves = await eve.opened(group)
        await group.admit(eve.keys.peer_id)
        await group.admit(KEYS[2].peer_id)
        await level(group, eves)
        network.partition([ada.keys.peer_id, KEYS[2].peer_id], [eve.keys.peer_id])
        for friend, theirs in ((ada, group), (eve, eves)):
            network.partition([friend.keys.peer_id, KEYS[2].peer_id], [])
            async with member(network, 2, MemoryStorage()) as ben:
                bens = await ben.opened(group)
                await friend.host.connect(ben.keys.peer_id, ben.host.addresses, deadline=within(10))
                await level(theirs, bens)
                await bens.append(b"to " + friend.keys.peer_id.short.encode())
                await level(theirs, bens)
            network.partition([ada.keys.peer_id], [eve.keys.peer_id])
        assert not group.forks() and not eves.forks()
        network.heal()
        await trio.sleep(20)
        await ada.host.connect(eve.keys.peer_id, eve.host.addresses, deadline=within(20))
        await level(group, eves)
        assert group.forks() == eves.forks() == ((KEYS[2].peer_id, 0),)
        assert group.replica.verdicts() == eves.replica.verdicts()
        for theirs in (group, eves):
            proof = await theirs.fork_proof(KEYS[2].peer_id)
            assert proof is not None
            assert proof.culprit() == (group.id, KEYS[2].peer_id.ed25519, 0)
        async with member(network, 2, disk) as ben:
            bens = await ben.opened(group)
            await ada.host.connect(ben.keys.peer_id, ben.host.addresses, deadline=within(10))
            await level(group, bens)
            with pytest.raises(LocalProtocolError) as refused:
                await bens.append(b"I am myself")
            assert refused.value.code == "log-forked"
            muted = [x for x in await read(bens, len(bens.replica)) if x.author == KEYS[2].peer_id]
            assert len(muted) == 2
            assert all(x.verdict is Verdict.MUTED and x.text is None for x in muted)
