"""Moves RPCs between streams and the router, and messages between the router and subscribers."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import trio

from fogp2p.addresses import Scope, scope_of
from fogp2p.environment import Environment, within
from fogp2p.errors import FogError, LimitExceeded, LocalProtocolError, RemoteProtocolError
from fogp2p.events import Gap
from fogp2p.framing import FrameDecoder, read_frame
from fogp2p.host import (
    Connected,
    ConnectionInfo,
    Direction,
    Disconnected,
    Host,
    Message,
    PubSub,
    Stream,
    Subscription,
    Validator,
    Verdict,
)
from fogp2p.identity import Identity, verify
from fogp2p.ids import PeerId
from fogp2p.tasks import open_tasks

from .config import (
    FRAMES_AT_ONCE,
    MAX_DATA_BYTES,
    MAX_RPC_BYTES,
    MAX_STREAMS_PER_MINUTE,
    MAX_TOPIC_BYTES,
    PROTOCOLS,
    STREAM_TIMEOUT_S,
    V12,
    VALIDATOR_SHARE,
    VALIDATOR_SLOW_S,
    GossipConfig,
)
from .machine import Router
from .messages import Envelope, Rpc, is_forged, is_verifiable
from .numbers import first_number
from .outbox import Outbox
from .stats import GossipStats
from .subscriber import Subscriber

__all__ = ["Gossip", "open_gossip"]

_LOG = logging.getLogger(__name__)
_MINUTE_S = 60.0


@asynccontextmanager
async def open_gossip(
    host: Host,
    identity: Identity,
    environment: Environment,
    config: GossipConfig | None = None,
    *,
    numbers: Path | None = None,
) -> AsyncIterator[Gossip]:
    """Spread messages by gossipsub 1.2 while the context lasts.

    `numbers`: the file that makes our numbers rise over restarts whatever the clock does.
    """
    number = await first_number(numbers, environment)
    async with open_tasks() as nursery:
        settings = config if config is not None else GossipConfig()
        gossip = Gossip(host, identity, environment, settings, nursery, number)
        for protocol in PROTOCOLS:
            host.set_handler(protocol, gossip.serve)
        await nursery.start(gossip.watch)
        nursery.start_soon(gossip.beat)
        try:
            yield gossip
        finally:
            for protocol in PROTOCOLS:
                host.remove_handler(protocol)
            nursery.cancel_scope.cancel()


class Gossip(PubSub):
    """Made by `open_gossip`."""

    def __init__(
        self,
        host: Host,
        identity: Identity,
        environment: Environment,
        config: GossipConfig,
        nursery: trio.Nursery,
        number: int,
    ) -> None:
        wall_s = environment.clock.wall() - trio.current_time()
        self.router = Router(host.peer_id, config, environment.random, wall_s)
        self._host = host
        self._identity = identity
        self._config = config
        self._nursery = nursery
        self._subscribers: dict[str, list[Subscriber]] = {}
        self._validators: dict[str, Validator] = {}
        self._outboxes: dict[int, tuple[PeerId, Outbox, trio.CancelScope]] = {}
        self._boxes: dict[PeerId, tuple[Outbox, trio.CancelScope]] = {}
        self._inbound: dict[PeerId, list[float]] = {}
        self._met = trio.lowlevel.ParkingLot()
        self._clock = environment.clock
        self._spent: dict[str, float] = {}  # by validators since the last heartbeat
        self._number = number

    # --- publishing and subscribing --------------------------------------------------------------

    async def publish(self, topic: str, data: bytes) -> None:
        """Raises LocalProtocolError for a topic of more than 256 bytes or data of more than 64 KiB,
        and LimitExceeded while the queues of all peers of the topic are full."""
        if not 1 <= len(topic.encode()) <= MAX_TOPIC_BYTES or len(data) > MAX_DATA_BYTES:
            raise LocalProtocolError(
                "a topic has 1-256 bytes, a message at most 64 KiB", code="gossip-message"
            )
        subscribed = set(self.router.peers_of(topic))
        boxes = [box for peer, (box, _) in self._boxes.items() if peer in subscribed]
        if boxes and all(box.is_full for box in boxes):
            self.router.tally.drop("overload")
            raise LimitExceeded(f"{topic} is published faster than anybody reads it")
        self.router.tally.count("published")
        self._number += 1
        bare = Envelope(self._host.peer_id, self._number, topic, data)
        signature = self._identity.sign(bare.preimage())
        envelope = Envelope(bare.author, bare.number, topic, data, signature)
        self.router.publish(envelope, trio.current_time())
        self._flush()
        self._deliver(envelope, self._host.peer_id)
        await trio.lowlevel.checkpoint()

    def subscribe(self, topic: str) -> AbstractContextManager[Subscription]:
        """What we publish ourselves comes, too. Raises LimitExceeded for more than 100 topics."""
        return self._subscribed(topic)

    @contextmanager
    def _subscribed(self, topic: str) -> Iterator[Subscription]:
        self.router.subscribe(topic, trio.current_time())
        self._flush()
        subscriber = Subscriber()
        self._subscribers.setdefault(topic, []).append(subscriber)
        try:
            yield subscriber
        finally:
            others = self._subscribers[topic]
            others.remove(subscriber)
            if not others:
                del self._subscribers[topic]
                self.router.unsubscribe(topic, trio.current_time())
                self._flush()

    def set_validator(self, topic: str, validator: Validator | None) -> None:
        if validator is None:
            self._validators.pop(topic, None)
        else:
            self._validators[topic] = validator

    def stats(self) -> GossipStats:
        """What was done since the start and what is held now."""
        router, counts = self.router, self.router.tally.counts
        return GossipStats(
            published=counts["published"],
            received=counts["received"],
            duplicates=counts["duplicates"],
            verified=counts["verified"],
            delivered=counts["delivered"],
            sent=counts["sent"],
            asked=counts["asked"],
            replaced=counts["replaced"],
            idontwant_sent=counts["idontwant_sent"],
            idontwant_received=counts["idontwant_received"],
            slow_validations=counts["slow_validations"],
            drops=router.tally.labelled(),
            peers=router.peer_count,
            mesh={topic: len(members) for topic, members in sorted(router.mesh.items())},
            seen=len(router.seen),
            cached=len(router.cache),
            queued=sum(len(outbox) for _, outbox, _ in self._outboxes.values()),
        )

    # --- receiving -------------------------------------------------------------------------------

    async def serve(self, stream: Stream) -> None:
        """Read the RPCs of one peer; they are answered on a stream of our own."""
        peer = stream.remote_peer
        self._count_stream(peer)
        await self._until_met(peer)
        decoder = FrameDecoder(max_bytes=MAX_RPC_BYTES)
        taken = 0
        while (frame := await read_frame(stream, decoder)) is not None:
            if self.router.is_muted(peer, trio.current_time()):
                self.router.tally.drop("muted")
            else:
                self._take(peer, frame)
            taken += 1
            if taken % FRAMES_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()

    async def _until_met(self, peer: PeerId) -> None:
        """Its stream may be here before ours is there; what it says first must not be lost."""
        with trio.move_on_after(STREAM_TIMEOUT_S):
            while peer not in self._boxes:
                await self._met.park()

    def _count_stream(self, peer: PeerId) -> None:
        now = trio.current_time()
        recent = [at for at in self._inbound.get(peer, ()) if at > now - _MINUTE_S]
        if len(recent) >= MAX_STREAMS_PER_MINUTE:
            raise LimitExceeded("more gossip streams than one peer needs")
        self._inbound[peer] = [*recent, now]

    def _take(self, peer: PeerId, frame: bytes) -> None:
        rpc = Rpc.from_bytes(frame, self.router.seen.__contains__)
        self.router.tally.count("received", len(rpc.publish) + len(rpc.known))
        for envelope in self.router.receive(peer, rpc, trio.current_time()):
            self._judge(envelope, peer)
        self._flush()

    def _judge(self, envelope: Envelope, relay: PeerId) -> None:
        now = trio.current_time()
        if envelope.id in self.router.seen or self.router.is_muted(relay, now):
            return
        if not is_verifiable(envelope.author):
            self.router.tally.drop("unverifiable")
            return
        self.router.tally.count("verified")
        genuine = not is_forged(envelope) and verify(
            envelope.author, envelope.preimage(), envelope.signature
        )
        if not genuine:
            self.router.tally.drop("forged")
            self.router.reject(envelope, relay, now, forged=True)
        elif not self.router.rates.of_topic(envelope.topic, now):
            self.router.tally.drop("topic-rate")
            self.router.ignore(envelope, now)
        else:
            self._validate(envelope, relay, now)

    def _validate(self, envelope: Envelope, relay: PeerId, now: float) -> None:
        match self._verdict(envelope, relay):
            case Verdict.ACCEPT:
                if self.router.accept(envelope, relay, now):
                    self.router.tally.count("delivered")
                    self._deliver(envelope, relay)
            case Verdict.REJECT:
                self.router.tally.drop("rejected")
                self.router.reject(envelope, relay, now, forged=False)
            case Verdict.IGNORE:
                self.router.tally.drop("ignored")
                self.router.ignore(envelope, now)
            case None:
                self.router.ignore(envelope, now)

    def _verdict(self, envelope: Envelope, relay: PeerId) -> Verdict | None:
        """What the topic's validator says; None when it failed or has used up its time."""
        validator = self._validators.get(envelope.topic)
        if validator is None:
            return Verdict.ACCEPT
        spent = self._spent.get(envelope.topic, 0.0)
        if spent > VALIDATOR_SHARE * self._config.heartbeat_s:
            self.router.tally.drop("validator-slow")
            return None
        start = self._clock.monotonic()
        try:
            return validator(_message(envelope, relay))
        except RemoteProtocolError:
            return Verdict.REJECT  # it could not be read: as if the validator had said so
        except FogError as exc:
            _LOG.warning("gossip_validator_failed topic=%s reason=%s", envelope.topic, exc)
            self.router.tally.drop("validator-error")
            return None
        finally:
            took = self._clock.monotonic() - start
            self._spent[envelope.topic] = spent + took
            self.router.tally.count("slow_validations", took >= VALIDATOR_SLOW_S)

    def _deliver(self, envelope: Envelope, relay: PeerId) -> None:
        subscribers = self._subscribers.get(envelope.topic, ())
        message = _message(envelope, relay)
        for subscriber in subscribers:
            self.router.tally.drop("subscriber", subscriber.put(message))

    # --- sending ---------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Hand what the router wants sent to the peers' queues."""
        if not self.router.outgoing:
            return
        now, encoded = trio.current_time(), dict[int, tuple[bytes, bool, bytes | None]]()
        for peer, rpc in self.router.outgoing:
            found = self._boxes.get(peer)
            if found is None:
                continue
            if id(rpc) not in encoded:  # one RPC goes to many
                name = rpc.publish[0].id if rpc.publish else None
                encoded[id(rpc)] = (rpc.to_bytes(), rpc.is_control, name)
            body, is_control, name = encoded[id(rpc)]
            outbox, scope = found
            if not outbox.put(body, is_control=is_control, name=name, now=now):
                _LOG.info("gossip_peer_stuck peer=%s", peer.short)
                scope.cancel()
        self.router.outgoing.clear()

    async def _talk(self, connection: ConnectionInfo) -> None:
        """Our stream towards one peer, for as long as the connection lasts and it reads."""
        peer = connection.peer
        outbox = Outbox(self.router.tally, partial(self.router.has, peer))
        try:
            deadline = within(STREAM_TIMEOUT_S)
            stream = await self._host.open_stream(peer, PROTOCOLS, deadline=deadline)
        except FogError as exc:
            _LOG.debug("gossip_absent peer=%s reason=%s", peer.short, exc)
            return
        if peer in self._boxes:
            stream.reset()
            return
        with trio.CancelScope() as scope:
            self._outboxes[connection.number] = (peer, outbox, scope)
            self._boxes[peer] = (outbox, scope)
            self.router.came(
                peer,
                is_outbound=connection.direction is Direction.OUTBOUND,
                address=_public_address(connection),
                now=trio.current_time(),
                speaks_idontwant=stream.protocol == V12,
            )
            self._met.unpark_all()
            self._flush()
            try:
                async with stream:
                    while True:
                        frame = await outbox.get()
                        scope.deadline = within(STREAM_TIMEOUT_S)
                        await stream.write_all(frame)
                        scope.deadline = math.inf
            except FogError as exc:
                _LOG.debug("gossip_ended peer=%s reason=%s", peer.short, exc)
            finally:
                del self._outboxes[connection.number], self._boxes[peer]
                self.router.went(peer, trio.current_time())

    # --- keeping up ------------------------------------------------------------------------------

    async def watch(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Talk to every peer that is connected and speaks gossipsub."""
        with self._host.events() as events:
            self._meet_all()
            task_status.started()
            async for event in events:
                match event:
                    case Connected(connection=connection):
                        self._nursery.start_soon(self._talk, connection)
                    case Disconnected(connection=connection):
                        self._part(connection)
                    case Gap():
                        present = {each.number for each in self._host.connections()}
                        for number in self._outboxes.keys() - present:
                            self._outboxes[number][2].cancel()
                        self._meet_all()
                    case _:
                        pass

    def _meet_all(self) -> None:
        for connection in self._host.connections():
            if connection.number not in self._outboxes:
                self._nursery.start_soon(self._talk, connection)

    def _part(self, connection: ConnectionInfo) -> None:
        found = self._outboxes.get(connection.number)
        if found is not None:
            found[2].cancel()
        if self._host.connection_to(connection.peer) is None:
            self._inbound.pop(connection.peer, None)

    async def beat(self) -> None:
        """The heartbeat."""
        while True:
            await trio.sleep(self._config.heartbeat_s)
            self._spent.clear()
            self.router.heartbeat(trio.current_time())
            self._flush()


def _message(envelope: Envelope, relay: PeerId) -> Message:
    return Message(envelope.topic, envelope.data, envelope.author, relay, envelope.number)


def _public_address(connection: ConnectionInfo) -> str:
    """The public IP address of a peer; peers on one LAN or machine share theirs by right."""
    if scope_of(connection.address) is not Scope.PUBLIC:
        return ""
    for protocol, value in connection.address.items():
        if protocol.name in ("ip4", "ip6"):
            return str(value)
    return ""
