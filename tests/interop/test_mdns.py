"""Our peer and others find each other by mDNS, in a network namespace of the test's own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

INTEROP = Path(__file__).resolve().parents[2] / "interop"
NODE = INTEROP / "js" / "node_modules" / ".bin" / "node"
GO = INTEROP / "go" / "bin" / "peer"
COMMANDS = {"js": [str(NODE), str(INTEROP / "js" / "peer.mjs")], "go": [str(GO)]}
# A LAN that nobody else is on: nothing reaches the real network.
OWN_NETWORK = (
    "ip link set lo up && ip link add lan type veth peer name far && ip link set far up && "
    "ip addr add 10.77.0.1/24 dev lan && ip link set lan up && "
    'ip route add 224.0.0.0/4 dev lan && exec "$@"'
)

_FIND_EACH_OTHER = """
import json, subprocess, sys
import trio
import fogp2p
from fogp2p.config import Config, DiscoveryConfig, NetworkConfig

async def main():
    network = NetworkConfig(listen=("/ip4/0.0.0.0/tcp/0",))
    discovery = DiscoveryConfig(mdns_service="_p2p._udp.local", mdns_interfaces=("lan",))
    config = Config(network=network, discovery=discovery)
    start = trio.current_time()
    process = await trio.lowlevel.open_process(sys.argv[1:], stdin=subprocess.PIPE,
                                               stdout=subprocess.PIPE)
    answer = {"they found us": None, "we found and dialled them": None}
    async with fogp2p.open_peer(config=config) as peer:
        buffer, theirs = b"", ""

        def took(what):
            if answer[what] is None:
                answer[what] = trio.current_time() - start

        async def listen():
            nonlocal buffer, theirs
            async for part in process.stdout:
                buffer += part
                *lines, buffer = buffer.split(b"\\n")
                for said in map(json.loads, lines):
                    if "address" in said:
                        theirs = said["address"].rpartition("/")[2]
                    if said.get("discovered") == str(peer.peer_id):
                        took("they found us")

        with trio.move_on_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen)
                while None in answer.values():
                    await trio.sleep(0.02)
                    if any(str(each) == theirs for each in peer.host.peers()):
                        took("we found and dialled them")
                nursery.cancel_scope.cancel()
    process.kill()
    print(json.dumps(answer), flush=True)

trio.run(main)
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
@pytest.mark.parametrize(
    "theirs",
    [
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                not tool.exists(), reason=f"{name}-libp2p is not built: `make interop` builds it"
            ),
        )
        for name, tool in (("js", NODE), ("go", GO))
    ],
)
def test_we_find_them_on_the_lan_and_they_find_us(
    theirs: str, request: pytest.FixtureRequest
) -> None:
    ours = ["unshare", "-rn", "sh", "-c", OWN_NETWORK, "sh", sys.executable, "-c", _FIND_EACH_OTHER]
    done = subprocess.run(
        [*ours, *COMMANDS[theirs], "mdns"], capture_output=True, text=True, timeout=60
    )
    for refusal in ("Operation not permitted", "Operation not supported", "Unknown device type"):
        if refusal in done.stderr:
            pytest.skip(f"no network namespace with an interface here: {refusal}")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    for what, seconds in answer.items():
        if seconds is not None:
            request.node.user_properties.append((f"mDNS, {what}", f"after {seconds:.1f} s"))
    assert None not in answer.values(), answer
