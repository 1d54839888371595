"""Messages of a pairing: values to bytes and back, and the keys that follow from it.

Spec: specs/invite/invite-v1.md sections 5 and 6.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fogp2p.addresses import Multiaddr, parse_address
from fogp2p.codec import Schema, decode, encode
from fogp2p.errors import RemoteProtocolError
from fogp2p.ids import PeerId

from .config import CARD_ADDRESSES, MAX_MESSAGE_BYTES, MAX_NAME_CHARACTERS

__all__ = [
    "Card",
    "Confirmation",
    "Contact",
    "Hello",
    "Intent",
    "Keys",
    "Message",
    "Offer",
    "Pake",
    "Reason",
    "Refusal",
    "Stored",
    "decode_contact",
    "decode_message",
    "encode_contact",
    "encode_message",
    "printable_name",
    "transcript_of",
]

_SCHEMA: Final = "invite/v1.cddl"
_DOMAIN: Final = b"fog/invite/1 "


class Intent(enum.Enum):
    """What a hello wants."""

    ASK = 1
    PAIR = 2


class Reason(enum.Enum):
    """Why an inviter refuses."""

    UNKNOWN = "unknown"
    EXPIRED = "expired"
    USED = "used"
    BURNT = "burnt"
    BUSY = "busy"
    WRONG_GUESS = "wrong-guess"


@dataclass(frozen=True, slots=True)
class Hello:
    """The joiner's first word; nameplate 0 asks what is offered."""

    nameplate: int
    intent: Intent


@dataclass(frozen=True, slots=True)
class Offer:
    """The inviter's answer: (nameplate, seconds left) of what the hello asked for."""

    invites: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The inviter's other answer."""

    reason: Reason
    guesses_left: int = 0


@dataclass(frozen=True, slots=True)
class Pake:
    """One message of SPAKE2, 33 bytes."""

    body: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Confirmation:
    """Proof that the sender has the same key."""

    tag: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Card:
    """An encoded contact and its tag."""

    contact: bytes
    tag: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Stored:
    """The sender has written down the other's contact."""

    tag: bytes


Message = Hello | Offer | Refusal | Pake | Confirmation | Card | Stored


@dataclass(frozen=True, slots=True)
class Contact:
    """What a peer says of itself; only the id is proven, by the connection and by the code."""

    name: str
    peer: PeerId
    addresses: tuple[Multiaddr, ...] = ()


def encode_message(message: Message) -> bytes:
    """The payload of a frame."""
    fields: dict[int | str, Any]
    match message:
        case Hello():
            fields = {0: 1, 1: message.nameplate, 2: message.intent.value}
        case Offer():
            fields = {0: 2, 1: [list(each) for each in message.invites]}
        case Refusal():
            fields = {0: 3, 1: message.reason.value, 2: message.guesses_left}
        case Pake():
            fields = {0: 4, 1: message.body}
        case Confirmation():
            fields = {0: 5, 1: message.tag}
        case Card():
            fields = {0: 6, 1: message.contact, 2: message.tag}
        case Stored():
            fields = {0: 7, 1: message.tag}
    return encode(fields)


_READ: Final[Mapping[int, Callable[[dict[int, Any]], Message]]] = {
    1: lambda fields: Hello(fields[1], Intent(fields[2])),
    2: lambda fields: Offer(tuple((nameplate, left) for nameplate, left in fields[1])),
    3: lambda fields: Refusal(Reason(fields[1]), fields[2]),
    4: lambda fields: Pake(fields[1]),
    5: lambda fields: Confirmation(fields[1]),
    6: lambda fields: Card(fields[1], fields[2]),
    7: lambda fields: Stored(fields[1]),
}


def decode_message(data: bytes) -> Message:
    """Read one message; unknown fields are skipped. Raises RemoteProtocolError (`cbor-...`)."""
    fields = decode(data, schema=Schema.load(_SCHEMA, "message"), max_bytes=MAX_MESSAGE_BYTES)
    return _READ[fields[0]](fields)


def encode_contact(contact: Contact) -> bytes:
    """A contact for a card. Too long a name is cut, more than four addresses left out."""
    addresses = [address.to_bytes() for address in contact.addresses]
    return encode(
        {
            1: printable_name(contact.name),
            2: contact.peer.raw,
            3: addresses[:CARD_ADDRESSES],
        }
    )


def decode_contact(data: bytes) -> Contact:
    """Read a contact. Raises RemoteProtocolError: `cbor-...`, "address", "peer-id"."""
    schema = Schema.load(_SCHEMA, "contact")
    fields = decode(data, schema=schema, max_bytes=MAX_MESSAGE_BYTES)
    addresses = tuple(map(parse_address, fields[3]))
    return Contact(printable_name(fields[1]), PeerId.from_bytes(fields[2]), addresses)


def printable_name(text: str) -> str:
    """At most 64 characters on one line; control characters are replaced, never obeyed."""
    plain = "".join(char if char.isprintable() else "\ufffd" for char in text.strip())
    return plain[:MAX_NAME_CHARACTERS]


def transcript_of(frames: Sequence[bytes]) -> bytes:
    """SHA-256 over the messages as they went over the wire, each behind its length."""
    digest = hashlib.sha256(_DOMAIN)
    for frame in frames:
        digest.update(len(frame).to_bytes(4) + frame)
    return digest.digest()


class Keys:
    """What follows from a shared key and the transcript. Neither `repr` nor pickle shows it."""

    __slots__ = ("_key", "_transcript")

    def __init__(self, key: bytes, transcript: bytes) -> None:
        self._key = key
        self._transcript = transcript

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("keys are not pickled")

    def confirmation(self, role: str) -> bytes:
        """The tag by which `role` ("joiner" or "inviter") proves its key."""
        return self._tag(role, "confirms", b"")

    def card(self, role: str, contact: bytes) -> bytes:
        """The tag of `role`'s contact."""
        return self._tag(role, "card", contact)

    def stored(self, role: str) -> bytes:
        """The tag by which `role` says that it has stored the other's contact."""
        return self._tag(role, "stored", b"")

    def _tag(self, role: str, what: str, data: bytes) -> bytes:
        info = _DOMAIN + f"{role} {what}".encode("ascii")
        derived = HKDF(SHA256(), 32, self._transcript, info).derive(self._key)
        return hmac.digest(derived, self._transcript + data, "sha256")


def check_tag(expected: bytes, received: bytes, what: str) -> None:
    """Raise RemoteProtocolError("invite-tag") for another tag. Takes the same time either way."""
    if not hmac.compare_digest(expected, received):
        raise RemoteProtocolError(
            f"the {what} is not from whom has the code", code="invite-tag", close_hint="disconnect"
        )
