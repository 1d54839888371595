"""Our peer and js-libp2p: `make interop` installs it (Node is needed) and runs these tests."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from fogp2p.addresses import parse_address, peer_of, without_peer
from fogp2p.environment import real_environment, within
from fogp2p.host import PeerIdentified, Stream
from fogp2p.identity import ephemeral
from fogp2p.ids import ProtocolId
from fogp2p.protocols import ping
from fogp2p.transports.libp2p import Libp2pConfig, open_host

JS = Path(__file__).resolve().parents[2] / "interop" / "js"
NODE = JS / "node_modules" / ".bin" / "node"
ECHO = ProtocolId("/bench/echo/1.0.0")
pytestmark = pytest.mark.skipif(
    not NODE.exists(), reason="js-libp2p is not installed: `make interop` installs it"
)


class Lines:
    """What a child says, line by line, as JSON."""

    def __init__(self, process: trio.Process) -> None:
        self._process, self._buffer = process, b""

    async def until(self, key: str) -> dict[str, Any]:
        """The next message that has `key`."""
        assert self._process.stdout is not None
        with trio.fail_after(20):
            while True:
                while b"\n" not in self._buffer:
                    part = await self._process.stdout.receive_some()
                    assert part, "js ended"
                    self._buffer += part
                line, _, self._buffer = self._buffer.partition(b"\n")
                message: dict[str, Any] = json.loads(line)
                if key in message:
                    return message


@asynccontextmanager
async def js_server() -> AsyncIterator[tuple[str, Lines]]:
    process = await trio.lowlevel.open_process(
        [str(NODE), str(JS / "peer.mjs"), "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        lines = Lines(process)
        yield (await lines.until("address"))["address"], lines
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                await pipe.aclose()


async def echo(stream: Stream) -> None:
    while data := await stream.read_some():
        await stream.write_all(data)


async def test_we_dial_js() -> None:
    identity = ephemeral(random.SystemRandom())
    async with (
        js_server() as (text, lines),
        open_host(identity, Libp2pConfig(), real_environment()) as host,
    ):
        address = parse_address(text)
        peer = peer_of(address)
        assert peer is not None
        with host.events() as events:
            await host.connect(peer, [without_peer(address)], deadline=within(10))
            stream = await host.open_stream(peer, [ECHO], deadline=within(10))
            sent = random.Random(2).randbytes(600_000)
            got = bytearray()
            async with stream, trio.open_nursery() as nursery:
                nursery.start_soon(stream.write_all, sent)
                with trio.fail_after(20):
                    while len(got) < len(sent):
                        got += await stream.read_some()
            assert bytes(got) == sent
            assert await ping.ping(host, peer, random.Random(1), deadline=within(10)) > 0
            with trio.fail_after(10):
                async for event in events:
                    if isinstance(event, PeerIdentified):
                        break
            assert event.agent.startswith("js-libp2p") and ECHO in event.protocols
        told = await lines.until("identified")
        assert told["identified"] == str(host.peer_id) and told["agent"] == Libp2pConfig().agent


async def test_js_dials_us() -> None:
    identity = ephemeral(random.SystemRandom())
    async with open_host(identity, Libp2pConfig(), real_environment()) as host:
        host.set_handler(ECHO, echo)
        ping.install(host)
        done = await trio.run_process(
            [str(NODE), str(JS / "peer.mjs"), "ping", str(host.addresses[0])], capture_stdout=True
        )
        told = json.loads(done.stdout)
        assert told["echoed"] == "from js" and told["ping_ms"] >= 0
        assert told["agent"] == Libp2pConfig().agent and ECHO in told["protocols"]


_FIND_EACH_OTHER = """
import json, subprocess, sys
import trio
import fogp2p
from fogp2p.config import Config, DiscoveryConfig, NetworkConfig

async def main():
    network = NetworkConfig(listen=("/ip4/0.0.0.0/tcp/0",))
    discovery = DiscoveryConfig(mdns_service="_p2p._udp.local", mdns_interfaces=("lo",))
    config = Config(network=network, discovery=discovery)
    process = await trio.lowlevel.open_process(sys.argv[1:], stdin=subprocess.PIPE,
                                               stdout=subprocess.PIPE)
    async with fogp2p.open_peer(config=config) as peer:
        print(json.dumps({"ours": str(peer.peer_id)}), flush=True)
        buffer = b""
        with trio.fail_after(30):
            async for part in process.stdout:
                buffer += part
                *lines, _ = buffer.split(b"\\n")
                said = [json.loads(line) for line in lines]
                found = any(w.get("discovered") == str(peer.peer_id) for w in said)
                theirs = next((w["address"].rpartition("/")[2] for w in said if "address" in w), "")
                connected = any(str(p) == theirs for p in peer.host.peers())
                if found and connected:
                    break
        print(json.dumps({"found": found, "connected": connected}), flush=True)
    process.kill()

trio.run(main)
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
def test_we_find_js_on_the_lan_and_js_finds_us(tmp_path: Path) -> None:
    """In a network namespace of its own, so that nothing reaches the real network."""
    setup = 'ip link set lo up multicast on && ip route add 224.0.0.0/4 dev lo && exec "$@"'
    line = ["unshare", "-rn", "sh", "-c", setup, "sh", sys.executable, "-c", _FIND_EACH_OTHER]
    done = subprocess.run(
        [*line, str(NODE), str(JS / "peer.mjs"), "mdns"], capture_output=True, text=True, timeout=60
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("this system allows no network namespaces")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"found": True, "connected": True}
