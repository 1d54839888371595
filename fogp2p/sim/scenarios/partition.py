"""Two halves of a network that do not hear of each other both write to one group log."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

import trio

from fogp2p.environment import Environment
from fogp2p.errors import FogError
from fogp2p.protocols.log import Group, Logs, MemoryStorage, Stored, Verdict, open_logs
from fogp2p.protocols.log.entries import decode_entry
from fogp2p.sim.disk import SimDisk
from fogp2p.sim.faults import KINDS
from fogp2p.sim.invariants import Event
from fogp2p.sim.scenario import Scenario
from fogp2p.sim.world import SimNode, SimWorld, Up
from fogp2p.transports.memory.host import MemoryHost

__all__ = ["Partition"]

# Members write, everybody carries. Each admission seals a new key to all members, so the number of
# writers is what a run costs before it begins; eight in each half write at once often enough.
WRITERS: Final = 16
# A message of each writer about every minute: a lively conversation.
WRITE_EVERY_S: Final = 60.0
MESSAGE_BYTES: Final = 120
# What a healed network may send for each byte that was missing somewhere: entries come from two
# neighbours at once, and ids, fingerprints and frontiers are beside them.
COST_FACTOR: Final = 4.0
# Frontiers that are told every 30 s whatever happens: not counted against the difference.
IDLE_BYTES_PER_LINK: Final = 4_096
_LOOK_S: Final = 5.0


@dataclass(slots=True)
class Kept:
    """What a node keeps over its lives: the log, and how far its program has read it."""

    storage: SimLogStorage
    shown: set[bytes] = field(default_factory=set)
    number: int = 0
    positions: dict[str, int] = field(default_factory=dict)


class SimLogStorage(MemoryStorage):
    """A log's storage on a simulated disk: a commit is flushed when it returns, or fails."""

    def __init__(self, disk: SimDisk) -> None:
        super().__init__()
        self._disk = disk

    async def add_group(self, group: bytes) -> None:
        self._disk.touch("write")
        await super().add_group(group)

    async def commit(
        self, group: bytes, entries: Sequence[Stored], marks: Mapping[str, int] | None = None
    ) -> None:
        self._disk.touch("write")
        await super().commit(group, entries, marks)


@dataclass(frozen=True, slots=True)
class Service:
    """What runs on a node."""

    logs: Logs
    group: Group | None


class Partition(Scenario):
    """See `about`."""

    name: ClassVar[str] = "partition"
    about: ClassVar[str] = "two halves both write to one group for ten minutes, then heal"
    minutes: ClassVar[float] = 10.0
    settle_s: ClassVar[float] = 180.0
    kinds: ClassVar[frozenset[str]] = KINDS - {"partitions"}

    def __init__(self, world: SimWorld) -> None:
        super().__init__(world)
        self.writers = world.nodes[:WRITERS]
        self._group = b""
        self._parents: dict[bytes, tuple[bytes, ...]] = {}
        self._written: dict[bytes, tuple[str, bytes]] = {}
        self._sizes: dict[bytes, int] = {}
        self._missing = 0
        self._before = 0
        self._spent = 0
        self._carried_before = 0
        self._carried = 0
        checks = world.invariants
        checks.on("delivered", "log.parents-first", self._parents_first)
        checks.on("delivered", "log.once-and-in-order", self._once)
        checks.on("delivered", "log.only-what-was-written", self._genuine)
        checks.at_end("log.nothing-acknowledged-is-lost", self._nothing_lost)
        checks.at_end("log.equal-verdicts", self._equal_verdicts)
        checks.at_end("log.no-forks", self._no_forks)
        checks.at_end("log.cost-follows-difference", self._cost)

    # --- one node --------------------------------------------------------------------------------

    def kept(self, node: SimNode) -> Kept:
        """What is on a node's disk."""
        if "log" not in node.kept:
            node.kept["log"] = Kept(SimLogStorage(node.disk))
        found: Kept = node.kept["log"]
        return found

    def neighbours(self, node: SimNode) -> list[SimNode]:
        """Two earlier nodes of the own half and one of the other."""
        chosen = self.world.chance(f"graph/{node.name}")
        earlier = self.world.nodes[: node.number]
        own = [each for each in earlier if each.number % 2 == node.number % 2]
        other = [each for each in earlier if each.number % 2 != node.number % 2]
        return chosen.sample(own, min(2, len(own))) + chosen.sample(other, min(1, len(other)))

    async def live(self, node: SimNode, host: MemoryHost, environment: Environment, up: Up) -> None:
        kept = self.kept(node)
        async with open_logs(host, node.identity, kept.storage, environment) as logs:
            group = await self._open(node, logs)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.world.keep_connected, node, host, self.neighbours(node))
                nursery.start_soon(self._read, node, kept, group)
                up(Service(logs, group))
                while not group.status().problem:  # noqa: ASYNC110 - a supervisor looks so, too
                    await trio.sleep(_LOOK_S)
                # A log whose disk failed is closed: a supervisor would start the process again.
                nursery.cancel_scope.cancel()

    async def _open(self, node: SimNode, logs: Logs) -> Group:
        if not self._group:
            group = await logs.create("everybody")
            self._group = group.id
            return group
        return await logs.open(self._group)

    async def _read(self, node: SimNode, kept: Kept, group: Group) -> None:
        """A program that shows every entry, and remembers durably what it has shown."""
        async for each in group.deliveries(since=kept.number):
            author = str(each.author)
            self.delivered += 1
            self.world.record(
                node, "delivered", each.id.hex(), each.number, author, each.position, each.text
            )
            kept.number = each.number
            kept.shown.add(each.id)
            kept.positions[author] = each.position

    # --- the course ------------------------------------------------------------------------------

    async def prepare(self) -> None:
        await self.world.start_all(self.world.nodes)
        founder = self.world.nodes[0]
        for writer in self.writers[1:]:
            await self._group_of(founder).admit(writer.peer_id)
        while self.share() < 1:  # noqa: ASYNC110 - looks from outside at all of them
            await trio.sleep(1)
        await self._note_new(founder)

    async def safety(self, seconds: float) -> None:
        halves = [[n.peer_id for n in self.world.nodes[k::2]] for k in (0, 1)]
        self.world.network.partition(*halves)
        self.world.record(None, "parted")
        async with trio.open_nursery() as nursery:
            for writer in self.writers:
                nursery.start_soon(self._write, writer)
            await trio.sleep(seconds)
            nursery.cancel_scope.cancel()

    async def _write(self, node: SimNode) -> None:
        source = self.world.chance(f"write/{node.name}")
        while True:
            await trio.sleep(source.expovariate(1 / WRITE_EVERY_S))
            if node.is_up:
                await self._say(node, source)

    async def _say(self, node: SimNode, source: random.Random) -> None:
        text = source.randbytes(MESSAGE_BYTES)
        try:
            entry = await self._group_of(node).append(text)
        except FogError as exc:
            # The disk failed under it: nothing was promised.
            self.world.record(node, "not-written", type(exc).__name__)
            return
        self._written[entry] = (str(node.peer_id), text)
        stored = await self.kept(node).storage.fetch(self._group, [entry])
        self._learn(entry, stored[entry])
        self.world.record(node, "written", entry.hex())

    async def _note_new(self, node: SimNode) -> None:
        """Read the parents and sizes of entries from a node's log: the truth to compare with."""
        storage = self.kept(node).storage
        for stored in await storage.read(self._group, 0, 1_000_000):
            if stored.id not in self._sizes:
                self._learn(stored.id, stored.data)

    def _learn(self, entry: bytes, data: bytes) -> None:
        self._sizes[entry] = len(data)
        self._parents[entry] = tuple(decode_entry(data).past)

    async def recover(self) -> None:
        held: list[set[bytes]] = []
        for node in self.world.nodes:
            await self._note_new(node)
            stored = await self.kept(node).storage.read(self._group, 0, 1_000_000)
            held.append({each.id for each in stored})
        everything = set(self._sizes)
        self._missing = sum(
            self._sizes[name] for mine in held for name in sorted(everything - mine)
        )
        self._before = self._log_bytes()
        self._carried_before = self.world.network.carried_bytes
        await super().recover()

    async def progress(self) -> float:
        share = self.share()
        if share >= 1:
            self._spent = self._log_bytes() - self._before
            self._carried = self.world.network.carried_bytes - self._carried_before
            # What is placed is shown a moment later.
            while any(  # noqa: ASYNC110 - looks from outside at all of them
                self.kept(node).number < len(self._group_of(node).replica)
                for node in self.world.nodes
            ):
                await trio.sleep(0.1)
        return share

    def share(self) -> float:
        prints = Counter(self._group_of(node).replica.fingerprint for node in self.world.running())
        return max(prints.values(), default=0) / len(self.world.nodes)

    def _group_of(self, node: SimNode) -> Group:
        service = node.service
        assert isinstance(service, Service) and service.group is not None
        return service.group

    def _log_bytes(self) -> int:
        return sum(node.service.logs.status().bytes_sent for node in self.world.running())

    def figures(self) -> dict[str, float]:
        return {
            "entries_written": len(self._written),
            "missing_bytes": self._missing,
            "log_bytes_to_heal": self._spent,
            "stream_bytes_to_heal": self._carried,
            "bytes_sent_for_each_missing": self._spent / self._missing if self._missing else 0.0,
            "crashes": self.world.counts.get("killed", 0),
            "disk_errors": sum(node.disk.errors for node in self.world.nodes),
        }

    # --- invariants ------------------------------------------------------------------------------

    def _node(self, event: Event) -> Kept:
        return self.kept(self.world.nodes[int(event.node[1:])])

    def _parents_first(self, event: Event) -> str:
        name = bytes.fromhex(str(event.facts[0]))
        shown = self._node(event).shown
        early = [each for each in self._parents.get(name, ()) if each not in shown]
        if not early:
            return ""
        return f"{event.node} was shown {name.hex()[:8]} before {early[0].hex()[:8]}, its parent"

    def _once(self, event: Event) -> str:
        name, number, author, position, _ = event.facts
        kept = self._node(event)
        if bytes.fromhex(str(name)) in kept.shown or number != kept.number + 1:
            return f"{event.node} was shown entry {number} after entry {kept.number}"
        if position != kept.positions.get(str(author), -1) + 1:
            return f"{event.node} was shown position {position} of {author} out of order"
        return ""

    def _genuine(self, event: Event) -> str:
        name, _, author, _, text = event.facts
        truth = self._written.get(bytes.fromhex(str(name)))
        # Carriers cannot read it; an entry whose writer died while writing was never promised.
        if text is None or truth is None or truth == (author, text):
            return ""
        return f"{event.node} was shown something else than {author} wrote"

    def _nothing_lost(self) -> str:
        for node in self.world.nodes:
            lost = [name for name in self._written if name not in self.kept(node).shown]
            if lost:
                return f"{node.name} lacks {len(lost)} entries, among them {lost[0].hex()[:8]}"
        return ""

    def _equal_verdicts(self) -> str:
        first: dict[bytes, Verdict] | None = None
        for node in self.world.nodes:
            verdicts = self._group_of(node).replica.verdicts()
            first = verdicts if first is None else first
            if verdicts != first:
                return f"{node.name} judges entries otherwise than {self.world.nodes[0].name}"
        return ""

    def _no_forks(self) -> str:
        forks = [f for node in self.world.nodes for f in self._group_of(node).forks()]
        return f"{forks[0][0]} signed two entries for position {forks[0][1]}" if forks else ""

    def _cost(self) -> str:
        links = sum(len(n.host.peers()) for n in self.world.nodes if n.host is not None) / 2
        bound = COST_FACTOR * self._missing + IDLE_BYTES_PER_LINK * links
        if self._spent > bound:
            return f"{self._spent} bytes were sent where {self._missing} were missing"
        return ""
