"""Fetches one blob from several sources at once."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

import trio

from fogp2p.environment import Environment, deadline_of, within
from fogp2p.errors import (
    LimitExceeded,
    RemoteProtocolError,
    StreamReset,
    TransportError,
    Unreachable,
)
from fogp2p.events import Gap
from fogp2p.framing import FrameDecoder, encode_frame, read_frame
from fogp2p.host import Connected, Host, HostEvent, Stream
from fogp2p.ids import PeerId, ProtocolId, protocol_id
from fogp2p.tasks import open_tasks

from .config import (
    CHUNK_BYTES,
    HAVE_AGAIN_S,
    LOOK_AGAIN_S,
    MAX_MANIFEST_BYTES,
    MAX_REPLY_BYTES,
    MAX_REQUEST_BYTES,
    MAX_SOURCES,
    PIPELINE,
    PUT_AT_ONCE,
    REPLY_TIMEOUT_S,
    STORE_DELAY_S,
    WRITE_BEHIND,
)
from .content import Part
from .messages import (
    Cid,
    Request,
    Status,
    decode_manifest,
    indices_of,
    read_reply,
    reason,
)
from .store import BlobStore
from .swarm import Swarm

__all__ = ["PROTOCOL_ID", "Download", "FindSources"]

PROTOCOL_ID: ProtocolId = protocol_id("/fog/blob/1.0.0")
FindSources = Callable[[Cid], Awaitable[Iterable[PeerId]]]
_LOG = logging.getLogger(__name__)


class Source:
    """One stream to one peer."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._decoder = FrameDecoder(max_bytes=MAX_REPLY_BYTES)

    async def ask(self, request: Request) -> None:
        """Send a request; its answer comes in its turn."""
        await self.stream.write_all(encode_frame(request.to_bytes(), max_bytes=MAX_REQUEST_BYTES))

    async def hear(self) -> tuple[int, memoryview]:
        """The next answer. Raises RemoteProtocolError, StreamReset, DeadlineExceeded."""
        with deadline_of(within(REPLY_TIMEOUT_S), "waiting for a chunk"):
            frame = await read_frame(self.stream, self._decoder)
        if frame is None:
            raise StreamReset("the peer ended the stream")
        return read_reply(frame)

    async def want(self, request: Request) -> memoryview:
        """Ask, and take nothing but OK. Raises Unreachable with the peer's reason."""
        await self.ask(request)
        status, body = await self.hear()
        if status != Status.OK:
            raise Unreachable(f"{self.stream.remote_peer.short}: {reason(status)}")
        return body


class Download:
    """Made for one CID; `run` returns when all of it is stored. Figures may be read meanwhile."""

    def __init__(
        self, cid: Cid, host: Host, environment: Environment, store: BlobStore, find: FindSources
    ) -> None:
        self.cid = cid
        self.failures: dict[PeerId, str] = {}
        """Why a peer is no source any more."""
        self._host = host
        self._environment = environment
        self._store = store
        self._find = find
        self._swarm: Swarm | None = None
        # Chunks that are not on the disk yet: fewer are missing from the swarm than from there.
        self._unstored = 0
        self._changed = trio.Event()
        self._active: set[PeerId] = set()
        self._landed, self._to_store = trio.open_memory_channel[Part](WRITE_BEHIND)

    @property
    def chunks(self) -> tuple[int, int]:
        """(here, all); (0, 0) while the manifest is not known."""
        manifest = self._store.manifest(self.cid)
        total = len(manifest.hashes) if manifest is not None else 0
        return len(self._store.present(self.cid)), total

    @property
    def sources(self) -> dict[PeerId, int]:
        """Good chunks by peer."""
        received = self._swarm.received if self._swarm is not None else {}
        return {peer: count for peer, count in received.items() if isinstance(peer, PeerId)}

    async def run(
        self,
        first: Iterable[PeerId],
        *,
        name: str,
        pinned: bool,
        most_bytes: int,
        deadline: float,
    ) -> None:
        """Fetch everything that is missing, from `first` and whoever else is found.

        Raises Unreachable when nobody has it in time, LimitExceeded when there is no room or it is
        larger than `most_bytes`, DiskError. What arrived stays; the next run goes on from there.
        """
        wanted = list(first)
        encoded = await self._manifest(wanted, deadline)
        size = decode_manifest(encoded, self.cid).size
        if size > most_bytes:
            raise LimitExceeded(f"{self.cid} has {size} bytes, at most {most_bytes} are taken")
        manifest = await self._store.add_manifest(self.cid, encoded, name=name, pinned=pinned)
        present = self._store.present(self.cid)
        swarm = self._swarm = Swarm(manifest, present, self._environment.random)
        self._unstored = swarm.missing
        with self._store.using(self.cid), trio.move_on_at(deadline):
            async with open_tasks() as nursery:
                nursery.start_soon(self._store_all)
                nursery.start_soon(self._recruit, nursery, wanted)
                while self._unstored:
                    await self._change()
                nursery.cancel_scope.cancel()
        if self._unstored:
            raise self._nobody(f"{self._unstored} of {len(manifest.hashes)} chunks are missing")

    # --- the manifest ----------------------------------------------------------------------------

    async def _manifest(self, wanted: list[PeerId], deadline: float) -> bytes:
        """The encoded manifest, checked against the CID."""
        known = await self._store.encoded_manifest(self.cid)
        if known is not None:
            return known
        found: Iterable[PeerId] = ()  # those named come first: looking for others takes its time
        with trio.move_on_at(deadline), self._host.events() as events:
            for turn in itertools.count():
                for peer in self._new(wanted, found):
                    try:
                        return await self._manifest_from(peer)
                    except (RemoteProtocolError, TransportError, LimitExceeded) as exc:
                        self.failures[peer] = str(exc)
                if turn:
                    await _until_somebody_comes(events)
                    self.failures.clear()  # whoever did not have it may have it now
                found = await self._find(self.cid)
        raise self._nobody(f"nobody gave the manifest of {self.cid}")

    async def _manifest_from(self, peer: PeerId) -> bytes:
        deadline = within(REPLY_TIMEOUT_S)
        async with await self._host.open_stream(peer, [PROTOCOL_ID], deadline=deadline) as stream:
            source, size = Source(stream), 0
            parts: list[memoryview] = []
            while size <= MAX_MANIFEST_BYTES:
                part = await source.want(Request("manifest", self.cid, len(parts)))
                parts.append(part)
                size += len(part)
                if len(part) < CHUNK_BYTES:
                    break
        encoded = b"".join(parts)
        decode_manifest(encoded, self.cid)
        return encoded

    # --- the chunks ------------------------------------------------------------------------------

    async def _recruit(self, nursery: trio.Nursery, wanted: list[PeerId]) -> None:
        """Start with whoever is known, and look for more while there are few."""
        found: Iterable[PeerId] = ()
        with self._host.events() as events:
            for turn in itertools.count():
                for peer in self._new(wanted, found):
                    if len(self._active) >= MAX_SOURCES:
                        break
                    self._active.add(peer)
                    nursery.start_soon(self._take_from, peer)
                if turn:
                    await _until_somebody_comes(events)
                found = await self._find(self.cid)
                banned = {peer for peer in self.failures if self._swarm_of().is_banned(peer)}
                self.failures = {peer: self.failures[peer] for peer in banned}

    async def _take_from(self, peer: PeerId) -> None:
        deadline = within(REPLY_TIMEOUT_S)
        try:
            async with await self._host.open_stream(
                peer, [PROTOCOL_ID], deadline=deadline
            ) as stream:
                await self._drain(peer, Source(stream))
        except (RemoteProtocolError, TransportError, LimitExceeded) as exc:
            _LOG.info("source_lost peer=%s reason=%s", peer.short, exc)
            self.failures[peer] = str(exc)
        finally:
            self._active.discard(peer)
            self._swarm_of().leave(peer)
            self._tell()

    async def _drain(self, peer: PeerId, source: Source) -> None:
        """Ask for what it has, several chunks ahead, until there is nothing more to ask it."""
        swarm = self._swarm_of()
        count = len(swarm.manifest.hashes)
        swarm.join(peer, indices_of(await source.want(Request("have", self.cid)), count))
        self._tell()
        asked: deque[int] = deque()
        while not swarm.is_done:
            while len(asked) < PIPELINE and (index := swarm.next_for(peer)) is not None:
                asked.append(index)
                await source.ask(Request("chunk", self.cid, index))
            if asked:
                await self._take(peer, asked.popleft(), await source.hear())
                continue
            with trio.move_on_after(HAVE_AGAIN_S) as waiting:
                await self._change()
            if waiting.cancelled_caught:  # it may be fetching the same blob itself
                body = await source.want(Request("have", self.cid))
                swarm.join(peer, indices_of(body, count))

    async def _take(self, peer: PeerId, index: int, answer: tuple[int, memoryview]) -> None:
        swarm, (status, data) = self._swarm_of(), answer
        if status != Status.OK:
            swarm.failed(peer, index)
        elif swarm.took(peer, index, data):
            await self._landed.send((index, data))
        self._tell()

    async def _store_all(self) -> None:
        """Store what landed, several chunks at a time: going to a thread costs as much as one."""
        while True:
            batch = [await self._to_store.receive()]
            with trio.move_on_after(STORE_DELAY_S):
                while len(batch) < PUT_AT_ONCE:
                    batch.append(await self._to_store.receive())
            await self._store.put(self.cid, batch)
            self._unstored -= len(batch)
            self._tell()

    # --- small things ----------------------------------------------------------------------------

    def _swarm_of(self) -> Swarm:
        assert self._swarm is not None, "the manifest comes first"
        return self._swarm

    def _new(self, wanted: list[PeerId], found: Iterable[PeerId]) -> list[PeerId]:
        candidates = dict.fromkeys([*wanted, *found])
        skip = self._active | set(self.failures) | {self._host.peer_id}
        return [peer for peer in candidates if peer not in skip]

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _change(self) -> None:
        await self._changed.wait()

    def _nobody(self, what: str) -> Unreachable:
        attempts = tuple((peer.short, why) for peer, why in self.failures.items())
        hint = "is a peer that has it running and reachable? `fogp2p peers`"
        return Unreachable(what, attempts=attempts, hint=hint)


async def _until_somebody_comes(events: AsyncIterator[HostEvent | Gap]) -> None:
    """A source that comes back is asked at once; otherwise it is looked again after a while."""
    with trio.move_on_after(LOOK_AGAIN_S):
        async for event in events:
            if isinstance(event, Connected | Gap):
                return
