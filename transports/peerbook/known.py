"""Peers that were reached before, remembered across restarts. Hints, like every sighting."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from fogp2p.addresses import Multiaddr, parse_address, without_peer
from fogp2p.codec import Schema, decode, encode
from fogp2p.environment import DiskError, Environment
from fogp2p.errors import RemoteProtocolError
from fogp2p.host import Sighting
from fogp2p.ids import PeerId
from fogp2p.killpoints import killpoint
from fogp2p.limits import ADDRESSES_PER_PEER, KNOWN_PEERS, SHUTDOWN_GRACE_S
from fogp2p.tasks import open_tasks

from .base import LocalDiscovery
from .config import MAX_FILE_BYTES, OFFERED_AT_START, SAVE_INTERVAL_S

__all__ = ["KnownPeers", "open_known_peers"]

_DAY_S: Final = 86_400
_MAX_DAY: Final = 2**32 - 1
_MAX_ADDRESS_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class _Known:
    addresses: tuple[Multiaddr, ...]
    day: int


@asynccontextmanager
async def open_known_peers(path: Path, environment: Environment) -> AsyncIterator[KnownPeers]:
    """Read the file, keep it up to date while the context lasts, and write it at the end.

    A damaged file is set aside as `<name>.damaged` and `problem()` says so; it never stops a peer.
    """
    book = KnownPeers(path, environment)
    await book.load()
    async with open_tasks() as nursery:
        nursery.start_soon(book.keep_saving)
        try:
            yield book
        finally:
            nursery.cancel_scope.cancel()
            with trio.move_on_after(SHUTDOWN_GRACE_S, shield=True):
                await book.save()


class KnownPeers(LocalDiscovery):
    """Made by `open_known_peers`."""

    def __init__(self, path: Path, environment: Environment) -> None:
        super().__init__()
        self._path = path
        self._environment = environment
        self._peers: OrderedDict[PeerId, _Known] = OrderedDict()
        self._problem = ""
        self._changed = False

    @property
    def source(self) -> str:
        return "known"

    def problem(self) -> str:
        return self._problem

    def __len__(self) -> int:
        return len(self._peers)

    def worked(self, peer: PeerId, address: Multiaddr) -> None:
        """`peer` was connected at `address`: remember it as the best one."""
        before = self._peers.get(peer)
        kept = dict.fromkeys([without_peer(address), *(before.addresses if before else ())])
        day = max(0, int(self._environment.clock.wall()) // _DAY_S)
        self._peers[peer] = _Known(tuple(kept)[:ADDRESSES_PER_PEER], min(day, _MAX_DAY))
        self._peers.move_to_end(peer)
        if len(self._peers) > KNOWN_PEERS:
            self._peers.popitem(last=False)
        self._changed = True

    def forget(self, peer: PeerId) -> None:
        """Remember `peer` no longer."""
        self._changed |= self._peers.pop(peer, None) is not None

    def _present(self) -> list[Sighting]:
        """The most recently useful peers, best first."""
        return [
            Sighting(peer, self._peers[peer].addresses, self.source, math.inf)
            for peer in list(reversed(self._peers))[:OFFERED_AT_START]
        ]

    async def find_peer(self, peer: PeerId, *, deadline: float) -> tuple[Multiaddr, ...]:
        await trio.lowlevel.checkpoint()
        known = self._peers.get(peer)
        return known.addresses if known is not None else ()

    # --- the file --------------------------------------------------------------------------------

    async def load(self) -> None:
        """Read the file if there is one."""
        try:
            data = await self._environment.executor.in_thread(self._read)
        except DiskError as exc:
            self._problem = str(exc)
            return
        if data is None:
            return
        try:
            self._peers = _decode(data)
        except RemoteProtocolError as exc:
            self._problem = f"{self._path} was damaged and set aside: {exc}"
            await self._set_aside(data)

    async def _set_aside(self, data: bytes) -> None:
        disk = self._environment.disk
        aside = self._path.with_name(f"{self._path.name}.damaged")
        try:
            await self._environment.executor.in_thread(disk.replace, aside, data)
            killpoint("known.aside.kept")
            await self._environment.executor.in_thread(disk.remove, self._path)
            killpoint("known.aside.removed")
        except DiskError as exc:
            self._problem = str(exc)

    def _read(self) -> bytes | None:
        return self._environment.disk.read(self._path, max_bytes=MAX_FILE_BYTES)

    async def keep_saving(self) -> None:
        """Write the file now and then, when something changed."""
        while True:
            await trio.sleep(SAVE_INTERVAL_S)
            await self.save()

    async def save(self) -> None:
        """Write the file if something changed."""
        if not self._changed:
            return
        self._changed = False
        data = _encode(self._peers)
        try:
            await self._environment.executor.in_thread(
                self._environment.disk.replace, self._path, data
            )
            self._problem = ""
        except DiskError as exc:
            self._changed = True
            self._problem = str(exc)


def _encode(peers: OrderedDict[PeerId, _Known]) -> bytes:
    listed = [
        [peer.raw, [address.to_bytes() for address in known.addresses], known.day]
        for peer, known in peers.items()
    ]
    return encode({1: 1, 2: listed})


def _decode(data: bytes) -> OrderedDict[PeerId, _Known]:
    """Raises RemoteProtocolError for anything that `_encode` would not write."""
    book = decode(
        data,
        schema=Schema.load("peerbook/v1.cddl", "book"),
        max_bytes=MAX_FILE_BYTES,
        max_items=MAX_FILE_BYTES,
    )
    peers: OrderedDict[PeerId, _Known] = OrderedDict()
    for raw, addresses, day in book[2]:
        known = tuple(parse_address(address) for address in addresses)
        peers[PeerId.from_bytes(raw)] = _Known(known, day)
    return peers
