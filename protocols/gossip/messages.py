"""RPCs of gossipsub: values to bytes and back. Spec: libp2p/specs pubsub (README.md, gossipsub)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from fogp2p import protobuf
from fogp2p.errors import RemoteProtocolError
from fogp2p.ids import PeerId

from .config import (
    MAX_CONTROL,
    MAX_DATA_BYTES,
    MAX_ID_BYTES,
    MAX_IDS,
    MAX_MESSAGES_PER_RPC,
    MAX_SUBSCRIPTIONS_PER_RPC,
    MAX_TOPIC_BYTES,
    SEQNO_BYTES,
)

__all__ = ["Envelope", "Have", "Prune", "Rpc", "Subscription", "is_forged", "is_verifiable"]

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
        "IDontWant": [("messageIDs", 1, "bytes*")],
        "Control": [
            ("ihave", 1, "IHave*"),
            ("iwant", 2, "IWant*"),
            ("graft", 3, "Graft*"),
            ("prune", 4, "Prune*"),
            ("idontwant", 5, "IDontWant*"),
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
        return self.author.raw + self.number.to_bytes(SEQNO_BYTES)

    def preimage(self) -> bytes:
        """What the author signs. The specification defines it by encoding the message again."""
        bare = replace(self, signature=b"", key=b"")
        return _SIGNED + bytes(bare._message().SerializeToString())

    def _message(self) -> Any:
        message = _TYPES["Message"](
            data=self.data,
            seqno=self.number.to_bytes(SEQNO_BYTES),
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


def is_verifiable(author: PeerId) -> bool:
    """Whether we know this kind of key. Others (RSA) may, and pass it on in good faith."""
    return author.ed25519 is not None or author.secp256k1 is not None


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
    """Everything one frame may say.

    Of a frame that was read, `known` are the ids of messages that were known already and so were
    not looked at further, and `unusable` counts messages that were left out.
    """

    subscriptions: tuple[Subscription, ...] = ()
    publish: tuple[Envelope, ...] = ()
    ihave: tuple[Have, ...] = ()
    iwant: tuple[bytes, ...] = ()
    graft: tuple[str, ...] = ()
    prune: tuple[Prune, ...] = ()
    idontwant: tuple[bytes, ...] = ()
    known: tuple[bytes, ...] = field(default=(), compare=False)
    unusable: int = field(default=0, compare=False)

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
        if self.idontwant:
            rpc.control.idontwant.add(messageIDs=self.idontwant)
        return bytes(rpc.SerializeToString())

    @classmethod
    def from_bytes(cls, data: bytes, is_known: Callable[[bytes], bool] = lambda _: False) -> Rpc:
        """Read an RPC; entries past the limits, and messages that we cannot use, are left out.

        `is_known` says which message ids need no further look: they cost two field reads.
        Raises RemoteProtocolError("gossip-message") for other bytes, for more than 5,000
        subscriptions, and for a message without a signature or an author.
        """
        rpc = protobuf.parse(_TYPES["Rpc"], data, code=_CODE)
        if len(rpc.subscriptions) > MAX_SUBSCRIPTIONS_PER_RPC:
            raise _refused("more than 5,000 subscriptions")
        known: list[bytes] = []
        found: list[Envelope] = []
        for message in rpc.publish[:MAX_MESSAGES_PER_RPC]:
            name = getattr(message, "from") + message.seqno
            if is_known(name):
                known.append(name)
            elif (envelope := _envelope(message)) is not None:
                found.append(envelope)
        unusable = len(rpc.publish) - len(known) - len(found)
        if not rpc.HasField("control") and not rpc.subscriptions:
            return cls(publish=tuple(found), known=tuple(known), unusable=unusable)
        control = rpc.control
        return cls(
            tuple(Subscription(_topic(s.topicid), s.subscribe) for s in rpc.subscriptions),
            tuple(found),
            tuple(Have(_topic(h.topicID), _ids(h.messageIDs)) for h in control.ihave[:MAX_CONTROL]),
            _ids(name for each in control.iwant[:MAX_CONTROL] for name in each.messageIDs),
            tuple(_topic(graft.topicID) for graft in control.graft[:MAX_CONTROL]),
            tuple(Prune(_topic(p.topicID), p.backoff) for p in control.prune[:MAX_CONTROL]),
            _ids(name for each in control.idontwant[:MAX_CONTROL] for name in each.messageIDs),
            known=tuple(known),
            unusable=unusable,
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


def _envelope(message: Any) -> Envelope | None:
    """The message, or None when an honest relay of another kind may have passed it on to us.

    Only what every implementation refuses is the relay's fault (GOS-001, GOS-004).
    """
    author = getattr(message, "from")
    if not message.signature or not author:
        raise _refused("a message without a signature or an author")
    if (
        len(message.seqno) != SEQNO_BYTES
        or len(message.data) > MAX_DATA_BYTES
        or not 1 <= len(message.topic) <= MAX_TOPIC_BYTES
        or message.ByteSize() != _plain_size(message)
    ):
        return None
    try:
        topic = message.topic.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return Envelope(
        PeerId.from_bytes(author),
        int.from_bytes(message.seqno),
        topic,
        message.data,
        message.signature,
        message.key,
    )


def _plain_size(message: Any) -> int:
    """Bytes of our own encoding of it. Another size means fields that we do not know, or an empty
    one left out: what is signed is then not what we would encode."""
    size = 0
    for value in (getattr(message, "from"), message.seqno, message.topic, message.signature):
        size += 2 + len(value) + (len(value) > 127) + (len(value) > 16_383)
    for length in (len(message.data), len(message.key)):
        size += 2 + length + (length > 127) + (length > 16_383) + (length > 2_097_151)
    return size if message.key else size - 2


def _refused(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"not a usable gossip RPC: {what}", code=_CODE)
