"""A simulated world: machines with disks and clocks on one network, under one seed.

Every node, link and kind of fault draws from a random stream of its own, named after it: adding
one disturbs no other. Whatever happens is recorded with `SimWorld.record`, which feeds the trace
(equal hashes, equal runs) and the invariants.
"""

from __future__ import annotations

import dataclasses
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import trio

from fogp2p.addresses import Multiaddr
from fogp2p.environment import Environment, within
from fogp2p.errors import FogError
from fogp2p.identity import Identity, ephemeral
from fogp2p.ids import PeerId
from fogp2p.supervision import contained
from fogp2p.testing import Trace, sim_environment
from fogp2p.testing.simulation import EPOCH_S
from fogp2p.transports.memory import LinkSettings, MemoryNetwork
from fogp2p.transports.memory.host import MemoryHost

from .disk import SimDisk
from .invariants import Event, Invariants

__all__ = ["SimClock", "SimNode", "SimWorld"]

# A dial that got no answer is repeated after this long, twice as long each time, up to the second.
_REDIAL_S: Final = 4.0
_REDIAL_MAX_S: Final = 30.0
_DIAL_TIMEOUT_S: Final = 10.0
# Nothing of ours may escape a node that is not a FogError.
NO_FOREIGN_EXCEPTION: Final = "node.no-foreign-exception"


class SimClock:
    """A node's clocks. Waiting is exact; the date runs at `rate` and is off by `jump_s`."""

    def __init__(self) -> None:
        self.rate = 1.0
        self.jump_s = 0.0

    def monotonic(self) -> float:
        """See environment.Clock."""
        return trio.current_time()

    def wall(self) -> float:
        """See environment.Clock."""
        return EPOCH_S + trio.current_time() * self.rate + self.jump_s


class SimNode:
    """One machine: keys, disk and clock stay; the process on it comes and goes."""

    def __init__(self, number: int, identity: Identity, disk: SimDisk) -> None:
        self.number: Final = number
        self.name: Final = f"n{number}"
        self.identity: Final = identity
        self.disk: Final = disk
        self.clock: Final = SimClock()
        self.kept: dict[str, Any] = {}
        """What a scenario keeps on the disk beside files."""
        self.lives = 0
        self.host: MemoryHost | None = None
        self.environment: Environment | None = None
        self.service: Any = None
        """What the scenario runs there; None while the machine is down or still starting."""
        self.is_starting = False
        self.down_until: float | None = None
        """When it is to start again, for who takes care of that."""
        self.address: Multiaddr | None = None
        self.scope = trio.CancelScope()
        self.over = trio.Event()
        self.over.set()

    @property
    def peer_id(self) -> PeerId:
        """The name on the network."""
        return self.identity.peer_id

    @property
    def is_up(self) -> bool:
        """Whether its process has started and lives."""
        return self.service is not None


Up = Callable[[Any], None]
"""Says that a node has started, and hands over what runs there."""
Body = Callable[[SimNode, MemoryHost, Environment, Up], Awaitable[None]]
"""The process of a node: starts everything, calls `up`, and runs until it is cancelled."""


class SimWorld:
    """All nodes of one run. `body` is the process each of them runs."""

    def __init__(
        self, seed: int, peers: int, trace: Trace, nursery: trio.Nursery, links: LinkSettings
    ) -> None:
        self.seed: Final = seed
        self.network: Final = MemoryNetwork(seed=seed, default=links)
        self.links = links
        self.invariants: Final = Invariants(nursery.cancel_scope.cancel)
        self.counts: dict[str, int] = {}
        """How many events of each kind were recorded."""
        self.body: Body = _nothing
        self._trace = trace
        self._nursery = nursery
        self._contents: dict[bytes, bytes] = {}
        self.nodes: Final = tuple(self._make(number) for number in range(peers))
        self.by_peer: Final = {node.peer_id: node for node in self.nodes}

    def chance(self, name: str) -> random.Random:
        """A random stream that follows from the seed and its name."""
        return random.Random(f"{self.seed}/{name}")  # noqa: S311 - repeatable on purpose

    def _make(self, number: int) -> SimNode:
        identity = ephemeral(self.chance(f"keys/n{number}"))
        return SimNode(number, identity, SimDisk(self.chance(f"disk/n{number}"), self._shared))

    def _shared(self, content: bytes) -> bytes:
        return self._contents.setdefault(content, content)

    def record(self, node: SimNode | None, kind: str, *facts: object) -> None:
        """Note an event and check what must hold after it."""
        name = node.name if node is not None else "world"
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self._trace.record(name, kind, *facts)
        self.invariants.observe(Event(trio.current_time(), name, kind, facts))

    # --- life and death --------------------------------------------------------------------------

    async def start(self, node: SimNode) -> bool:
        """Start the node's process; returns whether it came up. Does nothing when it runs."""
        if node.is_up or node.is_starting:
            return node.is_up
        node.is_starting = True
        try:
            await node.over.wait()
            return await self._start(node)
        finally:
            node.is_starting = False

    async def _start(self, node: SimNode) -> bool:
        node.disk.power_on()
        node.over = trio.Event()
        node.scope = trio.CancelScope()
        node.down_until = None
        node.lives += 1
        settled = trio.Event()
        self._nursery.start_soon(self._live, node, settled)
        await settled.wait()
        return node.is_up

    async def start_all(self, nodes: Iterable[SimNode]) -> None:
        """Start nodes one after another."""
        for node in nodes:
            await self.start(node)

    def kill(self, node: SimNode) -> None:
        """The power of the machine fails: nothing is flushed and nobody is told."""
        if not node.over.is_set():
            self.record(node, "killed", node.lives)
            node.service = None
            node.disk.cut_power()
            self.network.kill(node.peer_id)
            node.scope.cancel()

    def running(self) -> tuple[SimNode, ...]:
        """The nodes that are up."""
        return tuple(node for node in self.nodes if node.is_up)

    async def _live(self, node: SimNode, settled: trio.Event) -> None:
        def up(service: Any) -> None:
            node.service = service
            self.record(node, "up", node.lives)
            settled.set()

        async def run() -> None:
            environment = sim_environment(self.seed, f"{node.name}/{node.lives}")
            environment = dataclasses.replace(environment, clock=node.clock, disk=node.disk)
            async with self.network.open_host(node.identity) as host:
                node.host, node.environment = host, environment
                node.address = host.addresses[0]
                await self.body(node, host, environment, up)

        with node.scope:
            failure = await contained(run)
            if failure is not None:
                self._failed(node, failure)
        node.host = node.environment = node.service = None
        node.over.set()
        settled.set()

    def _failed(self, node: SimNode, failure: Exception) -> None:
        self.record(node, "failed", type(failure).__name__)
        for leaf in _leaves(failure):
            if not isinstance(leaf, FogError):
                logging.getLogger(__name__).error("node_failed", exc_info=leaf)
                reason = f"{node.name} ended by {type(leaf).__name__}: {leaf}"
                self.invariants.violated(NO_FOREIGN_EXCEPTION, reason, trio.current_time())

    # --- the network -----------------------------------------------------------------------------

    async def keep_connected(self, node: SimNode, host: MemoryHost, others: list[SimNode]) -> None:
        """Dial `others` whenever a connection to one is missing, for ever; more rarely in vain."""
        draw = self.chance(f"dial/{node.name}/{node.lives}")
        async with trio.open_nursery() as nursery:
            for other in others:
                nursery.start_soon(self._keep, host, other, draw)
            await trio.sleep_forever()

    async def _keep(self, host: MemoryHost, other: SimNode, draw: random.Random) -> None:
        pause = _REDIAL_S
        while True:
            if host.connection_to(other.peer_id) is not None:
                pause = _REDIAL_S
            elif other.address is not None:
                try:
                    deadline = within(_DIAL_TIMEOUT_S)
                    await host.connect(other.peer_id, [other.address], deadline=deadline)
                    pause = _REDIAL_S
                except FogError:
                    pause = min(2 * pause, _REDIAL_MAX_S)
            await trio.sleep(pause * draw.uniform(0.75, 1.25))


def _leaves(failure: BaseException) -> Iterable[BaseException]:
    if isinstance(failure, BaseExceptionGroup):
        for member in failure.exceptions:
            yield from _leaves(member)
    else:
        yield failure


async def _nothing(node: SimNode, host: MemoryHost, environment: Environment, up: Up) -> None:
    up(())
    await trio.sleep_forever()
