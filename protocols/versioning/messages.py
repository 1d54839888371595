"""Hello and choice: values to bytes and back, and the rule by which the choice follows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fogp2p.codec import Schema, decode, encode
from fogp2p.errors import RemoteProtocolError
from fogp2p.ids import PeerId, Version

from .catalogue import Catalogue, Offer, Release
from .config import MAX_HELLO_BYTES, MAX_NOTICES

__all__ = [
    "Agreement",
    "Choice",
    "Hello",
    "Notice",
    "choose",
    "decode_choice",
    "decode_hello",
    "encode_choice",
    "encode_hello",
    "signed_bytes",
]

NONCE_BYTES: Final = 32
V1_0: Final = Version(1, 0)
V1_1: Final = Version(1, 1)
_DOMAIN: Final = "fog/version/1"


@dataclass(frozen=True, slots=True)
class Notice:
    """A word of the other operator, shown to people: day since 1970, 1-256 characters."""

    day: int
    text: str


@dataclass(frozen=True, slots=True)
class Hello:
    """What one side says first."""

    handshake: tuple[Version, ...]
    nonce: bytes
    software: str
    protocols: Mapping[str, Offer]
    limits: Mapping[str, int]
    notices: tuple[Notice, ...] = ()

    @classmethod
    def of(cls, catalogue: Catalogue, nonce: bytes) -> Hello:
        """The hello of a node with this catalogue; notices only if it speaks 1.1."""
        notices = tuple(Notice(day, text) for day, text in catalogue.notices[:MAX_NOTICES])
        return cls(
            catalogue.handshake,
            nonce,
            catalogue.software,
            catalogue.protocols,
            catalogue.limits,
            notices if V1_1 in catalogue.handshake else (),
        )


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a connection may use: protocol -> (version, features)."""

    handshake: Version
    protocols: Mapping[str, tuple[Version, frozenset[str]]] = field(default_factory=dict)

    def version(self, protocol: str) -> Version | None:
        """The agreed version of a protocol, or None when it is not agreed."""
        found = self.protocols.get(protocol)
        return found[0] if found is not None else None

    def has(self, protocol: str, feature: str) -> bool:
        """Whether both sides support `feature` of `protocol`."""
        found = self.protocols.get(protocol)
        return found is not None and feature in found[1]


@dataclass(frozen=True, slots=True)
class Choice:
    """An agreement and a signature over everything said before."""

    agreement: Agreement
    signature: bytes


def choose(one: Hello, other: Hello) -> Agreement | None:
    """The agreement of two hellos, the same whichever comes first (VER-020).

    None when there is no common version of the handshake itself.
    """
    common = set(one.handshake) & set(other.handshake)
    if not common:
        return None
    protocols: dict[str, tuple[Version, frozenset[str]]] = {}
    for name in sorted(one.protocols.keys() & other.protocols.keys()):
        mine, theirs = one.protocols[name], other.protocols[name]
        versions = mine.versions & theirs.versions
        if versions:
            protocols[name] = (max(versions), mine.features & theirs.features)
    return Agreement(max(common), protocols)


def encode_hello(hello: Hello) -> bytes:
    """The payload of a hello frame."""
    message: dict[int | str, Any] = {
        1: [_version(version) for version in hello.handshake],
        2: hello.nonce,
        3: hello.software,
        4: {name: _offer(offer) for name, offer in hello.protocols.items()},
        5: dict(hello.limits),
    }
    if hello.notices:
        message[6] = [[notice.day, notice.text] for notice in hello.notices]
    return encode(message)


def decode_hello(data: bytes) -> Hello:
    """Read a hello; unknown fields are skipped.

    Raises RemoteProtocolError: `cbor-...`, or "version-hello" for an order that is not ascending.
    """
    schema = Schema.load("versioning/v1.cddl", "hello")
    message = decode(data, schema=schema, max_bytes=MAX_HELLO_BYTES)
    handshake = tuple(map(_read_version, message[1]))
    if list(handshake) != sorted(set(handshake)):
        raise _refused("versions are not ascending")
    notices = message.get(6, []) if V1_1 in handshake else []
    return Hello(
        handshake,
        message[2],
        _printable(message[3]),
        {name: _read_offer(offer) for name, offer in message[4].items()},
        message[5],
        tuple(map(_read_notice, notices[:MAX_NOTICES])),
    )


def encode_choice(choice: Choice) -> bytes:
    """The payload of a choice frame."""
    return encode(
        {
            1: _version(choice.agreement.handshake),
            2: _agreed(choice.agreement),
            3: choice.signature,
        }
    )


def decode_choice(data: bytes) -> Choice:
    """Read a choice; neither the signature nor the agreement is checked yet."""
    schema = Schema.load("versioning/v1.cddl", "choice")
    message = decode(data, schema=schema, max_bytes=MAX_HELLO_BYTES)
    protocols = {name: _read_agreed(agreed) for name, agreed in message[2].items()}
    return Choice(Agreement(_read_version(message[1]), protocols), message[3])


def signed_bytes(
    first: bytes,
    second: bytes,
    agreement: Agreement,
    initiator: PeerId,
    responder: PeerId,
    role: str,
) -> bytes:
    """What is signed: both hellos *as sent and received*, the choice, both peers, and who signs.

    `role` is "initiator" or "responder".
    """
    transcript = hashlib.sha256(
        len(first).to_bytes(4) + first + len(second).to_bytes(4) + second
    ).digest()
    chosen = [_version(agreement.handshake), _agreed(agreement)]
    return encode([_DOMAIN, role, transcript, initiator.raw, responder.raw, chosen])


def _version(version: Version) -> list[int]:
    return [version.major, version.minor]


def _offer(offer: Offer) -> list[Any]:
    releases = [[_version(release.version), release.ends_day] for release in offer.releases]
    return [releases, sorted(offer.features)]


def _agreed(agreement: Agreement) -> dict[int | str, Any]:
    return {
        name: [_version(version), sorted(features)]
        for name, (version, features) in agreement.protocols.items()
    }


# What the schema has checked is only taken apart here.


def _read_version(value: Any) -> Version:
    return Version(*value)


def _read_notice(value: Any) -> Notice:
    day, text = value
    return Notice(day, _printable(text))


def _read_features(value: Any) -> frozenset[str]:
    if value != sorted(set(value)):
        raise _refused("features are not ascending")
    return frozenset(value)


def _read_agreed(value: Any) -> tuple[Version, frozenset[str]]:
    version, features = value
    return _read_version(version), _read_features(features)


def _read_offer(value: Any) -> Offer:
    listed, features = value
    releases = [Release(_read_version(version), ends) for version, ends in listed]
    versions = [release.version for release in releases]
    if versions != sorted(set(versions)):
        raise _refused("versions are not ascending")
    return Offer(tuple(releases), _read_features(features))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _refused(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"not a usable hello: {what}", code="version-hello")
