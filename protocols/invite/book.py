"""Invites, joins and contacts of one peer as a value: what may happen to them, and their file.

Pure: times are told, in milliseconds since 1970. Spec: specs/invite/invite-v1.md sections 7 and 8.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from fogp2p.addresses import Multiaddr, parse_address
from fogp2p.codec import Schema, decode, encode
from fogp2p.errors import LimitExceeded, RemoteProtocolError
from fogp2p.ids import PeerId

from .codes import Code, Kind, Link, Words
from .config import (
    CARD_ADDRESSES,
    MAX_CONTACTS,
    MAX_FILE_BYTES,
    MAX_FINISHED,
    MAX_GUESSES,
    MAX_JOINS,
    MAX_OPEN,
    MAX_PAIRINGS,
    RESUME_S,
    WORDS,
)
from .errors import NoSuchInvite
from .messages import Contact, Reason, printable_name

__all__ = ["Book", "InviteRecord", "JoinRecord", "Known", "Secret", "Stage", "decode_book"]

Secret = tuple[str, ...] | bytes
_RESUME_MS: Final = int(RESUME_S * 1000)


class Stage(enum.Enum):
    """How far an invite or a join is."""

    SEARCHING = "searching"
    INVITED = "invited"
    SEEN = "seen"
    ACCEPTED = "accepted"
    STORED = "stored"
    VERIFIED = "verified"
    WRONG_GUESS = "wrong-guess"
    REFUSED = "refused"
    EXPIRED = "expired"
    BURNT = "burnt"
    CANCELLED = "cancelled"


_LIVE: Final = frozenset({Stage.INVITED, Stage.ACCEPTED, Stage.STORED})
# What a peer that comes too late is told.
_TOO_LATE: Final = {
    Stage.VERIFIED: Reason.USED,
    Stage.EXPIRED: Reason.EXPIRED,
    Stage.BURNT: Reason.BURNT,
    Stage.CANCELLED: Reason.EXPIRED,
}


@dataclass(frozen=True, slots=True)
class InviteRecord:
    """One invite. `secret` is None once it is over; `peer` is who has it."""

    id: str
    nameplate: int
    kind: Kind
    secret: Secret | None = field(repr=False)
    name: str
    made_ms: int
    expires_ms: int
    stage: Stage = Stage.INVITED
    wrong: int = 0
    peer: PeerId | None = None

    @property
    def is_live(self) -> bool:
        """Whether a pairing may still begin, for some peer."""
        return self.stage in _LIVE

    @property
    def guesses_left(self) -> int:
        """How many wrong guesses it survives, and one; a link does not wear out."""
        return max(0, MAX_GUESSES - self.wrong) if self.kind is Kind.WORDS else MAX_GUESSES

    def code(self, peer: PeerId, addresses: tuple[Multiaddr, ...]) -> Code | None:
        """What to give away, as made by `peer`, reachable at `addresses`; None once it is over."""
        return _code(self, peer, addresses)


@dataclass(frozen=True, slots=True)
class JoinRecord:
    """One code we were given. `peer` is its inviter, once known."""

    id: str
    nameplate: int
    kind: Kind
    secret: Secret = field(repr=False)
    name: str
    made_ms: int
    expires_ms: int
    stage: Stage = Stage.SEARCHING
    peer: PeerId | None = None
    addresses: tuple[Multiaddr, ...] = ()
    begun: int = 0

    def code(self) -> Code:
        """The code as it was given."""
        found = _code(self, self.peer, self.addresses)
        assert found is not None, "a join has its secret to the end"
        return found


@dataclass(frozen=True, slots=True)
class Known:
    """A contact: `peer` proved to have the code (or to be who made it)."""

    peer: PeerId
    name: str
    how: Kind
    since_ms: int
    addresses: tuple[Multiaddr, ...] = ()


def _code(
    record: InviteRecord | JoinRecord, peer: PeerId | None, addresses: tuple[Multiaddr, ...]
) -> Code | None:
    match record.secret:
        case None:
            return None
        case bytes() as secret:
            assert peer is not None, "a link names its inviter"
            return Link(record.nameplate, peer, secret, addresses)
        case words:
            return Words(record.nameplate, words)


class Book:
    """All of them. Methods change it; whoever calls them writes it down."""

    def __init__(self) -> None:
        self.latest_ms = 0
        self.invites: dict[str, InviteRecord] = {}
        self.joins: dict[str, JoinRecord] = {}
        self.contacts: dict[PeerId, Known] = {}

    # --- inviting --------------------------------------------------------------------------------

    def add_invite(self, record: InviteRecord) -> None:
        """Raises LimitExceeded when too many are open."""
        if sum(each.is_live for each in self.invites.values()) >= MAX_OPEN:
            raise LimitExceeded(
                f"{MAX_OPEN} invites are open already",
                hint="cancel one: fogp2p invite --list, fogp2p invite --cancel ID",
            )
        self.invites[record.id] = record
        self._prune()

    def nameplates(self) -> frozenset[int]:
        """Numbers that are in use, or were until lately."""
        return frozenset(record.nameplate for record in self.invites.values())

    def judge(self, nameplate: int, peer: PeerId, now_ms: int) -> InviteRecord | Reason:
        """Whether `peer` may pair on that number now: the invite, or why not."""
        records = [each for each in self.invites.values() if each.nameplate == nameplate]
        if not records:
            return Reason.UNKNOWN
        record = next((each for each in records if each.is_live), records[-1])
        if not record.is_live:
            return _TOO_LATE[record.stage]
        if record.stage is Stage.INVITED:
            return record if now_ms < record.expires_ms else Reason.EXPIRED
        if record.peer != peer:
            return Reason.USED
        return record if now_ms < record.expires_ms + _RESUME_MS else Reason.EXPIRED

    def wrong_guess(self, id: str) -> int:
        """Count one; return how many are left. An open invite in words is burnt with the last."""
        record = self.invite(id)
        record = replace(record, wrong=min(record.wrong + 1, 2**32 - 1))
        if record.stage is Stage.INVITED and record.guesses_left == 0:
            record = replace(record, stage=Stage.BURNT, secret=None)
        self.invites[id] = record
        return record.guesses_left

    def claim(self, id: str, peer: PeerId, now_ms: int) -> Reason | None:
        """The invite is `peer`'s from now on; or why it cannot be."""
        record = self.invite(id)
        verdict = self.judge(record.nameplate, peer, now_ms)
        if isinstance(verdict, Reason):
            return verdict
        if verdict.id != id:  # cancelled, and its number given to another
            return Reason.EXPIRED
        if record.stage is Stage.INVITED:
            self.invites[id] = replace(record, stage=Stage.ACCEPTED, peer=peer)
        return None

    def stored(self, id: str, contact: Contact, now_ms: int) -> Known:
        """The joiner's contact is ours. Raises LimitExceeded when there are too many."""
        record = self.invite(id)
        known = self._meet(contact, record.name, record.kind, now_ms)
        if record.stage is Stage.ACCEPTED:
            self.invites[id] = replace(record, stage=Stage.STORED)
        return known

    def verified(self, id: str) -> None:
        """The joiner has stored ours: nothing is missing any more, and the secret goes."""
        record = self.invite(id)
        if record.is_live:
            self.invites[id] = replace(record, stage=Stage.VERIFIED, secret=None)

    def invite(self, id: str) -> InviteRecord:
        """Raises NoSuchInvite."""
        try:
            return self.invites[id]
        except KeyError:
            raise _none(id) from None

    # --- joining ---------------------------------------------------------------------------------

    def add_join(self, record: JoinRecord) -> JoinRecord:
        """Remember a code; the same code again is the same join. Raises LimitExceeded."""
        for each in self.joins.values():
            if (each.nameplate, each.secret) == (record.nameplate, record.secret):
                return each
        if len(self.joins) >= MAX_JOINS:
            raise LimitExceeded(
                f"{MAX_JOINS} joins are pending already",
                hint="cancel one: fogp2p join --list, fogp2p join --cancel ID",
            )
        self.joins[record.id] = record
        return record

    def begin(self, id: str) -> bool:
        """Count a pairing that gives an unproven inviter a guess; False when there were enough."""
        record = self.join(id)
        if record.kind is Kind.LINK or record.stage is Stage.ACCEPTED:
            return True
        if record.begun >= MAX_PAIRINGS:
            return False
        self.joins[id] = replace(record, begun=record.begun + 1)
        return True

    def accepted(self, id: str, contact: Contact) -> None:
        """The inviter is proven: from now on this join is with no other peer."""
        record = self.join(id)
        name = record.name or contact.name
        addresses = contact.addresses[:CARD_ADDRESSES]
        self.joins[id] = replace(
            record, stage=Stage.ACCEPTED, peer=contact.peer, name=name, addresses=addresses
        )

    def joined(self, id: str, now_ms: int) -> Known:
        """The inviter has stored our contact: its is ours, and the join is over.

        Raises LimitExceeded when there are too many contacts.
        """
        record = self.join(id)
        assert record.peer is not None, "only an accepted join gets here"
        contact = Contact(record.name, record.peer, record.addresses)
        known = self._meet(contact, record.name, record.kind, now_ms)
        del self.joins[id]
        return known

    def join(self, id: str) -> JoinRecord:
        """Raises NoSuchInvite."""
        try:
            return self.joins[id]
        except KeyError:
            raise _none(id) from None

    # --- both ------------------------------------------------------------------------------------

    def cancel(self, id: str) -> None:
        """End an invite or a join. Contacts stay. Raises NoSuchInvite."""
        if self.joins.pop(id, None) is not None:
            return
        record = self.invites.get(id)
        if record is None or not record.is_live:
            raise _none(id)
        self.invites[id] = replace(record, stage=Stage.CANCELLED, secret=None)

    def forget(self, peer: PeerId) -> None:
        """Drop a contact. Raises NoSuchInvite."""
        if self.contacts.pop(peer, None) is None:
            raise NoSuchInvite(f"{peer.short} is no contact", hint="fogp2p contacts")

    def expire(self, now_ms: int) -> tuple[InviteRecord | JoinRecord, ...]:
        """End what is over at `now_ms`; return what that changed."""
        changed: list[InviteRecord | JoinRecord] = []
        for record in tuple(self.invites.values()):
            stage = _stage_at(record, now_ms)
            if stage is not record.stage:
                after = self.invites[record.id] = replace(record, stage=stage, secret=None)
                changed.append(after)
        for join in tuple(self.joins.values()):
            if now_ms >= join.expires_ms:
                del self.joins[join.id]
                changed.append(replace(join, stage=Stage.EXPIRED))
        self._prune()
        return tuple(changed)

    def next_ms(self) -> int | None:
        """When `expire` has something to do at the latest."""
        times = [each.expires_ms for each in self.joins.values()]
        for record in self.invites.values():
            if record.is_live:
                resume = 0 if record.stage is Stage.INVITED else _RESUME_MS
                times.append(record.expires_ms + resume)
        return min(times, default=None)

    def _meet(self, contact: Contact, name: str, how: Kind, now_ms: int) -> Known:
        if contact.peer not in self.contacts and len(self.contacts) >= MAX_CONTACTS:
            raise LimitExceeded(f"there are {MAX_CONTACTS} contacts", hint="forget some of them")
        before = self.contacts.get(contact.peer)
        since = before.since_ms if before is not None else now_ms
        addresses = contact.addresses[:CARD_ADDRESSES]
        called = printable_name(name or contact.name)
        known = self.contacts[contact.peer] = Known(contact.peer, called, how, since, addresses)
        return known

    def _prune(self) -> None:
        finished = [each for each in self.invites.values() if not each.is_live]
        for record in finished[: max(0, len(finished) - MAX_FINISHED)]:
            del self.invites[record.id]

    def encode(self) -> bytes:
        """The file."""
        return encode(
            {
                1: 1,
                2: self.latest_ms,
                3: [_invite(each) for each in self.invites.values()],
                4: [_join(each) for each in self.joins.values()],
                5: [_known(each) for each in self.contacts.values()],
            }
        )


def _none(id: str) -> NoSuchInvite:
    return NoSuchInvite(f"there is no {id!r}", hint="fogp2p invite --list")


def _stage_at(record: InviteRecord, now_ms: int) -> Stage:
    if record.stage is Stage.INVITED and now_ms >= record.expires_ms:
        return Stage.EXPIRED
    if record.is_live and now_ms >= record.expires_ms + _RESUME_MS:
        # With a contact stored nothing is missing but the joiner's last word.
        return Stage.VERIFIED if record.stage is Stage.STORED else Stage.EXPIRED
    return record.stage


# --- the file ------------------------------------------------------------------------------------


def decode_book(data: bytes) -> Book:
    """Raises RemoteProtocolError for anything that `Book.encode` would not write."""
    fields = decode(
        data,
        schema=Schema.load("invite/v1.cddl", "book"),
        max_bytes=MAX_FILE_BYTES,
        max_items=MAX_FILE_BYTES,
    )
    book = Book()
    book.latest_ms = fields[2]
    book.invites = {each[1]: _read_invite(each) for each in fields[3]}
    book.joins = {each[1]: _read_join(each) for each in fields[4]}
    records: list[InviteRecord | JoinRecord] = [*book.invites.values(), *book.joins.values()]
    if not all(map(_makes_sense, records)):
        raise RemoteProtocolError("records that contradict themselves", code="invite-book")
    book.contacts = {known.peer: known for known in map(_read_known, fields[5])}
    return book


def _makes_sense(record: InviteRecord | JoinRecord) -> bool:
    """What the schema cannot say: the secret fits its kind, and whoever must be known is."""
    if isinstance(record, JoinRecord):
        needs_peer = record.kind is Kind.LINK or record.stage is Stage.ACCEPTED
        needs_secret = True
    else:
        needs_peer = record.stage in (Stage.ACCEPTED, Stage.STORED, Stage.VERIFIED)
        needs_secret = record.is_live
    if record.secret is None:
        return not needs_secret
    fits = isinstance(record.secret, bytes) == (record.kind is Kind.LINK)
    whole = isinstance(record.secret, bytes) or len(record.secret) == WORDS
    return fits and whole and (record.peer is not None or not needs_peer)


def _secret(secret: Secret | None) -> Any:
    return list(secret) if isinstance(secret, tuple) else secret


def _read_secret(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _written(addresses: Iterable[Multiaddr]) -> list[bytes]:
    return [address.to_bytes() for address in addresses]


def _read_addresses(value: Any) -> tuple[Multiaddr, ...]:
    return tuple(map(parse_address, value))


def _read_peer(value: Any) -> PeerId | None:
    return PeerId.from_bytes(value) if value is not None else None


def _invite(record: InviteRecord) -> dict[int | str, Any]:
    return {
        1: record.id,
        2: record.nameplate,
        3: record.kind.value,
        4: _secret(record.secret),
        5: record.name,
        6: [record.made_ms, record.expires_ms],
        7: record.stage.value,
        8: record.wrong,
        9: record.peer.raw if record.peer is not None else None,
    }


def _read_invite(fields: Any) -> InviteRecord:
    return InviteRecord(
        fields[1],
        fields[2],
        Kind(fields[3]),
        _read_secret(fields[4]),
        fields[5],
        fields[6][0],
        fields[6][1],
        Stage(fields[7]),
        fields[8],
        _read_peer(fields[9]),
    )


def _join(record: JoinRecord) -> dict[int | str, Any]:
    return {
        1: record.id,
        2: record.nameplate,
        3: record.kind.value,
        4: _secret(record.secret),
        5: record.name,
        6: [record.made_ms, record.expires_ms],
        7: record.stage.value,
        8: record.peer.raw if record.peer is not None else None,
        9: _written(record.addresses),
        10: record.begun,
    }


def _read_join(fields: Any) -> JoinRecord:
    return JoinRecord(
        fields[1],
        fields[2],
        Kind(fields[3]),
        _read_secret(fields[4]),
        fields[5],
        fields[6][0],
        fields[6][1],
        Stage(fields[7]),
        _read_peer(fields[8]),
        _read_addresses(fields[9]),
        fields[10],
    )


def _known(known: Known) -> dict[int | str, Any]:
    return {
        1: known.peer.raw,
        2: known.name,
        3: known.how.value,
        4: known.since_ms,
        5: _written(known.addresses),
    }


def _read_known(fields: Any) -> Known:
    peer = PeerId.from_bytes(fields[1])
    return Known(peer, fields[2], Kind(fields[3]), fields[4], _read_addresses(fields[5]))
