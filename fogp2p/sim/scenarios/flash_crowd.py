"""One peer has a file and everybody wants it at the same moment."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import trio

from fogp2p.environment import Environment, within
from fogp2p.errors import FogError
from fogp2p.protocols.blob import CHUNK_BYTES, Blobs, Cid, open_blobs
from fogp2p.sim.faults import KINDS
from fogp2p.sim.invariants import Event
from fogp2p.sim.scenario import Scenario
from fogp2p.sim.world import SimNode, SimWorld, Up
from fogp2p.transports.memory.host import MemoryHost

__all__ = ["FlashCrowd"]

# Eight chunks: enough that peers hold different ones and trade them.
BLOB_BYTES: Final = 8 * CHUNK_BYTES
# What a home connection sends, 8 Mbit/s: a chunk takes a quarter of a second.
UPLINK_BYTES_PER_S: Final = 1_000_000.0
FOLDER: Final = Path("/blobs")
# One attempt to fetch; and the pause after one that failed.
_ATTEMPT_S: Final = 300.0
_PAUSE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Service:
    """What runs on a node."""

    blobs: Blobs


class FlashCrowd(Scenario):
    """See `about`."""

    name: ClassVar[str] = "flash-crowd"
    about: ClassVar[str] = "one peer has a file of 2 MiB and everybody wants it at once"
    minutes: ClassVar[float] = 3.0
    settle_s: ClassVar[float] = 900.0
    kinds: ClassVar[frozenset[str]] = KINDS

    def __init__(self, world: SimWorld) -> None:
        super().__init__(world)
        self._cid: Cid | None = None
        self._truth = b""
        self._wanted = trio.Event()
        self._began = 0.0
        self._done_at: dict[int, float] = {}
        self._chunks: dict[str, int] = {}
        for node in world.nodes:
            world.network.set_uplink(node.peer_id, UPLINK_BYTES_PER_S)
        world.invariants.on("fetched", "blob.exactly-what-its-name-says", self._exact)
        world.invariants.at_end("blob.everybody-has-it", self._everybody)

    def degree(self) -> int:
        return 4

    async def live(self, node: SimNode, host: MemoryHost, environment: Environment, up: Up) -> None:
        async with (
            open_blobs(host, [], environment, FOLDER) as blobs,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self.world.keep_connected, node, host, self.neighbours(node))
            up(Service(blobs))
            await self._wanted.wait()
            while not self._has_it(node):
                # As somebody who presses the button again until it is there.
                try:
                    await self._fetch(node, blobs)
                except FogError as exc:
                    self.world.record(node, "fetch-failed", type(exc).__name__)
                    await trio.sleep(_PAUSE_S)
            await trio.sleep_forever()

    async def _fetch(self, node: SimNode, blobs: Blobs) -> None:
        assert self._cid is not None
        sources = await blobs.fetch(self._cid, deadline=within(_ATTEMPT_S))
        content = await blobs.store.content(self._cid)
        self.delivered += 1
        self._done_at.setdefault(node.number, trio.current_time())
        for peer, count in sources.items():
            name = self.world.by_peer[peer].name
            self._chunks[name] = self._chunks.get(name, 0) + count
        self.world.record(node, "fetched", hashlib.sha256(content).hexdigest())

    async def prepare(self) -> None:
        await self.world.start_all(self.world.nodes)
        self._truth = self.world.chance("blob").randbytes(BLOB_BYTES)
        first = self.world.nodes[0]
        self._cid = await first.service.blobs.store.add_bytes(self._truth, name="it")
        await trio.sleep(30)  # everybody has met its neighbours

    async def safety(self, seconds: float) -> None:
        self._began = trio.current_time()
        self._wanted.set()
        await trio.sleep(seconds)

    def share(self) -> float:
        return sum(self._has_it(node) for node in self.world.nodes) / len(self.world.nodes)

    def _has_it(self, node: SimNode) -> bool:
        if self._cid is None or not node.is_up:
            return False
        kept = node.service.blobs.store.find(self._cid)
        return kept is not None and kept.is_whole

    def figures(self) -> dict[str, float]:
        took = sorted(at - self._began for at in self._done_at.values())
        copies = self.world.network.carried_bytes / BLOB_BYTES
        from_first = self._chunks.get(self.world.nodes[0].name, 0)
        return {
            "blob_bytes": BLOB_BYTES,
            "median_s": took[len(took) // 2] if took else 0.0,
            "last_s": took[-1] if took else 0.0,
            "from_one_uplink_s": len(self.world.nodes) * BLOB_BYTES / UPLINK_BYTES_PER_S,
            "copies_carried_for_each_peer": copies / len(self.world.nodes),
            "chunks_from_the_first": from_first,
            "chunks_from_others": sum(self._chunks.values()) - from_first,
            "fetches_that_failed": self.world.counts.get("fetch-failed", 0),
            "crashes": self.world.counts.get("killed", 0),
            "writes_lost": sum(node.disk.undone for node in self.world.nodes),
        }

    def _exact(self, event: Event) -> str:
        if event.facts[0] == hashlib.sha256(self._truth).hexdigest():
            return ""
        return f"{event.node} got another content than the name says"

    def _everybody(self) -> str:
        lacking = [node.name for node in self.world.nodes if not self._has_it(node)]
        return f"{len(lacking)} peers lack it, {lacking[0]} among them" if lacking else ""
