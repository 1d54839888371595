"""The network: who is there, which paths there are, and what is wrong with them."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from fogp2p.addresses import Multiaddr, parse_address
from fogp2p.errors import LocalProtocolError
from fogp2p.identity import Identity
from fogp2p.ids import PeerId
from fogp2p.tasks import open_tasks

from .config import LinkSettings
from .host import MemoryHost
from .path import Path, Uplink

__all__ = ["MemoryNetwork"]


class MemoryNetwork:
    """Connects memory hosts. All its randomness follows from `seed`.

    Every direction of every link has a random stream of its own, named by the two hosts, so adding
    a host does not disturb the others.
    """

    def __init__(self, *, seed: int = 0, default: LinkSettings | None = None) -> None:
        self._seed = seed
        self._default = default if default is not None else LinkSettings()
        self._hosts: dict[PeerId, MemoryHost] = {}
        self._by_number: dict[int, MemoryHost] = {}
        self._paths: dict[tuple[PeerId, PeerId], Path] = {}
        self._numbers: dict[PeerId, int] = {}
        self._uplinks: dict[PeerId, Uplink] = {}
        self._partitions: list[tuple[dict[PeerId, int], bool]] = []

    @asynccontextmanager
    async def open_host(self, identity: Identity | PeerId) -> AsyncIterator[MemoryHost]:
        """Run a host for as long as the context lasts. A peer that comes back has its old address.

        Raises LocalProtocolError("memory-host") for a peer id that is here already.
        """
        peer = identity.peer_id if isinstance(identity, Identity) else identity
        if peer in self._hosts:
            raise LocalProtocolError("this peer is on the network already", code="memory-host")
        number = self._numbers.setdefault(peer, len(self._numbers) + 1)
        async with open_tasks() as nursery:
            host = MemoryHost(self, peer, number, nursery)
            self._hosts[peer] = self._by_number[number] = host
            try:
                yield host
            finally:
                self.kill(peer)
                nursery.cancel_scope.cancel()

    def hosts(self) -> tuple[MemoryHost, ...]:
        """The hosts alive, in the order they came."""
        return tuple(self._hosts.values())

    def host_of(self, peer: PeerId) -> MemoryHost | None:
        """The host of `peer`, if it is alive."""
        return self._hosts.get(peer)

    @property
    def carried_bytes(self) -> int:
        """What all hosts handed over to be carried, on every direction, since the beginning."""
        return sum(path.carried_bytes for path in self._paths.values())

    @property
    def carried_segments(self) -> int:
        """In how many pieces it was handed over."""
        return sum(path.carried_segments for path in self._paths.values())

    def host_at(self, address: Multiaddr) -> MemoryHost | None:
        """The host that listens at `/memory/<n>`."""
        for protocol, value in address.items():
            if protocol.name == "memory":
                return self._by_number.get(int(str(value)))
        return None

    def address_of(self, number: int, peer: PeerId) -> Multiaddr:
        """The address of host `number`."""
        return parse_address(f"/memory/{number}/p2p/{peer}")

    def path(self, source: PeerId, target: PeerId) -> Path:
        """The direction from `source` to `target`."""
        found = self._paths.get((source, target))
        if found is None:
            name = f"{self._seed}/{source}>{target}"
            drawn = random.Random(name)  # noqa: S311 - simulation, repeatable on purpose
            found = Path(self._default, drawn, self._uplinks.get(source))
            self._paths[source, target] = found
            if self._are_apart(source, target):
                found.cut(cut=True)
        return found

    def _are_apart(self, source: PeerId, target: PeerId) -> bool:
        """What the latest partition that names both says."""
        for group_of, one_way in reversed(self._partitions):
            if source in group_of and target in group_of:
                return _is_cut(group_of[source], group_of[target], one_way)
        return False

    def set_default(self, settings: LinkSettings) -> None:
        """Change how every link behaves from now on, those made by `set_link` too."""
        self._default = settings
        for path in self._paths.values():
            path.settings = settings

    def set_uplink(self, peer: PeerId, bytes_per_s: float) -> None:
        """Let everything that `peer` sends, to whomever, share so much. For links made later."""
        self._uplinks[peer] = Uplink(bytes_per_s)

    def set_link(
        self, first: PeerId, second: PeerId, settings: LinkSettings, *, both: bool = True
    ) -> None:
        """Change how the link behaves from now on."""
        self.path(first, second).settings = settings
        if both:
            self.path(second, first).settings = settings

    def cut(self, source: PeerId, target: PeerId, *, cut: bool = True) -> None:
        """Cut (or restore) one direction. Connections over it die after 15 s of silence."""
        path = self.path(source, target)
        path.cut(cut=cut)
        host = self._hosts.get(target)
        if cut and host is not None:
            host.watch(source, path)

    def partition(self, *groups: Iterable[PeerId], one_way: bool = False) -> None:
        """Cut everything between different groups and restore everything within them.

        `one_way`: what a later group sends to an earlier one still arrives.
        """
        # Links that nobody has used yet are made when they are used: a thousand hosts have a
        # million of them.
        group_of = {peer: number for number, group in enumerate(groups) for peer in group}
        self._partitions.append((group_of, one_way))
        for source, target in tuple(self._paths):
            if source in group_of and target in group_of:
                self.cut(source, target, cut=_is_cut(group_of[source], group_of[target], one_way))

    def heal(self) -> None:
        """Restore every direction."""
        self._partitions.clear()
        for path in self._paths.values():
            path.cut(cut=False)

    def freeze(self, peer: PeerId, *, frozen: bool = True) -> None:
        """The host's process stops (as by SIGSTOP): nothing leaves it and nothing is read."""
        for other in tuple(self._hosts):
            if other != peer:
                self.cut(peer, other, cut=frozen)
                self.cut(other, peer, cut=frozen)

    def kill(self, peer: PeerId) -> None:
        """The host is gone at once (as by kill -9); its peers see their connections break."""
        host = self._hosts.pop(peer, None)
        if host is not None:
            self._by_number.pop(host.number, None)
            host.vanish()


def _is_cut(source: int, target: int, one_way: bool) -> bool:
    return source < target if one_way else source != target
