"""A sandbox with a cache that outlives the session: the Python runner takes half a minute."""

from __future__ import annotations

import fcntl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import trio

from fogp2p.environment import real_environment
from fogp2p.sandbox import Job, Kind, Sandbox, SandboxConfig, open_sandbox

CACHE = Path(__file__).resolve().parents[2] / "build" / "sandbox-cache"
Open = Callable[..., AbstractAsyncContextManager[Sandbox]]


@pytest.fixture(scope="session")
def cache() -> Path:
    """Holds the compiled runner; built by whichever test process comes first."""

    async def warm() -> None:
        async with open_sandbox(SandboxConfig(CACHE, workers=1), real_environment()) as box:
            assert (await box.run(Job(Kind.PY_FUNC, b"def f(): pass", "f"))).succeeded

    CACHE.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        trio.run(warm)
    return CACHE


@pytest.fixture
def opened(cache: Path) -> Open:
    """Open a sandbox."""

    def make(**options: Any) -> AbstractAsyncContextManager[Sandbox]:
        config = SandboxConfig(cache, workers=options.pop("workers", 1))
        return open_sandbox(config, real_environment(), **options)

    return make


@pytest.fixture
async def box(opened: Open) -> AsyncIterator[Sandbox]:
    """A sandbox with one worker."""
    async with opened() as made:
        yield made
