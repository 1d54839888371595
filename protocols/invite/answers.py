"""What the local API is asked and answers about invites (docs/reference/api.md)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from fogp2p.schema import about, named

from .book import Known
from .config import DEFAULT_TTL_S, MAX_NAME_CHARACTERS, MAX_TTL_S, MIN_TTL_S
from .invites import Invite, Pending
from .search import Candidate

__all__ = [
    "ContactView",
    "ContactsAnswer",
    "InviteAnswer",
    "InviteRequest",
    "InviteView",
    "InvitesAnswer",
    "JoinAnswer",
    "JoinOffer",
    "JoinPending",
    "JoinRequest",
    "OffersAnswer",
    "PendingAnswer",
    "contact_of",
    "contacts_of",
    "invite_of",
    "invites_of",
    "join_of",
    "offers_of",
    "pending_of",
]


@dataclass(frozen=True, slots=True)
class InviteRequest:
    """What to make."""

    kind: Literal["words", "link"] = field(
        default="words", metadata=about("words to say, or a link to paste and scan")
    )
    ttl_s: float = field(
        default=DEFAULT_TTL_S,
        metadata=about("how long it lives", minimum=MIN_TTL_S, maximum=MAX_TTL_S),
    )
    name: str = field(default="", metadata=about("whom it is for", maxLength=MAX_NAME_CHARACTERS))


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """What was given."""

    code: str = field(repr=False, metadata=about("words or a link, as typed", maxLength=512))
    name: str = field(
        default="",
        metadata=about("what to call the inviter; its own name if empty", maxLength=64),
    )
    timeout_s: float = field(
        default=10.0,
        metadata=about("how long to wait; the join goes on behind it", minimum=0.01, maximum=60),
    )


@dataclass(frozen=True, slots=True)
class InviteView:
    """An invite as its owner sees it."""

    id: str
    kind: str = field(metadata=about("words or link"))
    code: str | None = field(repr=False, metadata=about("what to give away; null once it is over"))
    nameplate: int = field(metadata=about("the number in front", minimum=1, maximum=999))
    name: str = field(metadata=about("whom it is for"))
    stage: str = field(
        metadata=about("invited, seen, accepted, verified, expired, burnt or cancelled")
    )
    peer_id: str | None = field(metadata=about("who has it, or is trying"))
    expires_in_s: float = field(metadata=about("0 once it is over", minimum=0))
    wrong_guesses: int = field(metadata=about("how often it was tried with another code"))
    guesses_left: int = field(metadata=about("a link does not wear out: always 3"))


@named("invite/1")
@dataclass(frozen=True, slots=True)
class InviteAnswer(InviteView):
    """One invite by itself."""


@named("invites/1")
@dataclass(frozen=True, slots=True)
class InvitesAnswer:
    """Open invites, and those that are over for a while; oldest first."""

    invites: tuple[InviteView, ...]


@dataclass(frozen=True, slots=True)
class ContactView:
    """A peer that was verified by a code."""

    peer_id: str
    name: str
    verified_by: str = field(metadata=about("words or link"))
    since: float = field(metadata=about("seconds since 1970 UTC"))
    addresses: tuple[str, ...]


@named("contacts/1")
@dataclass(frozen=True, slots=True)
class ContactsAnswer:
    """All contacts, oldest first."""

    contacts: tuple[ContactView, ...]


@named("join/1")
@dataclass(frozen=True, slots=True)
class JoinAnswer:
    """A join that is finished: both peers have stored the other."""

    stage: str = field(metadata=about("verified"))
    contact: ContactView


@dataclass(frozen=True, slots=True)
class JoinOffer:
    """An open invite that a peer on the LAN tells of; its words are for whoever was told them."""

    peer_id: str
    nameplate: int
    expires_in_s: int


@named("offers/1")
@dataclass(frozen=True, slots=True)
class OffersAnswer:
    """Open invites within reach."""

    offers: tuple[JoinOffer, ...]


@dataclass(frozen=True, slots=True)
class JoinPending:
    """A join that goes on by itself."""

    id: str
    kind: str
    nameplate: int
    name: str
    stage: str = field(metadata=about("searching, seen or accepted"))
    peer_id: str | None
    expires_in_s: float


@named("pending/1")
@dataclass(frozen=True, slots=True)
class PendingAnswer:
    """What is not finished on this side: invites that are open or being accepted, and joins."""

    invites: tuple[InviteView, ...]
    joins: tuple[JoinPending, ...]


def invite_of(invite: Invite) -> InviteAnswer:
    """The answer for one invite."""
    return _invite(invite, InviteAnswer)


_Shape = TypeVar("_Shape", bound=InviteView)


def _invite(invite: Invite, shape: type[_Shape]) -> _Shape:
    record = invite.record
    return shape(
        id=record.id,
        kind=record.kind.value,
        code=str(invite.code) if invite.code is not None else None,
        nameplate=record.nameplate,
        name=record.name,
        stage=invite.stage.value,
        peer_id=str(invite.peer) if invite.peer is not None else None,
        expires_in_s=invite.expires_in_s if record.is_live else 0.0,
        wrong_guesses=record.wrong,
        guesses_left=record.guesses_left,
    )


def invites_of(invites: Iterable[Invite]) -> InvitesAnswer:
    """The answer for all invites."""
    return InvitesAnswer(tuple(_invite(each, InviteView) for each in invites))


def contact_of(known: Known) -> ContactView:
    """One contact of an answer."""
    return ContactView(
        peer_id=str(known.peer),
        name=known.name,
        verified_by=known.how.value,
        since=known.since_ms / 1000,
        addresses=tuple(map(str, known.addresses)),
    )


def contacts_of(contacts: Iterable[Known]) -> ContactsAnswer:
    """The answer for all contacts."""
    return ContactsAnswer(tuple(map(contact_of, contacts)))


def join_of(known: Known) -> JoinAnswer:
    """The answer to a join that is finished."""
    return JoinAnswer("verified", contact_of(known))


def offers_of(candidates: Iterable[Candidate]) -> OffersAnswer:
    """The answer to a scan."""
    return OffersAnswer(
        tuple(JoinOffer(str(c.peer), c.nameplate, c.seconds_left) for c in candidates)
    )


def pending_of(invites: Iterable[Invite], joins: Iterable[Pending]) -> PendingAnswer:
    """The answer for what is not finished."""
    waiting = tuple(
        JoinPending(
            id=join.record.id,
            kind=join.record.kind.value,
            nameplate=join.record.nameplate,
            name=join.record.name,
            stage=join.stage.value,
            peer_id=str(join.peer) if join.peer is not None else None,
            expires_in_s=join.expires_in_s,
        )
        for join in joins
    )
    return PendingAnswer(
        tuple(_invite(each, InviteView) for each in invites if each.record.is_live), waiting
    )
