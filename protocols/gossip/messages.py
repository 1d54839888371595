"""RPCs of gossipsub: values to bytes and back. Spec: libp2p/specs pubsub (README.md, gossipsub)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from fogp2p import protobuf
from fogp2p.errors import RemoteProtocolError
from fogp2p.ids import PeerId

from .config import (
    MAX_CONTROL,
    MAX_DATA_BYTES,
    MAX_ID_BYTES,
    MAX_IDS,
    MAX_SUBSCRIPTIONS_PER_RPC,
    MAX_TOPIC_BYTES,
)

__all__ = ["Envelope", "Have", "Prune", "Rpc", "Subscription", "is_forged"]

_TYPES: Final = protobuf.define(
    "fogp2p.gossip",
    {
        "SubOpts": [("subscribe", 1, "bool"), ("topicid", 2, "bytes")],
        "Message": [
            ("from", 1, "bytes"),
            ("data", 2, "bytes"),
            ("seqno", 3, "bytes"),
            ("topic", 4, "bytes"),
            ("signature", 5, "bytes"),
            ("key", 6, "bytes"),
        ],
        "IHave": [("topicID", 1, "bytes"), ("messageIDs", 2, "bytes*")],
        "IWant": [("messageIDs", 1, "bytes*")],
        "Graft": [("topicID", 1, "bytes")],
        "PeerInfo": [("peerID", 1, "bytes"), ("signedPeerRecord", 2, "bytes")],
        "Prune": [("topicID", 1, "bytes"), ("peers", 2, "PeerInfo*"), ("backoff", 3, "uint64")],
        "Control": [
            ("ihave", 1, "IHave*"),
            ("iwant", 2, "IWant*"),
            ("graft", 3, "Graft*"),
            ("prune", 4, "Prune*"),
        ],
        "Rpc": [
            ("subscriptions", 1, "SubOpts*"),
            ("publish", 2, "Message*"),
            ("control", 3, "Control"),
        ],
    },
)
_CODE: Final = "gossip-message"
_SIGNED: Final = b"libp2p-pubsub:"
_SEQNO_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Envelope:
    """A published message as it travels. `author` and `number` make its id."""

    author: PeerId
    number: int
    topic: str
    data: bytes
    signature: bytes = b""
    key: bytes = b""

    @property
    def id(self) -> bytes:
        """Which message this is: the author's binary id and the number."""
        return self.author.raw + self.number.to_bytes(_SEQNO_BYTES)

    def preimage(self) -> bytes:
        """What the author signs. The specification defines it by encoding the message again."""
        bare = replace(self, signature=b"", key=b"")
        return _SIGNED + bytes(bare._message().SerializeToString())

    def _message(self) -> Any:
        message = _TYPES["Message"](
            data=self.data,
            seqno=self.number.to_bytes(_SEQNO_BYTES),
            topic=self.topic.encode(),
        )
        setattr(message, "from", self.author.raw)
        if self.signature:
            message.signature = self.signature
        if self.key:
            message.key = self.key
        return message


def is_forged(envelope: Envelope) -> bool:
    """Whether the key beside the message is another one than the author's."""
    return bool(envelope.key) and PeerId.from_key_protobuf(envelope.key) != envelope.author


@dataclass(frozen=True, slots=True)
class Subscription:
    """The sender wants a topic, or no longer."""

    topic: str
    wanted: bool


@dataclass(frozen=True, slots=True)
class Have:
    """IHAVE: the sender has these messages of the topic."""

    topic: str
    ids: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Prune:
    """The receiver left our mesh and is not to graft for `backoff_s`. Other peers are not read."""

    topic: str
    backoff_s: int


@dataclass(frozen=True, slots=True)
class Rpc:
    """Everything one frame may say."""

    subscriptions: tuple[Subscription, ...] = ()
    publish: tuple[Envelope, ...] = ()
    ihave: tuple[Have, ...] = ()
    iwant: tuple[bytes, ...] = ()
    graft: tuple[str, ...] = ()
    prune: tuple[Prune, ...] = ()

    @property
    def is_control(self) -> bool:
        """Whether losing it would leave the two sides with different meshes."""
        return bool(self.subscriptions or self.graft or self.prune)

    def to_bytes(self) -> bytes:
        """The encoded RPC."""
        rpc = _TYPES["Rpc"]()
        for subscription in self.subscriptions:
            rpc.subscriptions.add(
                subscribe=subscription.wanted, topicid=subscription.topic.encode()
            )
        rpc.publish.extend(envelope._message() for envelope in self.publish)
        for have in self.ihave:
            rpc.control.ihave.add(topicID=have.topic.encode(), messageIDs=have.ids)
        if self.iwant:
            rpc.control.iwant.add(messageIDs=self.iwant)
        for topic in self.graft:
            rpc.control.graft.add(topicID=topic.encode())
        for prune in self.prune:
            rpc.control.prune.add(topicID=prune.topic.encode(), backoff=prune.backoff_s)
        return bytes(rpc.SerializeToString())

    @classmethod
    def from_bytes(cls, data: bytes) -> Rpc:
        """Read an RPC; entries past the limits are left out.

        Raises RemoteProtocolError("gossip-message") for other bytes, for more than 5,000
        subscriptions, and for a message that is not signed by a named author with a number.
        """
        rpc = protobuf.parse(_TYPES["Rpc"], data, code=_CODE)
        if len(rpc.subscriptions) > MAX_SUBSCRIPTIONS_PER_RPC:
            raise _refused("more than 5,000 subscriptions")
        control = rpc.control
        wanted = (name for each in control.iwant[:MAX_CONTROL] for name in each.messageIDs)
        return cls(
            tuple(Subscription(_topic(s.topicid), s.subscribe) for s in rpc.subscriptions),
            tuple(_envelope(message) for message in rpc.publish),
            tuple(Have(_topic(h.topicID), _ids(h.messageIDs)) for h in control.ihave[:MAX_CONTROL]),
            _ids(wanted),
            tuple(_topic(graft.topicID) for graft in control.graft[:MAX_CONTROL]),
            tuple(Prune(_topic(p.topicID), p.backoff) for p in control.prune[:MAX_CONTROL]),
        )


def _topic(raw: bytes) -> str:
    if not 1 <= len(raw) <= MAX_TOPIC_BYTES:
        raise _refused("a topic has 1-256 bytes")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise _refused("a topic is not UTF-8") from exc


def _ids(raw: Iterable[bytes]) -> tuple[bytes, ...]:
    found = []
    for each in raw:
        if 1 <= len(each) <= MAX_ID_BYTES:
            found.append(each)
        if len(found) == MAX_IDS:
            break
    return tuple(found)


def _envelope(message: Any) -> Envelope:
    if len(message.seqno) != _SEQNO_BYTES or not message.signature:
        raise _refused("a message without a number or a signature")
    if len(message.data) > MAX_DATA_BYTES:
        raise _refused("a message of more than 64 KiB")
    return Envelope(
        PeerId.from_bytes(getattr(message, "from")),
        int.from_bytes(message.seqno),
        _topic(message.topic),
        message.data,
        message.signature,
        message.key,
    )


def _refused(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"not a usable gossip RPC: {what}", code=_CODE)
