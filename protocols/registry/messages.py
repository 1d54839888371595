"""What is said on a registry stream: three requests and their answers.

Spec: specs/registry/registry-v1.md, section 5.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from fogp2p.codec import Schema, decode, encode
from fogp2p.errors import RemoteProtocolError
from fogp2p.ids import PeerId

from .config import MAX_MESSAGE_BYTES
from .descriptor import is_name

__all__ = ["Answer", "Lookup", "Push", "Query", "Receipt", "Request", "Verdict", "read_request"]


class Verdict(enum.IntEnum):
    """What became of a pushed descriptor."""

    KEPT = 0
    KNOWN = 1
    SUPERSEDED = 2
    REFUSED = 3


@dataclass(frozen=True, slots=True)
class Push:
    """Take this envelope."""

    envelope: bytes

    def to_bytes(self) -> bytes:
        """The payload of a frame."""
        return encode([1, self.envelope])


@dataclass(frozen=True, slots=True)
class Query:
    """Up to `limit` descriptors of peers with `role`."""

    role: str
    limit: int

    def to_bytes(self) -> bytes:
        """The payload of a frame."""
        return encode([2, self.role, self.limit])


@dataclass(frozen=True, slots=True)
class Lookup:
    """The descriptor of one peer."""

    peer: PeerId

    def to_bytes(self) -> bytes:
        """The payload of a frame."""
        return encode([3, self.peer.raw])


Request = Push | Query | Lookup


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to a push; `held` is what the answerer has instead, when it is superseded."""

    verdict: Verdict
    held: bytes | None = None

    def to_bytes(self) -> bytes:
        """The payload of a frame."""
        return encode([1, int(self.verdict), self.held])

    @classmethod
    def from_bytes(cls, data: bytes) -> Receipt:
        """Raises RemoteProtocolError (`cbor-...`)."""
        value = decode(data, schema=_schema("receipt"), max_bytes=MAX_MESSAGE_BYTES)
        return cls(Verdict(value[1]), value[2])


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of an answer: `count` envelopes follow, of `total` that fit the question."""

    count: int
    total: int

    def to_bytes(self) -> bytes:
        """The payload of a frame."""
        return encode([2, self.count, self.total])

    @classmethod
    def from_bytes(cls, data: bytes, limit: int) -> Answer:
        """Raises RemoteProtocolError: `cbor-...`, or "registry-answer" for more than was asked."""
        value = decode(data, schema=_schema("answer"), max_bytes=MAX_MESSAGE_BYTES)
        if value[1] > limit or value[1] > value[2]:
            raise RemoteProtocolError(
                "an answer of more descriptors than were asked for", code="registry-answer"
            )
        return cls(value[1], value[2])


def read_request(data: bytes) -> Request:
    """Read a request. Raises RemoteProtocolError: `cbor-...`, "peer-id" or "registry-form"."""
    value = decode(data, schema=_schema("request"), max_bytes=MAX_MESSAGE_BYTES)
    match value[0]:
        case 1:
            return Push(value[1])
        case 2:
            if not is_name(value[1]):
                raise RemoteProtocolError("not the name of a role", code="registry-form")
            return Query(value[1], value[2])
        case _:
            return Lookup(PeerId.from_bytes(value[1]))


def _schema(rule: str) -> Schema:
    return Schema.load("registry/v1.cddl", rule)
