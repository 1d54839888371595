"""Hello and choice: values to bytes and back, and the rule by which the choice follows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fogp2p.codec import Schema, decode, encode, expect_int, expect_list, expect_text
from fogp2p.errors import RemoteProtocolError
from fogp2p.ids import PeerId, Version

from .catalogue import Catalogue, Offer, Release
from .config import (
    MAX_FEATURES,
    MAX_HELLO_BYTES,
    MAX_LIMITS,
    MAX_NAME_CHARS,
    MAX_NOTICES,
    MAX_PROTOCOLS,
    MAX_RELEASES,
)

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
_MAX_U32: Final = 2**32 - 1


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

    Raises RemoteProtocolError: `cbor-...`, or "version-hello" for too many entries or an order that
    is not ascending.
    """
    schema = Schema.load("versioning/v1.cddl", "hello")
    message = decode(data, schema=schema, max_bytes=MAX_HELLO_BYTES)
    if len(message[4]) > MAX_PROTOCOLS or len(message[5]) > MAX_LIMITS:
        raise _refused("too many protocols or limits")
    for name in (*message[4], *message[5]):
        if not 1 <= len(name) <= MAX_NAME_CHARS:
            raise _refused("a name has 1-64 characters")
    versions = expect_list(message[1], least=1, most=MAX_RELEASES)
    handshake = tuple(_read_version(version) for version in versions)
    if list(handshake) != sorted(set(handshake)):
        raise _refused("versions are not ascending")
    notices = expect_list(message.get(6, []), most=64) if V1_1 in handshake else []
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


def _read_version(value: Any) -> Version:
    major, minor = expect_list(value, least=2, most=2)
    return Version(expect_int(major, most=0xFFFF), expect_int(minor, most=0xFFFF))


def _read_notice(value: Any) -> Notice:
    day, text = expect_list(value, least=2, most=2)
    return Notice(expect_int(day, most=_MAX_U32), _printable(expect_text(text, most=256)))


def _read_features(value: Any) -> frozenset[str]:
    listed = [
        expect_text(feature, most=MAX_NAME_CHARS)
        for feature in expect_list(value, most=MAX_FEATURES)
    ]
    if listed != sorted(set(listed)):
        raise _refused("features are not ascending")
    return frozenset(listed)


def _read_agreed(value: Any) -> tuple[Version, frozenset[str]]:
    version, features = expect_list(value, least=2, most=2)
    return _read_version(version), _read_features(features)


def _read_offer(value: Any) -> Offer:
    listed, features = expect_list(value, least=2, most=2)
    releases = []
    for release in expect_list(listed, least=1, most=MAX_RELEASES):
        version, ends = expect_list(release, least=2, most=2)
        releases.append(Release(_read_version(version), expect_int(ends, most=_MAX_U32)))
    versions = [release.version for release in releases]
    if versions != sorted(set(versions)):
        raise _refused("versions are not ascending")
    return Offer(tuple(releases), _read_features(features))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _refused(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"not a usable hello: {what}", code="version-hello")
