"""The status page of a real peer, which is frozen, loses its API, is killed, and comes back."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from fogp2p.client import Client
from fogp2p.paths import home_paths

pytestmark = pytest.mark.process


class Peer:
    """`fogp2p` with a directory of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.pid = 0
        self.client = Client(home_paths(home).socket)

    async def run(self, *words: str) -> dict[str, Any]:
        """The JSON answer of a command."""
        environ = {k: v for k, v in os.environ.items() if not k.startswith("FOGP2P_")}
        line = [sys.executable, "-m", "fogp2p", "--home", str(self.home), "--json", *words]
        done = await trio.run_process(line, capture_stdout=True, check=True, env=environ)
        return dict(json.loads(done.stdout))

    async def up(self) -> None:
        """Start it."""
        self.pid = (await self.run("up", "-d"))["pid"]

    async def get(self, route: str) -> dict[str, Any]:
        """Ask its API."""
        return await trio.to_thread.run_sync(partial(self.client.get, route))

    async def post(self, route: str) -> dict[str, Any]:
        """Ask its API."""
        return await trio.to_thread.run_sync(partial(self.client.post, route))

    async def link(self) -> str:
        """What the owner opens."""
        return str((await self.run("dashboard"))["url"])


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    (tmp_path / "config.toml").write_text(
        '[network]\nlisten = ["/ip4/127.0.0.1/tcp/0"]\n[discovery]\nmdns = false\ndht = "off"\n'
        f'[api]\ntcp = "127.0.0.1:{port}"\n'
    )
    found = Peer(tmp_path)
    yield found
    if found.pid:
        os.kill(found.pid, signal.SIGCONT)
        line = [sys.executable, "-m", "fogp2p", "--home", str(tmp_path), "down"]
        subprocess.run(line, check=True, capture_output=True, timeout=60)


def state(name: str) -> str:
    return f"document.body.dataset.state === {name!r}"


async def test_it_is_marked_stale_and_recovers_by_itself(browser: Any, peer: Peer) -> None:
    await peer.up()
    async with browser.page(fast=True) as page:
        await page.open(await peer.link())
        await page.until(state("live"))
        assert await page.text("#no-peers")  # it is alone, and says what to do
        assert await page.text("#reasons") != ""
        await page.is_clean()
        assert page.network == []

        os.kill(peer.pid, signal.SIGSTOP)
        heard = await page.ask("Date.now()")
        await page.until(state("stale"))
        assert await page.ask("Date.now()") - heard < 30_000  # of the page's own time
        assert "stale since" in await page.text("#live")
        assert "does not answer" in await page.text("#silent")
        os.kill(peer.pid, signal.SIGCONT)
        await page.until(state("live"))

        # Still logged in, and with the story of it, after a restart of the API alone.
        await peer.post("services/api/crash")
        told = "document.querySelector('#events').innerText.includes({!r})"
        await page.until(told.format("backing-off"))
        await page.until(state("live"))
        await page.is_clean()
        # The token of before went with the API that wrote it.
        assert len((await peer.get("tokens"))["tokens"]) == 1

        os.kill(peer.pid, signal.SIGKILL)
        await page.until(state("stale"))
        await peer.up()
        await page.until(state("out"))  # it is another process, which knows no browser
        assert "fogp2p dashboard" in await page.text("#logged-out")
        await page.ask(f"fetch({(await peer.link())!r}).then(() => true)")
        await page.until(state("live"))
        await page.until(f"!({told.format('backing-off')})")
        await page.is_clean()
