"""What replicas say to each other, and how it is written. Spec: specs/log/log-v1.md section 8."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from fogp2p.codec import Schema, decode, encode
from fogp2p.errors import RemoteProtocolError

from .config import MAX_FRAME_BYTES

__all__ = [
    "Entries",
    "Frontier",
    "Interest",
    "Listed",
    "LogMessage",
    "Part",
    "Query",
    "Range",
    "Reply",
    "Split",
    "Want",
    "decode_message",
    "encode_message",
    "interest_tag",
]

_TAG_BYTES: Final = 16
# Sixteen answers of sixteen parts of three items; lists are shorter.
_MAX_ITEMS: Final = 9_000


@dataclass(frozen=True, slots=True)
class Interest:
    """Tags of all groups the sender carries. Who does not know a group learns nothing of it."""

    tags: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Frontier:
    """What the sender holds of a group. `asks`: it lacks entries and asks the other to compare."""

    group: bytes
    count: int
    fingerprint: bytes
    heads: tuple[bytes, ...]
    asks: bool = False


@dataclass(frozen=True, slots=True)
class Range:
    """Keys from `lower` up to `upper`, not included; `listed`: ids wanted, not fingerprints."""

    lower: bytes
    upper: bytes
    listed: bool


@dataclass(frozen=True, slots=True)
class Query:
    """One step of a session of comparing ranges."""

    group: bytes
    session: bytes
    number: int
    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a range, from the part before up to `upper`."""

    upper: bytes
    count: int
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Split:
    """The range in parts."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """All ids of the range in order of their keys, or those before `cut`."""

    ids: tuple[bytes, ...]
    cut: bytes | None


@dataclass(frozen=True, slots=True)
class Reply:
    """The answers to a query, in the order of its ranges."""

    group: bytes
    session: bytes
    number: int
    answers: tuple[Split | Listed, ...]


@dataclass(frozen=True, slots=True)
class Want:
    """Please send these entries."""

    group: bytes
    ids: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Entries:
    """Entries as their authors signed them, parents first."""

    group: bytes
    entries: tuple[bytes, ...]


LogMessage = Interest | Frontier | Query | Reply | Want | Entries


def interest_tag(group: bytes, sender: bytes) -> bytes:
    """How `sender` (a binary peer id) names `group` to those who know it already."""
    return hashlib.sha256(b"fog/log/1 interest\x00" + group + sender).digest()[:_TAG_BYTES]


def encode_message(message: LogMessage) -> bytes:
    """The bytes of one frame."""
    match message:
        case Interest():
            return encode([1, list(message.tags)])
        case Frontier():
            m = message
            return encode([2, m.group, m.count, m.fingerprint, list(m.heads), m.asks])
        case Query():
            ranges = [[r.lower, r.upper, int(r.listed)] for r in message.ranges]
            return encode([3, message.group, message.session, message.number, ranges])
        case Reply():
            answers = [_answer(each) for each in message.answers]
            return encode([4, message.group, message.session, message.number, answers])
        case Want():
            return encode([5, message.group, list(message.ids)])
        case Entries():
            return encode([6, message.group, list(message.entries)])


def _answer(answer: Split | Listed) -> list[Any]:
    match answer:
        case Split():
            return [[part.upper, part.count, part.fingerprint] for part in answer.parts]
        case Listed():
            return [list(answer.ids), answer.cut]


def decode_message(data: bytes) -> LogMessage:
    """Read one frame. Raises RemoteProtocolError `cbor-...` or "log-message"."""
    schema = Schema.load("log/v1.cddl", "message")
    value = decode(data, schema=schema, max_bytes=MAX_FRAME_BYTES, max_items=_MAX_ITEMS)
    match value:
        case [1, tags]:
            return Interest(tuple(tags))
        case [2, group, count, fingerprint, heads, asks]:
            if heads != sorted(set(heads)):
                raise RemoteProtocolError("heads ascend and occur once", code="log-message")
            return Frontier(group, count, fingerprint, tuple(heads), asks)
        case [3, group, session, number, ranges]:
            return Query(group, session, number, tuple(Range(a, b, c == 1) for a, b, c in ranges))
        case [4, group, session, number, answers]:
            return Reply(group, session, number, tuple(_read_answer(each) for each in answers))
        case [5, group, ids]:
            if len(set(ids)) != len(ids):
                raise RemoteProtocolError("an id is wanted twice", code="log-message")
            return Want(group, tuple(ids))
        case [_, group, entries]:
            return Entries(group, tuple(entries))
        case _:
            raise RemoteProtocolError("no message of this protocol", code="log-message")


def _read_answer(value: list[Any]) -> Split | Listed:
    if isinstance(value[1], list):  # a list has a bound or null there
        return Split(tuple(Part(*part) for part in value))
    return Listed(tuple(value[0]), value[1])
