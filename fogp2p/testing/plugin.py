"""The pytest plugin: fixtures for whoever builds a protocol or a transport on fogp2p.

pytest loads it wherever fogp2p is installed, so it costs nothing until a fixture is asked for:
neither trio nor libp2p is imported before. See docs/howto/test-your-protocol.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .contract import PairMaker
    from .streams import StreamPairMaker
    from .vectors import Vectors

__all__ = ["fog_host_contract", "fog_simulate", "fog_stream_contract", "fog_vectors"]


@pytest.fixture
def fog_simulate() -> Callable[..., Any]:
    """`fog_simulate(scenario, seed=0, link=None)`: run `async def scenario(world)` under a virtual
    clock, with as many hosts in memory as it asks the world for; return what it returns."""
    from .world import simulate

    return simulate


@pytest.fixture
def fog_host_contract() -> Callable[[PairMaker], None]:
    """`fog_host_contract(maker)`: check that both hosts which `maker` opens keep what
    `fogp2p.host.Host` promises, each promise on a fresh pair."""
    import trio

    from .contract import check_host

    return lambda maker: trio.run(check_host, maker)


@pytest.fixture
def fog_stream_contract() -> Callable[[StreamPairMaker], None]:
    """`fog_stream_contract(maker)`: the same for the two ends of a stream and
    `fogp2p.host.Stream`."""
    import trio

    from .streams import check_stream

    return lambda maker: trio.run(check_stream, maker)


@pytest.fixture
def fog_vectors() -> Callable[[str], dict[str, Vectors]]:
    """`fog_vectors("versioning")`: the published vectors of a specification, by file name."""
    from .vectors import load_vectors

    return load_vectors
