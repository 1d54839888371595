"""Asks and answers: the Kad-DHT as a Discovery on any host."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass

import trio

from fogp2p.addresses import Multiaddr, Scope, believable, scope_of
from fogp2p.environment import Environment, deadline_of, within
from fogp2p.errors import (
    FogError,
    LimitExceeded,
    RemoteProtocolError,
    StreamReset,
)
from fogp2p.events import EventHub, Gap
from fogp2p.framing import FrameDecoder, encode_frame, read_frame
from fogp2p.host import Connected, Disconnected, Discovery, Host, Sighting, Stream
from fogp2p.ids import PeerId
from fogp2p.tasks import open_tasks

from .config import (
    IDLE_S,
    LOOK_S,
    MAX_MESSAGE_BYTES,
    MAX_OWN_KEYS,
    MAX_REQUEST_BYTES,
    PROVIDE_RETRY_S,
    REQUEST_BURST,
    REQUEST_TIMEOUT_S,
    REQUESTS_PER_S,
    SETTLE_S,
    SIGHTING_TTL_S,
    KadConfig,
)
from .lookup import Lookup
from .messages import Kind, PeerRecord, Request, Response, key_of, multihash_of
from .providers import ProviderStore
from .table import RoutingTable

__all__ = ["Kad", "open_kad"]

_LOG = logging.getLogger(__name__)


@asynccontextmanager
async def open_kad(
    host: Host, environment: Environment, config: KadConfig | None = None
) -> AsyncIterator[Kad]:
    """Take part in the DHT while the context lasts."""
    async with open_tasks() as nursery:
        kad = Kad(host, environment, config if config is not None else KadConfig(), nursery)
        if kad.config.serve:
            host.set_handler(kad.config.protocol, kad.serve)
        await nursery.start(kad.watch)
        nursery.start_soon(kad.refresh)
        nursery.start_soon(kad.reprovide)
        try:
            yield kad
        finally:
            if kad.config.serve:
                host.remove_handler(kad.config.protocol)
            nursery.cancel_scope.cancel()


@dataclass(slots=True)
class _Announced:
    """When to announce a key of ours again."""

    again_at: float
    wait_s: float = PROVIDE_RETRY_S

    def note(self, held: int, now: float, reprovide_s: float) -> None:
        """`held` peers took it."""
        self.again_at = now + (reprovide_s if held else min(self.wait_s, reprovide_s))
        self.wait_s = PROVIDE_RETRY_S if held else 2 * self.wait_s


class Kad(Discovery):
    """Made by `open_kad`."""

    def __init__(
        self, host: Host, environment: Environment, config: KadConfig, nursery: trio.Nursery
    ) -> None:
        self.config = config
        self.providers = ProviderStore()
        self.table = RoutingTable(host.peer_id, k=config.k, stale_after_s=2 * config.refresh_s)
        self._host = host
        self._environment = environment
        self._nursery = nursery
        self._hub: EventHub[Sighting] = EventHub()
        self._wake = trio.Event()
        self._own_keys: dict[bytes, _Announced] = {}
        self._budgets: dict[PeerId, tuple[float, float]] = {}

    # --- discovery -------------------------------------------------------------------------------

    @property
    def source(self) -> str:
        return "dht"

    def problem(self) -> str:
        return "" if len(self.table) else "no connected peer takes part in the DHT"

    def sightings(self) -> AbstractContextManager[AsyncIterator[Sighting | Gap]]:
        return self._hub.listen(
            self._sighting(PeerRecord(peer, self._host.known_addresses(peer)))
            for peer in self.table
        )

    async def find_peer(self, peer: PeerId, *, deadline: float) -> tuple[Multiaddr, ...]:
        found: list[Multiaddr] = []

        def look(response: Response) -> bool:
            for record in response.closer:
                if record.peer == peer:
                    found.extend(a for a in record.addresses if a not in found)
            return bool(found)

        await self._lookup(Request(Kind.FIND_NODE, peer.raw), deadline, look)
        return tuple(found)

    async def provide(self, key: bytes, *, deadline: float) -> int:
        """Raises LocalProtocolError("kad-key"), or LimitExceeded for too many keys of our own."""
        name = multihash_of(key)
        if name not in self._own_keys and len(self._own_keys) >= MAX_OWN_KEYS:
            raise LimitExceeded(f"at most {MAX_OWN_KEYS} keys are announced")
        self._own_keys.setdefault(name, _Announced(within(PROVIDE_RETRY_S)))
        return await self._announce_own(name, deadline)

    async def _announce_own(self, name: bytes, deadline: float) -> int:
        held = await self._announce(name, deadline)
        announced = self._own_keys.get(name)
        if announced is not None:
            announced.note(held, trio.current_time(), self.config.reprovide_s)
        return held

    async def find_providers(self, key: bytes, *, deadline: float) -> tuple[Sighting, ...]:
        """Raises LocalProtocolError("kad-key")."""
        name = multihash_of(key)
        found: dict[PeerId, PeerRecord] = {
            peer: PeerRecord(peer, self._host.known_addresses(peer))
            for peer in self.providers.get(name, trio.current_time())
        }

        def look(response: Response) -> bool:
            for record in response.providers:
                found.setdefault(record.peer, record)
            return len(found) >= self.config.k

        if len(found) < self.config.k:
            await self._lookup(Request(Kind.GET_PROVIDERS, name), deadline, look)
        found.pop(self._host.peer_id, None)
        return tuple(self._sighting(record) for record in found.values())

    def withdraw(self, key: bytes) -> None:
        """Announce `key` no longer; what was announced expires with others."""
        self._own_keys.pop(multihash_of(key), None)

    # --- asking ----------------------------------------------------------------------------------

    async def _lookup(
        self, request: Request, deadline: float, enough: Callable[[Response], bool]
    ) -> list[PeerId]:
        """Ask nearer and nearer peers until `enough` says so, nobody is left, or time is up."""
        target = key_of(request.key)
        lookup = Lookup(
            target,
            self.table.closest(target, self.config.k),
            own=self._host.peer_id,
            k=self.config.k,
            alpha=self.config.alpha,
        )
        news, answers = trio.open_memory_channel[tuple[PeerId, Response | None]](self.config.alpha)
        with trio.move_on_at(deadline):
            async with trio.open_nursery() as nursery:
                while True:
                    for peer in lookup.next_queries():
                        nursery.start_soon(self._ask_for_lookup, peer, request, deadline, news)
                    if lookup.is_finished:
                        break
                    peer, response = await answers.receive()
                    if response is None:
                        lookup.failed(peer)
                        continue
                    lookup.answered(peer, [record.peer for record in response.closer])
                    if enough(response):
                        break
                nursery.cancel_scope.cancel()
        return lookup.closest()

    async def _ask_for_lookup(
        self,
        peer: PeerId,
        request: Request,
        deadline: float,
        news: trio.MemorySendChannel[tuple[PeerId, Response | None]],
    ) -> None:
        try:
            patience = min(deadline, within(REQUEST_TIMEOUT_S))
            response = await self.ask(peer, request, deadline=patience)
        except FogError as exc:
            _LOG.debug("dht_query_failed peer=%s reason=%s", peer.short, exc)
            self.table.remove(peer)
            await news.send((peer, None))
            return
        await news.send((peer, response))

    async def ask(self, peer: PeerId, request: Request, *, deadline: float) -> Response:
        """One request to one peer. Raises as `Host.open_stream`, and RemoteProtocolError."""
        return (await self._exchange(peer, [request], deadline))[0]

    async def _exchange(
        self, peer: PeerId, requests: Sequence[Request], deadline: float
    ) -> list[Response]:
        """Requests on one stream, and a response to each that has one."""
        responses = []
        stream = await self._host.open_stream(peer, [self.config.protocol], deadline=deadline)
        async with stream:
            with deadline_of(deadline, f"asking {peer.short}"):
                decoder = FrameDecoder(max_bytes=MAX_MESSAGE_BYTES)
                for request in requests:
                    await stream.write_all(encode_frame(request.to_bytes()))
                    if request.kind is Kind.ADD_PROVIDER:
                        continue
                    frame = await read_frame(stream, decoder)
                    if frame is None:
                        raise StreamReset("the peer ended the stream instead of answering")
                    response = Response.from_bytes(frame, request.kind)
                    responses.append(self._believe(peer, response))
        connection = self._host.connection_to(peer)
        address = connection.address if connection is not None else None
        self.table.add(peer, address, trio.current_time())
        return responses

    def _believe(self, peer: PeerId, response: Response) -> Response:
        """Keep addresses that `peer` may name, and remember them for dialling."""
        scope = self._scope(peer)

        def kept(records: Sequence[PeerRecord]) -> tuple[PeerRecord, ...]:
            found = []
            for record in records:
                addresses = believable(record.addresses, source=scope)
                if addresses and record.peer != self._host.peer_id:
                    self._host.add_addresses(record.peer, addresses)
                found.append(PeerRecord(record.peer, addresses))
            return tuple(found)

        return Response(response.kind, kept(response.closer), kept(response.providers))

    def _scope(self, peer: PeerId) -> Scope:
        """How far away `peer` is; as far as can be when it is gone already."""
        connection = self._host.connection_to(peer)
        scope = scope_of(connection.address) if connection is not None else None
        return scope if scope is not None else Scope.PUBLIC

    async def _announce(self, name: bytes, deadline: float) -> int:
        """Tell the nearest peers; count those that name us as a provider afterwards."""
        nearest = await self._lookup(Request(Kind.FIND_NODE, name), deadline, lambda _: False)
        own = self._host.peer_id
        requests = [
            Request(Kind.ADD_PROVIDER, name, (PeerRecord(own, self._host.addresses),)),
            Request(Kind.GET_PROVIDERS, name),
        ]
        held = 0

        async def tell(peer: PeerId) -> None:
            nonlocal held
            try:
                (response,) = await self._exchange(
                    peer, requests, min(deadline, within(REQUEST_TIMEOUT_S))
                )
            except FogError as exc:
                _LOG.debug("dht_announce_failed peer=%s reason=%s", peer.short, exc)
                return
            held += any(record.peer == own for record in response.providers)

        async with trio.open_nursery() as nursery:
            for peer in nearest:
                nursery.start_soon(tell, peer)
        return held

    def _sighting(self, record: PeerRecord) -> Sighting:
        expires_at = trio.current_time() + SIGHTING_TTL_S
        return Sighting(record.peer, record.addresses, self.source, expires_at)

    # --- answering -------------------------------------------------------------------------------

    async def serve(self, stream: Stream) -> None:
        """Answer the requests of one stream."""
        decoder = FrameDecoder(max_bytes=MAX_REQUEST_BYTES)
        while True:
            with deadline_of(within(IDLE_S), "waiting for a request"):
                frame = await read_frame(stream, decoder)
            if frame is None:
                return
            self._spend(stream.remote_peer)
            request = Request.from_bytes(frame)
            response = self._answer(stream.remote_peer, request)
            if response is not None:
                with deadline_of(within(REQUEST_TIMEOUT_S), "sending a response"):
                    await stream.write_all(encode_frame(response.to_bytes(request.key)))

    def _answer(self, asker: PeerId, request: Request) -> Response | None:
        match request.kind:
            case Kind.PING:
                return Response(Kind.PING)
            case Kind.ADD_PROVIDER:
                self._take_provider(asker, request)
                return None
            case Kind.GET_PROVIDERS:
                names = self.providers.get(request.key, trio.current_time())[: self.config.k]
                if request.key in self._own_keys:
                    names = [self._host.peer_id, *names][: self.config.k]
                return Response(
                    request.kind,
                    self._closer(asker, request.key),
                    self._records(names, self._scope(asker)),
                )
            case Kind.FIND_NODE | Kind.GET_VALUE:
                return Response(request.kind, self._closer(asker, request.key))
            case Kind.PUT_VALUE:
                raise RemoteProtocolError("values are not kept in this DHT", code="kad-value")

    def _take_provider(self, asker: PeerId, request: Request) -> None:
        """Only what a peer says of itself counts (libp2p/specs kad-dht, ADD_PROVIDER)."""
        for record in request.providers:
            if record.peer == asker:
                addresses = believable(record.addresses, source=self._scope(asker))
                self._host.add_addresses(asker, addresses)
                self.providers.add(request.key, asker, trio.current_time())
                return

    def _closer(self, asker: PeerId, name: bytes) -> tuple[PeerRecord, ...]:
        nearest = self.table.closest(key_of(name), self.config.k + 1)
        wanted = next((p for p in self._host.peers() if p.raw == name), None)
        if wanted is not None:
            # Somebody is looked for who is connected to us, whether or not it serves the DHT.
            nearest = [wanted, *(peer for peer in nearest if peer != wanted)]
        others = [peer for peer in nearest if peer != asker][: self.config.k]
        return self._records(others, self._scope(asker))

    def _records(self, peers: Sequence[PeerId], scope: Scope) -> tuple[PeerRecord, ...]:
        """Their addresses as far as they are of use, and any business, of somebody at `scope`."""
        found = []
        for peer in peers:
            own = peer == self._host.peer_id
            known = self._host.addresses if own else self._host.known_addresses(peer)
            found.append(PeerRecord(peer, believable(known, source=scope)))
        return tuple(found)

    def _spend(self, peer: PeerId) -> None:
        now = trio.current_time()
        left, at = self._budgets.get(peer, (REQUEST_BURST, now))
        left = min(REQUEST_BURST, left + (now - at) * REQUESTS_PER_S)
        if left < 1:
            raise LimitExceeded(f"more than {REQUESTS_PER_S:.0f} DHT requests a second")
        self._budgets[peer] = (left - 1, now)

    # --- keeping up ------------------------------------------------------------------------------

    async def watch(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Learn who of the connected peers serves the DHT: by asking, not by what it claims."""
        with self._host.events() as events:
            self._probe_strangers()
            task_status.started()
            async for event in events:
                match event:
                    case Connected(connection=connection):
                        self._nursery.start_soon(self._probe, connection.peer)
                    case Disconnected(connection=connection):
                        self._budgets.pop(connection.peer, None)
                    case Gap():
                        connected = set(self._host.peers())
                        for peer in self._budgets.keys() - connected:
                            del self._budgets[peer]
                        self._probe_strangers()
                    case _:
                        pass

    def _probe_strangers(self) -> None:
        for peer in self._host.peers():
            if peer not in self.table:
                self._nursery.start_soon(self._probe, peer)

    async def _probe(self, peer: PeerId) -> None:
        try:
            await self.ask(peer, Request(Kind.PING), deadline=within(REQUEST_TIMEOUT_S))
        except FogError as exc:
            _LOG.debug("dht_absent peer=%s reason=%s", peer.short, exc)
            return
        if peer in self.table:
            self._hub.publish(self._sighting(PeerRecord(peer, self._host.known_addresses(peer))))
            self._wake.set()

    async def refresh(self) -> None:
        """Look for our own neighbourhood and at random, soon after news and now and then."""
        looked_at = -LOOK_S
        while True:
            with trio.move_on_after(self.config.refresh_s):
                await self._wake.wait()
                await trio.sleep_until(max(trio.current_time() + SETTLE_S, looked_at + LOOK_S))
            self._wake = trio.Event()
            looked_at = trio.current_time()
            self.providers.expire(looked_at)
            self._probe_strangers()
            if len(self.table):
                await self._look_around()

    async def _look_around(self) -> None:
        def news(response: Response) -> bool:
            for record in response.closer:
                if record.addresses and record.peer not in self.table:
                    self._hub.publish(self._sighting(record))
            return False

        targets = [self._host.peer_id.raw]
        # Our own neighbourhood fills the near buckets; a few random names fill the far ones.
        far = min(3, self.table.depth())
        targets += [self._environment.random.randbytes(32) for _ in range(far)]
        for target in targets:
            deadline = within(2 * REQUEST_TIMEOUT_S)
            await self._lookup(Request(Kind.FIND_NODE, target), deadline, news)

    async def reprovide(self) -> None:
        """Announce our keys again before others forget them, and soon those that nobody took."""
        while True:
            await trio.sleep(PROVIDE_RETRY_S)
            now = trio.current_time()
            for name in [each for each, told in self._own_keys.items() if told.again_at <= now]:
                held = await self._announce_own(name, within(6 * REQUEST_TIMEOUT_S))
                _LOG.debug("dht_reprovided held_by=%d", held)
