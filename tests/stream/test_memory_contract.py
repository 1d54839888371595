"""The memory host keeps the promises of `fogp2p.host`, with and without delays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fogp2p.host import Host
from fogp2p.ids import PeerId
from fogp2p.testing import run_simulation
from fogp2p.testing.contract import CHECKS, Check
from fogp2p.testing.simulation import Trace
from fogp2p.transports.memory import LinkSettings, MemoryNetwork

SETTINGS = {
    "instant": LinkSettings(),
    "slow": LinkSettings(latency_s=0.02, jitter_s=0.01, loss=0.05, bandwidth=5_000_000),
}


@asynccontextmanager
async def _pair(settings: LinkSettings) -> AsyncIterator[tuple[Host, Host]]:
    network = MemoryNetwork(seed=7, default=settings)
    first, second = (PeerId.from_ed25519(bytes([n]) * 32) for n in (1, 2))
    async with network.open_host(first) as near, network.open_host(second) as far:
        yield near, far


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check: Check, settings: LinkSettings) -> None:
    async def scenario(trace: Trace) -> None:
        async with _pair(settings) as (near, far):
            await check(near, far)

    run_simulation(1, scenario)
