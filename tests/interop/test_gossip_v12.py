"""Gossipsub 1.2 with js-libp2p and go-libp2p: spoken on the wire, and IDONTWANT said both ways.

Two of ours and one of theirs are connected to each other. A large message of one of ours reaches
them twice, and they tell us that they do not want it; they are told the same.
"""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
from pathlib import Path

import pytest
import trio

from fogp2p.addresses import parse_address
from fogp2p.environment import real_environment, within
from fogp2p.events import Gap
from fogp2p.identity import ephemeral
from fogp2p.ids import PeerId
from fogp2p.protocols.gossip import Gossip, open_gossip
from fogp2p.protocols.gossip.config import V12
from fogp2p.protocols.gossip.messages import Envelope, Rpc
from fogp2p.transports.libp2p import Libp2pConfig, open_host

INTEROP = Path(__file__).resolve().parents[2] / "interop"
NODE = INTEROP / "js" / "node_modules" / ".bin" / "node"
GO = INTEROP / "go" / "bin" / "peer"
COMMANDS = {"js": [str(NODE), str(INTEROP / "js" / "peer.mjs")], "go": [str(GO)]}
T = "/interop/1.2"
LARGE = "x" * 5_000


def _when(path: Path, what: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        not path.exists(), reason=f"{what} is not built: `make interop` builds it"
    )


def _note(gossip: Gossip, told_by: list[PeerId]) -> None:
    """Note who says IDONTWANT."""
    receive = gossip.router.receive

    def noted(peer: PeerId, rpc: Rpc, now: float) -> list[Envelope]:
        if rpc.idontwant:
            told_by.append(peer)
        return receive(peer, rpc, now)

    gossip.router.receive = noted  # type: ignore[method-assign]


@pytest.mark.parametrize(
    "theirs",
    [
        pytest.param("js", marks=_when(NODE, "js-libp2p")),
        pytest.param("go", marks=_when(GO, "go-libp2p")),
    ],
)
async def test_idontwant_goes_both_ways(theirs: str) -> None:
    environment = real_environment()
    async with contextlib.AsyncExitStack() as stack:
        hosts, gossips = [], list[Gossip]()
        for _ in range(2):
            keys = ephemeral(random.SystemRandom())
            host = await stack.enter_async_context(open_host(keys, Libp2pConfig(), environment))
            gossips.append(await stack.enter_async_context(open_gossip(host, keys, environment)))
            hosts.append(host)
        told_by: list[PeerId] = []
        for gossip in gossips:
            _note(gossip, told_by)
        await hosts[0].connect(hosts[1].peer_id, hosts[1].addresses, deadline=within(10))
        first = stack.enter_context(gossips[0].subscribe(T))
        stack.enter_context(gossips[1].subscribe(T))
        process = await trio.lowlevel.open_process(
            [*COMMANDS[theirs], "gossip", str(hosts[0].addresses[0]), T],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        stdout, stdin = process.stdout, process.stdin
        assert stdout is not None and stdin is not None
        try:
            with trio.fail_after(40):
                line = b""
                while not line.endswith(b"\n"):
                    line += await stdout.receive_some()
                said = json.loads(line.splitlines()[0])
                peer, address = PeerId.parse(said["id"]), said["address"]
                await hosts[1].connect(peer, [parse_address(address)], deadline=within(10))
                for gossip in gossips:
                    while peer not in gossip.router.mesh[T]:  # noqa: ASYNC110
                        await trio.sleep(0.05)
                    assert gossip.router._peers[peer].speaks_idontwant, V12
                for n in range(200):
                    await gossips[n % 2].publish(T, f"{n} {LARGE}".encode())
                    await trio.sleep(0.02)
                    if n >= 20 and peer in told_by:
                        break
                await stdin.send_all(b"theirs " + LARGE.encode() + b"\n")
                while True:
                    message = await anext(first)
                    if not isinstance(message, Gap) and message.data.startswith(b"theirs"):
                        assert message.author == peer
                        break
                await trio.sleep(0.5)
            total = [gossip.stats() for gossip in gossips]
            assert sum(each.idontwant_sent for each in total) > 0
            assert peer in told_by
        finally:
            process.kill()
            with trio.CancelScope(shield=True), contextlib.suppress(trio.BrokenResourceError):
                await process.wait()
                await stdin.aclose()
                await stdout.aclose()
