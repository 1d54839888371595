"""The blobs of a peer: kept, served to others, fetched from others, sent to one of them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from fogp2p.counting import counted
from fogp2p.environment import Environment, deadline_of, within
from fogp2p.errors import FogError, LimitExceeded, StreamReset
from fogp2p.host import Discovery, Host, Stream
from fogp2p.ids import PeerId
from fogp2p.tasks import open_tasks

from .config import (
    CHUNK_BYTES,
    MAX_BLOB_BYTES,
    MAX_OFFERED_BYTES,
    MAX_OFFERS,
    MAX_OFFERS_PER_PEER,
    OFFER_TIMEOUT_S,
    PROGRESS_S,
    REPLY_TIMEOUT_S,
    TRANSFER_TIMEOUT_S,
    BlobConfig,
)
from .download import PROTOCOL_ID, Download, Source
from .errors import UnknownBlob
from .messages import Cid, Request, Status, file_name, reply_frame
from .server import Server
from .store import BlobStore
from .transfers import Measured, Transfer, Transfers

__all__ = ["Blobs", "open_blobs"]

_LOG = logging.getLogger(__name__)


@asynccontextmanager
async def open_blobs(
    host: Host,
    discoveries: Sequence[Discovery],
    environment: Environment,
    folder: Path,
    config: BlobConfig | None = None,
) -> AsyncIterator[Blobs]:
    """Keep and serve blobs below `folder` while the context lasts. Raises DiskError."""
    config = config or BlobConfig()
    store = await BlobStore.open(folder, environment, config.quota_bytes)
    async with open_tasks() as nursery:
        transfers = Transfers(nursery, environment)
        blobs = Blobs(host, discoveries, environment, store, config, transfers)
        host.set_handler(PROTOCOL_ID, blobs.server.handle)
        store.on_gone = blobs.withdraw
        nursery.start_soon(blobs.announce)
        try:
            yield blobs
        finally:
            host.remove_handler(PROTOCOL_ID)
            nursery.cancel_scope.cancel()


class Blobs:
    """Made by `open_blobs`."""

    def __init__(
        self,
        host: Host,
        discoveries: Sequence[Discovery],
        environment: Environment,
        store: BlobStore,
        config: BlobConfig,
        transfers: Transfers,
    ) -> None:
        self.store = store
        self.transfers = transfers
        """What goes on behind a call, and what others send us."""
        self.server = Server(store, self._offered)
        self.on_received: Callable[[PeerId, Cid, str], None] = lambda peer, cid, name: None
        """Called when a file that a peer offered is here as a whole."""
        self._host = host
        self._discoveries = discoveries
        self._environment = environment
        self._config = config
        self._running: dict[Cid, Download] = {}
        self._offers: Counter[PeerId] = Counter()

    @property
    def fetching(self) -> tuple[Cid, ...]:
        """The downloads under way."""
        return tuple(self._running)

    # --- what goes on behind a call --------------------------------------------------------------

    def start_add(self, path: Path, *, key: bytes | None = None) -> Transfer:
        """Put in a file of the owner. Raises LimitExceeded when too much is under way."""

        async def work(transfer: Transfer) -> None:
            transfer.cid = await self.store.add_file(path, key=key, progress=transfer.moved)

        return self.transfers.start("add", work, name=file_name(path.name), key=key)

    def start_fetch(
        self, cid: Cid, sources: Sequence[PeerId] = (), *, pinned: bool = True
    ) -> Transfer:
        """Fetch a blob; gives the transfer that does it already. Raises as `start_add`."""
        for each in self.transfers.running("fetch"):
            if each.cid == cid:
                return each

        async def work(transfer: Transfer) -> None:
            deadline = within(TRANSFER_TIMEOUT_S)
            await self.fetch(
                cid, sources=sources, pinned=pinned, deadline=deadline, transfer=transfer
            )

        return self.transfers.start("fetch", work, cid=cid, name=self._name_of(cid))

    def start_send(self, peer: PeerId, cid: Cid, *, name: str = "") -> Transfer:
        """Send a blob that is here as a whole. Raises UnknownBlob, or as `start_add`."""
        kept = self.store.find(cid)
        if kept is None or not kept.is_whole:
            raise UnknownBlob(f"{cid} is not here as a whole", hint=f"fogp2p get {cid}")
        name = file_name(name or kept.name or str(cid))

        async def work(transfer: Transfer) -> None:
            def moved(chunks: int) -> None:
                transfer.moved(min(kept.size, chunks * CHUNK_BYTES), kept.size)

            deadline = within(OFFER_TIMEOUT_S)
            await self.send(peer, cid, name=name, deadline=deadline, progress=moved)

        return self.transfers.start("send", work, cid=cid, name=name, peer=peer)

    def _name_of(self, cid: Cid) -> str:
        kept = self.store.find(cid)
        return kept.name if kept is not None else ""

    # --- the means -------------------------------------------------------------------------------

    async def fetch(
        self,
        cid: Cid,
        *,
        sources: Iterable[PeerId] = (),
        name: str = "",
        pinned: bool = True,
        most_bytes: int = MAX_BLOB_BYTES,
        deadline: float,
        transfer: Transfer | None = None,
    ) -> dict[PeerId, int]:
        """Fetch a blob; good chunks by source. Raises as `Download.run`, or LimitExceeded when
        the same blob is being fetched already."""
        if cid in self._running:
            raise LimitExceeded(f"{cid} is being fetched already", hint="fogp2p blobs")
        download = Download(cid, self._host, self._environment, self.store, self._sources)
        self._running[cid] = download
        if transfer is not None:
            transfer.begin(lambda: self._measured(cid, download), trio.current_time())
        try:
            # Whoever is connected is asked at once; looking for others takes its time.
            first = dict.fromkeys([*sources, *self._host.peers()])
            await download.run(
                first, name=name, pinned=pinned, most_bytes=most_bytes, deadline=deadline
            )
        finally:
            del self._running[cid]
        return download.sources

    def _measured(self, cid: Cid, download: Download) -> Measured:
        manifest = self.store.manifest(cid)
        here, total = download.chunks
        size = manifest.size if manifest is not None else 0
        # Which chunk is the short one matters at the end only.
        done = size if here == total else min(size, here * CHUNK_BYTES)
        return Measured(done, size, download.sources)

    async def share(self, cid: Cid, *, deadline: float) -> int:
        """Announce from now on that we have it; how many peers of the DHT know now.

        Raises UnknownBlob, or as `Discovery.provide`.
        """
        await self.store.set_shared(cid, True)
        return await self._provide(cid, deadline)

    async def _provide(self, cid: Cid, deadline: float) -> int:
        return sum([await each.provide(cid.raw, deadline=deadline) for each in self._discoveries])

    async def announce(self) -> None:
        """Announce again what was shared before this start."""
        for kept in self.store.blobs():
            if kept.shared:
                try:
                    await self._provide(kept.cid, within(REPLY_TIMEOUT_S))
                except FogError as exc:
                    _LOG.warning("announce_failed cid=%s reason=%s", kept.cid, exc)

    def withdraw(self, cid: Cid) -> None:
        """Announce a blob no longer: it is gone."""
        for each in self._discoveries:
            each.withdraw(cid.raw)

    async def send(
        self,
        peer: PeerId,
        cid: Cid,
        *,
        name: str,
        deadline: float,
        progress: Callable[[int], None] = lambda chunks: None,
    ) -> None:
        """Offer a blob that is here and return when `peer` says that it has all of it, checked.

        Raises Unreachable when it does not want it, StreamReset or DeadlineExceeded otherwise.
        """
        manifest = self.store.manifest(cid)
        total = len(manifest.hashes) if manifest is not None else 0
        async with await self._host.open_stream(peer, [PROTOCOL_ID], deadline=deadline) as stream:
            source = Source(stream)
            with deadline_of(deadline, f"sending to {peer.short}"), self.store.using(cid):
                await source.want(Request("offer", cid, name=name))
                while True:
                    status, body = await source.hear()
                    if status != Status.OK or len(body) != 4:
                        raise StreamReset("the peer gave up fetching it")
                    here = int.from_bytes(body)
                    progress(here)
                    if here >= total:
                        return

    async def _sources(self, cid: Cid) -> Iterable[PeerId]:
        """Whoever is connected, and whoever announced it."""
        found = dict.fromkeys(self._host.peers())
        for each in self._discoveries:
            for sighting in await each.find_providers(cid.raw, deadline=within(REPLY_TIMEOUT_S)):
                self._host.add_addresses(sighting.peer, sighting.addresses)
                found.setdefault(sighting.peer)
        return found

    # --- files that others send us ---------------------------------------------------------------

    async def _offered(self, stream: Stream, request: Request) -> None:
        cid, peer = request.cid, stream.remote_peer
        if not self._config.accept_offers:
            await self._say(stream, reply_frame(Status.REFUSED))
            return
        if self._offers[peer] >= MAX_OFFERS_PER_PEER or self._offers.total() >= MAX_OFFERS:
            await self._say(stream, reply_frame(Status.BUSY))
            return
        with counted(self._offers, peer):
            await self._say(stream, reply_frame(Status.OK))
            await self._fetch_offered(stream, peer, cid, file_name(request.name))

    async def _fetch_offered(self, stream: Stream, peer: PeerId, cid: Cid, name: str) -> None:
        failure: FogError | None = None
        async with open_tasks() as nursery:
            nursery.start_soon(self._report, stream, cid)
            nursery.start_soon(_until_gone, stream)
            try:
                await self._take(peer, cid, name)
            except FogError as exc:
                failure = exc
            nursery.cancel_scope.cancel()
        if failure is not None:
            _LOG.info("offer_failed peer=%s reason=%s", peer.short, failure)
            await self._say(stream, reply_frame(Status.REFUSED))
            return
        await self._say(stream, self._count(cid))
        _LOG.info("file_received peer=%s", peer.short)
        self.on_received(peer, cid, name)

    async def _take(self, peer: PeerId, cid: Cid, name: str) -> None:
        kept = self.store.find(cid)
        if kept is not None and kept.is_whole:
            return

        async def work(transfer: Transfer) -> None:
            # Nobody here asked for it: it is not pinned, and makes room when something needs it.
            await self.fetch(
                cid,
                sources=[peer],
                name=name,
                pinned=False,
                most_bytes=MAX_OFFERED_BYTES,
                deadline=within(OFFER_TIMEOUT_S),
                transfer=transfer,
            )

        await self.transfers.run("receive", work, cid=cid, name=name, peer=peer)

    async def _report(self, stream: Stream, cid: Cid) -> None:
        while True:
            await trio.sleep(PROGRESS_S)
            kept = self.store.find(cid)
            if kept is None or not kept.is_whole:
                # Half a frame would spoil what follows it.
                with trio.CancelScope(shield=True):
                    await self._say(stream, self._count(cid))

    def _count(self, cid: Cid) -> bytes:
        return reply_frame(Status.OK, len(self.store.present(cid)).to_bytes(4))

    async def _say(self, stream: Stream, frame: bytes) -> None:
        with deadline_of(within(REPLY_TIMEOUT_S), "answering an offer"):
            await stream.write_all(frame)


async def _until_gone(stream: Stream) -> None:
    """Raise StreamReset when the sender is gone: nobody waits for the file any more."""
    while await stream.read_some():
        pass  # it has nothing to say; what it says is not kept
