"""Starts peers that see nobody but each other, and stops them again."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from fogp2p.environment import Environment
from fogp2p.tasks import open_tasks

from .peers import LocalPeer

__all__ = ["Testnet", "open_testnet"]

NAMES: Final = ("ada", "bob", "cleo", "dan", "eve", "fay", "gus", "hal", "ida", "joe")
# Peers on one machine; each is a Python process of about 60 MB.
MAX_PEERS: Final = len(NAMES)
# Multicast on loopback answers within a tenth of a second where it works at all.
MULTICAST_TIMEOUT_S: Final = 15.0
_POLL_S: Final = 0.1


class Testnet:
    """Peers and how they find each other."""

    __test__ = False  # the name is not a test's

    def __init__(self, peers: Sequence[LocalPeer], found_by: str, note: str) -> None:
        self.peers = tuple(peers)
        self.found_by = found_by
        """`mdns`, or `bootstrap` where multicast is closed."""
        self.note = note
        """Why it is not multicast; empty when it is."""


@asynccontextmanager
async def open_testnet(
    directory: Path,
    environment: Environment,
    count: int,
    *,
    settings: Callable[[int], tuple[str, ...]] = lambda index: (),
    say: Callable[[str], None] = lambda line: None,
) -> AsyncIterator[Testnet]:
    """Run `count` peers (2-10) below `directory` while the context lasts.

    They listen on loopback and use multicast DNS on a port and service name of their own, so that
    neither real peers nor another testnet are disturbed. Where multicast does not work the peers
    get each other's addresses, and `note` says so. `settings(i)` are further settings of peer i.
    Raises PeerFailed.
    """
    port = _free_udp_port()
    service = f"_fog{environment.random.getrandbits(32):08x}._udp.local"
    multicast = (
        "discovery.mdns_interfaces=lo",
        f"discovery.mdns_port={port}",
        f"discovery.mdns_service={service}",
    )
    peers = [
        LocalPeer(name, directory / name, (*_common(), *multicast, *settings(i)), environment)
        for i, name in enumerate(NAMES[:count])
    ]
    try:
        await _start_together(peers)
        note = await _multicast_fails(peers)
        if note:
            say(f"multicast does not work here ({note}); the peers get each other's addresses")
            await _stop(peers)
            for i, peer in enumerate(peers):
                peer.settings = (*_common(), "discovery.mdns=false", *settings(i))
            await _start_with_addresses(peers)
        yield Testnet(peers, "bootstrap" if note else "mdns", note)
    finally:
        with trio.CancelScope(shield=True):
            await _stop(peers)


def _common() -> tuple[str, ...]:
    return ("network.listen=/ip4/127.0.0.1/tcp/0", "network.target_peers=16")


async def _start_together(peers: Sequence[LocalPeer]) -> None:
    async with open_tasks() as tasks:
        for peer in peers:
            tasks.start_soon(peer.start)


async def _start_with_addresses(peers: Sequence[LocalPeer]) -> None:
    known: list[str] = []
    for peer in peers:
        if known:
            peer.settings += (f"discovery.bootstrap={','.join(known)}",)
        await peer.start()
        status = await peer.get("status")
        known += status["addresses"][:1]


async def _stop(peers: Sequence[LocalPeer]) -> None:
    async with open_tasks() as tasks:
        for peer in peers:
            tasks.start_soon(peer.stop)


async def _multicast_fails(peers: Sequence[LocalPeer]) -> str:
    """Why multicast does not work; empty as soon as anybody was seen by everybody."""
    problem = "nobody was seen"
    with trio.move_on_after(MULTICAST_TIMEOUT_S):
        while True:
            seen = 0
            for peer in peers:
                for each in (await peer.get("status"))["discovery"]:
                    if each["source"] == "mdns":
                        seen += each["seen"] > 0
                        if each["problem"]:
                            return str(each["problem"])
            if seen == len(peers):
                return ""
            await trio.sleep(_POLL_S)
    return problem


def _free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
