"""A network of hosts in memory under a virtual clock: where a protocol is tested first."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TypeVar

from fogp2p.environment import Environment
from fogp2p.identity import Identity, ephemeral
from fogp2p.transports.memory import LinkSettings, MemoryNetwork
from fogp2p.transports.memory.host import MemoryHost

from .simulation import Trace, run_simulation, sim_environment

__all__ = ["World", "simulate"]

T = TypeVar("T")


class World:
    """Hosts by name. Names, not the order they come in, decide their keys and their chance."""

    def __init__(
        self, seed: int, trace: Trace, link: LinkSettings | None, stack: AsyncExitStack
    ) -> None:
        self.seed = seed
        self.trace = trace
        """Records what happened; equal seeds give equal digests."""
        self.network = MemoryNetwork(seed=seed, default=link)
        """Cut, heal, freeze and kill here."""
        self._stack = stack
        self._hosts: dict[str, MemoryHost] = {}

    def identity(self, name: str) -> Identity:
        """The keys of the host called `name`."""
        return ephemeral(random.Random(f"{self.seed}/keys/{name}"))  # noqa: S311 - repeatable

    def environment(self, name: str) -> Environment:
        """Clock, randomness, disk and executor of the host called `name`."""
        return sim_environment(self.seed, name)

    async def host(self, name: str) -> MemoryHost:
        """The host called `name`, opened when it is first asked for, closed with the world."""
        found = self._hosts.get(name)
        if found is None:
            opening = self.network.open_host(self.identity(name))
            found = self._hosts[name] = await self._stack.enter_async_context(opening)
        return found


def simulate(
    scenario: Callable[[World], Awaitable[T]], *, seed: int = 0, link: LinkSettings | None = None
) -> T:
    """Run `scenario(world)` under a clock that jumps ahead whenever all tasks wait.

    `link`: how every link behaves (latency, jitter, loss, bandwidth); None: at once and loss-free.
    Returns what the scenario returns. Do not call it from a running event loop.
    """

    async def run(trace: Trace) -> T:
        async with AsyncExitStack() as stack:
            return await scenario(World(seed, trace, link, stack))

    result, _ = run_simulation(seed, run)
    return result
