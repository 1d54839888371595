"""The pytest plugin for others: quiet when it is loaded, and its page's examples run."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from fogp2p.host import Host, Stream
from fogp2p.ids import PeerId, ProtocolId
from fogp2p.testing import simulate
from fogp2p.testing.streams import STREAM_CHECKS, check_stream
from fogp2p.testing.world import World
from fogp2p.transports.memory import MemoryNetwork

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "howto" / "test-your-protocol.md"
PLUGIN = "fogp2p.testing.plugin"
ECHO = ProtocolId("/x/1")


def _pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "pytest", "-q", "-p", PLUGIN, "-p", "no:cacheprovider"]
    return subprocess.run(
        [*line, *arguments], cwd=folder, capture_output=True, text=True, timeout=120
    )


def test_loading_it_imports_neither_trio_nor_libp2p() -> None:
    code = f"import sys, {PLUGIN}; print([m for m in ('trio', 'libp2p') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_pytest_finds_it() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert declared["pytest11"] == {PLUGIN: PLUGIN}


def test_the_examples_of_its_page_pass_and_warn_of_nothing(tmp_path: Path) -> None:
    examples = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    (tmp_path / "test_page.py").write_text("\n\n".join(examples))
    done = _pytest(tmp_path, "-W", "error")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_a_broken_promise_is_named(tmp_path: Path) -> None:
    (tmp_path / "test_broken.py").write_text(
        "from contextlib import asynccontextmanager\n"
        "from fogp2p.ids import PeerId\n"
        "from fogp2p.transports.memory import MemoryNetwork\n"
        "from fogp2p.transports.memory.host import MemoryHost\n"
        "class Nameless(MemoryHost):\n"
        "    @property\n"
        "    def addresses(self): return ()\n"
        "@asynccontextmanager\n"
        "async def two():\n"
        "    network = MemoryNetwork()\n"
        "    a, b = (PeerId.from_ed25519(bytes([n]) * 32) for n in (1, 2))\n"
        "    async with network.open_host(a) as near, network.open_host(b) as far:\n"
        "        near.__class__ = Nameless\n"
        "        yield near, far\n"
        "def test_it(fog_host_contract): fog_host_contract(two)\n"
    )
    done = _pytest(tmp_path)
    assert done.returncode == 1 and "a host has at least one address" in done.stdout


def test_a_world_repeats_from_its_seed_and_names_decide() -> None:
    def run(seed: int, *names: str) -> tuple[str, PeerId]:
        async def scenario(world: World) -> tuple[str, PeerId]:
            for name in names:
                host = await world.host(name)
                assert host is await world.host(name)
                world.trace.record(name, world.environment(name).random.random())
            return world.trace.digest, (await world.host("a")).peer_id

        return simulate(scenario, seed=seed)

    assert run(1, "a", "b") == run(1, "a", "b")
    assert run(1, "a")[1] == run(1, "b", "a")[1] != run(2, "a")[1]
    assert run(1, "a", "b")[0] != run(2, "a", "b")[0]


@asynccontextmanager
async def _streams() -> AsyncIterator[tuple[Stream, Stream]]:
    network = MemoryNetwork()
    one, two = (PeerId.from_ed25519(bytes([n]) * 32) for n in (1, 2))
    arrived, done = trio.Event(), trio.Event()
    ends: list[Stream] = []

    async def keep(stream: Stream) -> None:
        ends.append(stream)
        arrived.set()
        await done.wait()

    async with network.open_host(one) as near, network.open_host(two) as far:
        hosts: tuple[Host, Host] = (near, far)
        hosts[1].set_handler(ECHO, keep)
        deadline = trio.current_time() + 10
        await near.connect(far.peer_id, far.addresses, deadline=deadline)
        stream = await near.open_stream(far.peer_id, [ECHO], deadline=deadline)
        await stream.write_all(b"!")
        with trio.fail_after(10):
            await arrived.wait()
            assert await ends[0].read_some(1) == b"!"
        yield stream, ends[0]
        done.set()


async def test_memory_streams_keep_their_promises() -> None:
    await check_stream(_streams)


@pytest.mark.parametrize("check", STREAM_CHECKS, ids=lambda check: check.__name__)
async def test_no_stream_check_passes_a_stream_that_says_nothing(check) -> None:
    class Mute:
        def __init__(self, stream: Stream) -> None:
            self._stream = stream

        def __getattr__(self, name: str):
            return getattr(self._stream, name)

        async def read_some(self, max_bytes: int = 65_536) -> bytes:
            return b""

    async with _streams() as (near, far):
        with pytest.raises((AssertionError, ExceptionGroup)):
            await check(Mute(near), Mute(far))
