"""Entries: what is signed, how it is named, and what it may look like on its own.

An entry is `[content, signature]`. Its id is the SHA-256 of the content bytes as received; the
signature is Ed25519 over a fixed prefix and that id, so that it can be taken for nothing else.
Spec: specs/log/log-v1.md sections 4 and 5.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from nacl import bindings as sodium
from nacl.exceptions import BadSignatureError, CryptoError

from fogp2p.codec import Schema, decode, encode
from fogp2p.errors import LocalProtocolError, RemoteProtocolError

from .config import MAX_BODY_BYTES, MAX_CONTENT_BYTES, MAX_ENTRY_BYTES, MAX_HEIGHT, MAX_PARENTS

__all__ = [
    "Admit",
    "Draft",
    "Entry",
    "EpochKeySet",
    "Found",
    "ForkProof",
    "Kind",
    "Remove",
    "Role",
    "body_of",
    "check_member_key",
    "decode_entry",
    "encode_body",
    "is_signed",
    "seal_entry",
]

SIGNED_PREFIX: Final = b"fog/log/1 entry\x00"
_SIGNATURE_BYTES: Final = 64


class Kind(enum.IntEnum):
    """What an entry does. Kinds that are not listed are kept and delivered, and mean nothing."""

    FOUND = 0
    ADMIT = 1
    REMOVE = 2
    LEAVE = 3
    EPOCH = 4
    MESSAGE = 5


class Role(enum.IntEnum):
    """What a member may do: write; or write, admit and remove."""

    WRITE = 1
    ADMIT = 2


@dataclass(frozen=True, slots=True)
class Found:
    """Body of the founding entry."""

    name: str
    nonce: bytes


@dataclass(frozen=True, slots=True)
class Admit:
    """Body of an admission. `level` is greater than the admitting member's."""

    member: bytes
    role: Role
    level: int


@dataclass(frozen=True, slots=True)
class Remove:
    """Body of a removal: of the member's entries, `last` and those before it in its chain stand."""

    member: bytes
    last: bytes | None


@dataclass(frozen=True, slots=True)
class EpochKeySet:
    """Body of an epoch: its key, sealed to each member. `commitment` makes it one key for all."""

    commitment: bytes
    sealed: tuple[tuple[bytes, bytes], ...]


Body = Found | Admit | Remove | EpochKeySet | None


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as received: `data` are all its bytes, `id` names its content."""

    id: bytes
    group: bytes
    author: bytes
    position: int
    previous: bytes | None
    parents: tuple[bytes, ...]
    height: int
    sent_ms: int
    kind: int
    epoch: bytes | None
    body: bytes
    data: bytes

    @property
    def past(self) -> tuple[bytes, ...]:
        """The entries it directly follows: its author's previous one and its parents."""
        return self.parents if self.previous is None else (self.previous, *self.parents)

    @property
    def key(self) -> bytes:
        """Where it stands in the order of synchronising: height, then id."""
        return self.height.to_bytes(4) + self.id


@dataclass(frozen=True, slots=True)
class Draft:
    """What an author decides; position, parents and the rest follow from the replica."""

    group: bytes | None
    author: bytes
    position: int
    previous: bytes | None
    parents: tuple[bytes, ...]
    height: int
    sent_ms: int
    kind: int
    epoch: bytes | None
    body: bytes


def seal_entry(draft: Draft, sign: Callable[[bytes], bytes]) -> Entry:
    """Encode and sign a draft. Raises LocalProtocolError("log-size") for a body over 16 KiB."""
    if len(draft.body) > MAX_BODY_BYTES:
        raise LocalProtocolError(
            f"an entry's body has at most {MAX_BODY_BYTES} bytes", code="log-size"
        )
    content = encode(
        {
            1: draft.group,
            2: draft.author,
            3: draft.position,
            4: draft.previous,
            5: sorted(draft.parents),
            6: draft.height,
            7: draft.sent_ms,
            8: int(draft.kind),
            9: draft.epoch,
            10: draft.body,
        }
    )
    return decode_entry(encode([content, sign(signed_bytes(_name(content)))]))


def signed_bytes(entry_id: bytes) -> bytes:
    """What the signature is made over."""
    return SIGNED_PREFIX + entry_id


def decode_entry(data: bytes) -> Entry:
    """Read and check an entry on its own; the signature is checked by `is_signed`.

    Raises RemoteProtocolError `cbor-...`, or "log-entry" for a form that no honest author makes.
    """
    schema = Schema.load("log/v1.cddl", "entry")
    content, _ = decode(data, schema=schema, max_bytes=MAX_ENTRY_BYTES, max_items=3)
    fields = decode(
        content,
        schema=Schema.load("log/v1.cddl", "content"),
        max_bytes=MAX_CONTENT_BYTES,
        max_items=256,
    )
    name = _name(content)
    founding = fields[8] == Kind.FOUND
    entry = Entry(
        id=name,
        group=name if founding else fields[1] or b"",
        author=fields[2],
        position=fields[3],
        previous=fields[4],
        parents=tuple(fields[5]),
        height=fields[6],
        sent_ms=fields[7],
        kind=fields[8],
        epoch=fields[9],
        body=fields[10],
        data=bytes(data),
    )
    _check_form(entry, fields[1])
    body_of(entry)
    return entry


def _check_form(entry: Entry, group: bytes | None) -> None:
    if entry.kind == Kind.FOUND:
        lone = group is None and entry.position == 0 and not entry.past and entry.height == 0
        if not lone:
            raise _bad("a founding entry follows nothing")
    elif group is None or not entry.past or not 0 < entry.height < MAX_HEIGHT:
        raise _bad("an entry names its group and follows another")
    if (entry.position == 0) != (entry.previous is None):
        raise _bad("a chain begins at position 0, and nowhere else")
    if list(entry.parents) != sorted(set(entry.parents)) or entry.previous in entry.parents:
        raise _bad("parents ascend and occur once")
    if len(entry.parents) > MAX_PARENTS or (entry.kind == Kind.MESSAGE) != (
        entry.epoch is not None
    ):
        raise _bad("a message names its epoch, and nothing else does")


def is_signed(entry: Entry) -> bool:
    """Whether the author's key made the signature. About 0.1 ms."""
    signature = entry.data[-_SIGNATURE_BYTES:]
    try:
        sodium.crypto_sign_open(signature + signed_bytes(entry.id), entry.author)
    except (BadSignatureError, ValueError, TypeError):
        return False
    return True


_BODIES: Final[dict[int, str]] = {
    Kind.FOUND: "found",
    Kind.ADMIT: "admit",
    Kind.REMOVE: "remove",
    Kind.EPOCH: "epoch",
}


def body_of(entry: Entry) -> Body:
    """The body of a control entry; None for messages, leave and kinds of later versions.

    Raises RemoteProtocolError `cbor-...` or "log-entry".
    """
    rule = _BODIES.get(entry.kind)
    if rule is None:
        if entry.kind == Kind.LEAVE and entry.body:
            raise _bad("a leave entry has no body")
        return None
    fields: Any = decode(
        entry.body, schema=Schema.load("log/v1.cddl", rule), max_bytes=MAX_BODY_BYTES
    )
    match entry.kind:
        case Kind.FOUND:
            return Found(fields[1], fields[2])
        case Kind.ADMIT:
            if fields[3] == 0:
                raise _bad("level 0 is the founder's")
            check_member_key(fields[1])
            return Admit(fields[1], Role(fields[2]), fields[3])
        case Kind.REMOVE:
            if fields[2] is not None and fields[2] not in entry.past:
                raise _bad("the last entry kept is a parent of the removal")
            return Remove(fields[1], fields[2])
        case _:
            sealed = tuple((key, box) for key, box in fields[2])
            members = [key for key, _ in sealed]
            if members != sorted(set(members)):
                raise _bad("members of an epoch ascend and occur once")
            return EpochKeySet(fields[1], sealed)


def check_member_key(key: bytes) -> None:
    """Raise RemoteProtocolError("log-key") for a key that nobody can seal to: no such point."""
    try:
        sodium.crypto_sign_ed25519_pk_to_curve25519(key)
    except CryptoError as exc:
        raise RemoteProtocolError("not an Ed25519 public key", code="log-key") from exc


def encode_body(body: Found | Admit | Remove | EpochKeySet) -> bytes:
    """The bytes of a control entry's body."""
    match body:
        case Found():
            return encode({1: body.name, 2: body.nonce})
        case Admit():
            return encode({1: body.member, 2: int(body.role), 3: body.level})
        case Remove():
            return encode({1: body.member, 2: body.last})
        case EpochKeySet():
            return encode({1: body.commitment, 2: [list(each) for each in body.sealed]})


@dataclass(frozen=True, slots=True)
class ForkProof:
    """Two entries that one author signed for one position: nobody else can make this."""

    first: bytes
    second: bytes

    def culprit(self) -> tuple[bytes, bytes, int]:
        """(group, author, position), from nothing but these bytes.

        Raises RemoteProtocolError("log-proof") when they prove nothing.
        """
        one, other = decode_entry(self.first), decode_entry(self.second)
        same = (one.group, one.author, one.position) == (other.group, other.author, other.position)
        if not same or one.id == other.id or not (is_signed(one) and is_signed(other)):
            raise RemoteProtocolError("not a proof of a fork", code="log-proof")
        return one.group, one.author, one.position


def _name(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _bad(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"not an entry: {what}", code="log-entry")
