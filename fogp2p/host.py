"""Interfaces between those who carry bytes and those who give them meaning.

`transports.libp2p` and `transports.memory` implement them; protocols and the node use them and know
no other. The behaviour written here is checked by `fogp2p.testing.contract`, which anyone who
writes another transport can run as well.

Deadlines are points on trio's clock: `environment.within(5)` is five seconds from now.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import trio

from .addresses import Multiaddr
from .events import Gap
from .ids import PeerId, ProtocolId

__all__ = [
    "AddressesChanged",
    "Connected",
    "ConnectionInfo",
    "Direction",
    "Disconnected",
    "Discovery",
    "Gate",
    "Handler",
    "Host",
    "HostEvent",
    "InboundRefused",
    "Message",
    "PeerIdentified",
    "PubSub",
    "Sighting",
    "Stream",
    "Subscription",
    "Validator",
    "Verdict",
]


class Direction(enum.Enum):
    """Who dialled."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class Stream(ABC):
    """An ordered, reliable, encrypted byte stream to one proven peer.

    Its two directions close separately. One task may read while another writes; two tasks must
    not read, or write, at the same time. Leaving `async with stream:` by an exception resets it,
    otherwise closes it.
    """

    @property
    @abstractmethod
    def remote_peer(self) -> PeerId:
        """The peer at the other end, proven by its key."""

    @property
    @abstractmethod
    def protocol(self) -> ProtocolId:
        """The protocol both sides agreed on for this stream."""

    @abstractmethod
    async def read_some(self, max_bytes: int = 65536) -> bytes:
        """Return 1 to `max_bytes` bytes, or b"" once the peer has closed its half.

        Raises StreamReset when the stream or its connection died, StreamClosed after our `aclose`
        or `reset`; also in a call that was already waiting.
        """

    @abstractmethod
    async def write_all(self, data: bytes) -> None:
        """Hand over all of `data`, waiting while the peer is slower than we are.

        Returning means queued, not received: protocols that need to know say so themselves.
        Raises StreamReset or StreamClosed; how much of `data` was sent is then unknown. When
        cancelled, part of `data` may have been sent: reset the stream.
        """

    @abstractmethod
    async def close_write(self) -> None:
        """Tell the peer that no more data comes. Reading goes on. Repeating it does nothing."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close both halves in an orderly way and free the stream. Repeating it does nothing.

        Data the peer still sends is discarded. If cancelled the stream is reset.
        """

    @abstractmethod
    def reset(self) -> None:
        """Drop the stream at once; the peer's calls raise StreamReset. Never blocks or raises."""

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            await self.aclose()
        else:
            self.reset()


Handler = Callable[[Stream], Awaitable[None]]
"""Serves one inbound stream. When it returns the stream is closed; when it raises, reset, and the
host logs a FogError in one line and anything else with its traceback. Other streams go on."""


class Gate(Protocol):
    """Decides which protocols a connection may use (see `protocols.versioning`)."""

    async def admit(self, peer: PeerId, protocol: ProtocolId, direction: Direction) -> None:
        """Return to allow a stream of `protocol`; raise ProtocolRefused to forbid it.

        Called for inbound streams before their handler and for outbound ones before anything is
        sent. May wait, for a bounded time, for an agreement that is still being made.
        """
        ...


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """One live connection. `number` is unique within this host and never reused."""

    peer: PeerId
    number: int
    direction: Direction
    address: Multiaddr


@dataclass(frozen=True, slots=True)
class Connected:
    """A peer became reachable. A host keeps one connection per peer, so this comes once."""

    connection: ConnectionInfo


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is gone, with everything on it; `reason` is for people."""

    connection: ConnectionInfo
    reason: str


@dataclass(frozen=True, slots=True)
class PeerIdentified:
    """What a peer says of itself (identify protocol); lengths are capped, nothing is verified."""

    peer: PeerId
    agent: str
    protocols: tuple[ProtocolId, ...]
    addresses: tuple[Multiaddr, ...]


@dataclass(frozen=True, slots=True)
class InboundRefused:
    """Somebody was turned away before becoming a peer; `reason` is a stable kebab-case word."""

    address: Multiaddr
    reason: str


@dataclass(frozen=True, slots=True)
class AddressesChanged:
    """Our own addresses are different now."""

    addresses: tuple[Multiaddr, ...]


HostEvent = Connected | Disconnected | PeerIdentified | InboundRefused | AddressesChanged


class Host(ABC):
    """A peer on a network: has a name and addresses, opens and serves streams."""

    @property
    @abstractmethod
    def peer_id(self) -> PeerId:
        """Our own name."""

    @property
    @abstractmethod
    def addresses(self) -> tuple[Multiaddr, ...]:
        """Where we can be dialled, real interface addresses only, each ending in /p2p/<our id>."""

    @abstractmethod
    def set_handler(self, protocol: ProtocolId, handler: Handler) -> None:
        """Serve `protocol`. Raises LocalProtocolError("handler-taken") when it already is."""

    @abstractmethod
    def remove_handler(self, protocol: ProtocolId) -> None:
        """Stop serving `protocol`; streams being served go on. Unknown names are ignored."""

    @abstractmethod
    def set_gate(self, gate: Gate | None) -> None:
        """Ask `gate` about every stream from now on; None admits all."""

    @abstractmethod
    def add_addresses(self, peer: PeerId, addresses: Sequence[Multiaddr]) -> None:
        """Remember where `peer` may be reached, the most promising first. Hints, never truth."""

    @abstractmethod
    def known_addresses(self, peer: PeerId) -> tuple[Multiaddr, ...]:
        """The addresses remembered for `peer`, at most `limits.ADDRESSES_PER_PEER`."""

    @abstractmethod
    async def connect(
        self, peer: PeerId, addresses: Sequence[Multiaddr] = (), *, deadline: float
    ) -> ConnectionInfo:
        """Return the connection to `peer`, making one if there is none.

        Tries `addresses` and then the remembered ones, overlapping (RFC 8305). Raises Unreachable
        with every attempt, DeadlineExceeded, LimitExceeded, or LocalProtocolError("dial-self").
        """

    @abstractmethod
    async def disconnect(self, peer: PeerId) -> None:
        """Close the connection to `peer` with all its streams, if there is one."""

    @abstractmethod
    async def open_stream(
        self, peer: PeerId, protocols: Sequence[ProtocolId], *, deadline: float
    ) -> Stream:
        """Open a stream speaking the first of `protocols` that the peer serves, connecting first
        if need be.

        With a single protocol the answer may be awaited only by the first read (optimistic
        negotiation): a refusal then appears there as ProtocolRefused. Raises as `connect`, and
        ProtocolRefused when the gate or the peer refuses all of them.
        """

    @abstractmethod
    def connections(self) -> tuple[ConnectionInfo, ...]:
        """The live connections, oldest first."""

    @abstractmethod
    def events(self) -> AbstractContextManager[AsyncIterator[HostEvent | Gap]]:
        """Listen to what happens from now on: `with host.events() as events: async for ...`."""

    async def check(self) -> None:
        """Return when peers can reach us; raise TransportError when nobody can any more."""
        await trio.lowlevel.checkpoint()

    def connection_to(self, peer: PeerId) -> ConnectionInfo | None:
        """The live connection to `peer`, or None."""
        return next((c for c in self.connections() if c.peer == peer), None)

    def peers(self) -> tuple[PeerId, ...]:
        """The peers we are connected to, in the order they came."""
        return tuple(connection.peer for connection in self.connections())


class Verdict(enum.Enum):
    """What a validator says of a message."""

    ACCEPT = "accept"
    REJECT = "reject"  # drop it and count it against who sent it
    IGNORE = "ignore"  # drop it, nobody's fault


@dataclass(frozen=True, slots=True)
class Message:
    """A verified publish-subscribe message. `author` signed it, `relay` handed it to us."""

    topic: str
    data: bytes
    author: PeerId
    relay: PeerId
    number: int


Validator = Callable[[Message], Verdict]
"""Pure, and takes well under 5 ms: it runs on the event loop before a message is relayed."""


class Subscription(Protocol):
    """Endless iterator over a topic's messages; lost ones show as a `Gap`."""

    def __aiter__(self) -> Subscription: ...

    async def __anext__(self) -> Message | Gap: ...


class PubSub(ABC):
    """Topics that spread messages to everyone interested. Delivery is best effort, unordered."""

    @abstractmethod
    async def publish(self, topic: str, data: bytes) -> None:
        """Sign and spread `data` (at most 64 KiB). Raises LimitExceeded when too much is queued."""

    @abstractmethod
    def subscribe(self, topic: str) -> AbstractContextManager[Subscription]:
        """Receive the topic's messages while the context is open."""

    @abstractmethod
    def set_validator(self, topic: str, validator: Validator | None) -> None:
        """Ask `validator` about every message of `topic` before it is delivered or relayed."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A hint that `peer` may be reached at `addresses`. Only a handshake proves it.

    `expires_at` is on trio's clock; a sighting that is already expired says the peer said goodbye.
    """

    peer: PeerId
    addresses: tuple[Multiaddr, ...]
    source: str
    expires_at: float


class Discovery(ABC):
    """A way to learn of peers. `source` names it in sightings and in `fogp2p status`."""

    @property
    @abstractmethod
    def source(self) -> str:
        """One word: `mdns`, `bootstrap`, `dht`, `known`."""

    @abstractmethod
    def problem(self) -> str:
        """Why this discovery sees less than it should, for people; empty when all is well."""

    @abstractmethod
    def sightings(self) -> AbstractContextManager[AsyncIterator[Sighting | Gap]]:
        """Listen: first the peers seen already and not expired, then those seen from now on."""

    @abstractmethod
    async def find_peer(self, peer: PeerId, *, deadline: float) -> tuple[Multiaddr, ...]:
        """Ask for `peer`'s addresses; () when nobody knew before the deadline."""

    @abstractmethod
    async def provide(self, key: bytes, *, deadline: float) -> int:
        """Announce from now on that we have the content named by the CID or multihash `key`.

        Returns how many peers hold the announcement now: 0 where this way cannot announce, where
        nobody is there yet (it tries again), and on a LAN, where whoever looks asks us.
        """

    def withdraw(self, key: bytes) -> None:  # noqa: B027 - most ways have nothing to withdraw
        """Announce `key` no longer; what others hold expires."""

    @abstractmethod
    async def find_providers(self, key: bytes, *, deadline: float) -> tuple[Sighting, ...]:
        """Peers that announced `key`, as far as known before the deadline."""

    async def check(self) -> None:
        """Return when this way works as well as it can; raise TransportError when it died."""
        await trio.lowlevel.checkpoint()
