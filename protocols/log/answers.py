"""What the local API is asked and answers about groups (docs/reference/api.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from fogp2p.ids import PeerId
from fogp2p.schema import about, named

from .config import MAX_BODY_BYTES, MAX_NAME_BYTES
from .entries import Kind, Role
from .group import Delivery, Group
from .membership import Verdict

__all__ = [
    "AdmitRequest",
    "CreateRequest",
    "Entries",
    "EntriesQuery",
    "EntryView",
    "ForkView",
    "GroupAnswer",
    "GroupEntry",
    "GroupView",
    "GroupsAnswer",
    "GroupsSummary",
    "MemberView",
    "SayRequest",
    "Written",
    "entries_of",
    "group_of",
    "groups_of",
    "summary_of",
]

NameOf = Callable[[PeerId], str]
_KINDS: Final = {kind.value: kind.name.lower() for kind in Kind}


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """A new group with ourselves as its only member."""

    name: str = field(metadata=about("for people", minLength=1, maxLength=MAX_NAME_BYTES))


@dataclass(frozen=True, slots=True)
class AdmitRequest:
    """Whom to admit."""

    peer: str = field(metadata=about("a peer id", maxLength=128))
    admin: bool = field(default=False, metadata=about("it may admit and remove others, too"))


@dataclass(frozen=True, slots=True)
class SayRequest:
    """A message to all members."""

    text: str = field(metadata=about("at most 16,344 bytes of UTF-8", maxLength=MAX_BODY_BYTES))


@dataclass(frozen=True, slots=True)
class EntriesQuery:
    """Which entries."""

    since: int = field(default=0, metadata=about("only with a greater number", minimum=0))
    wait_s: int = field(
        default=0, metadata=about("seconds to wait for the first", minimum=0, maximum=60)
    )


@dataclass(frozen=True, slots=True)
class GroupView:
    """A group in numbers."""

    id: str = field(metadata=about("64 hexadecimal digits"))
    name: str = field(metadata=about("as its founder called it; empty until that entry came"))
    is_member: bool
    members: int
    entries: int
    waiting: int = field(metadata=about("entries whose predecessors have not come yet"))
    peers: int = field(metadata=about("connected peers that carry it"))
    level_peers: int = field(metadata=about("those of them that have the same entries as we"))
    forked_authors: int = field(metadata=about("authors who wrote two histories"))
    problem: str = field(metadata=about("why it takes no entries; empty when all is well"))


@dataclass(frozen=True, slots=True)
class MemberView:
    """Who may write."""

    peer_id: str
    name: str = field(metadata=about("a contact's name, or two words that follow from the id"))
    is_me: bool
    role: Literal["write", "admin"]
    level: int = field(metadata=about("0 is the founder; the smaller one can remove the greater"))


@dataclass(frozen=True, slots=True)
class ForkView:
    """An author who signed two entries for one position: from there on it is muted."""

    peer_id: str
    name: str
    position: int


@named("group/1")
@dataclass(frozen=True, slots=True)
class GroupAnswer(GroupView):
    """One group with its members, the founder first, and its forks."""

    who: tuple[MemberView, ...]
    forks: tuple[ForkView, ...]


@named("groups/1")
@dataclass(frozen=True, slots=True)
class GroupsAnswer:
    """Every group that is carried here."""

    groups: tuple[GroupView, ...]


@dataclass(frozen=True, slots=True)
class GroupsSummary:
    """Groups in numbers."""

    groups: int
    entries: int
    waiting: int
    forked_authors: int


@dataclass(frozen=True, slots=True)
class EntryView:
    """An entry. Sorted by `height`, then `id`, all peers have one order, causes first."""

    number: int = field(metadata=about("in the order they came here, causes first"))
    id: str
    author: str = field(metadata=about("a peer id"))
    name: str = field(metadata=about("a contact's name, or two words that follow from the id"))
    is_me: bool
    position: int = field(metadata=about("which of its author's entries"))
    kind: str = field(metadata=about("found, admit, remove, leave, epoch, message or a number"))
    sent_at: float = field(metadata=about("by the author's clock, seconds since 1970 UTC"))
    verdict: Verdict
    height: int
    after: tuple[str, ...] = field(metadata=about("ids of the entries it directly follows"))
    text: str | None = field(metadata=about("null: no message, not for us, or it does not stand"))


@named("group-entry/1")
@dataclass(frozen=True, slots=True)
class GroupEntry(EntryView):
    """One entry by itself: a line of `fogp2p group read --json`."""


@named("entries/1")
@dataclass(frozen=True, slots=True)
class Entries:
    """Some entries; ask again with `since` = `last` while `more`."""

    entries: tuple[EntryView, ...]
    last: int
    more: bool


@named("written/1")
@dataclass(frozen=True, slots=True)
class Written:
    """An entry is stored here, and goes to everybody who carries the group."""

    group: str
    id: str
    number: int = field(metadata=about("the newest entry's, this one or one after it"))


def _view(group: Group) -> tuple[str, str, bool, int, int, int, int, int, int, str]:
    status = group.status()
    return (
        status.id.hex(),
        status.name,
        status.is_member,
        status.members,
        status.entries,
        status.waiting,
        status.peers,
        status.level_peers,
        status.forked_authors,
        status.problem,
    )


def groups_of(groups: Iterable[Group]) -> GroupsAnswer:
    """The answer for all groups."""
    return GroupsAnswer(tuple(GroupView(*_view(group)) for group in groups))


def group_of(group: Group, me: PeerId, name_of: NameOf) -> GroupAnswer:
    """The answer for one group."""
    who = tuple(
        MemberView(
            peer_id=str(member.peer),
            name=name_of(member.peer),
            is_me=member.peer == me,
            role="admin" if member.role is Role.ADMIT else "write",
            level=member.level,
        )
        for member in group.members()
    )
    forks = tuple(ForkView(str(peer), name_of(peer), at) for peer, at in group.forks())
    return GroupAnswer(*_view(group), who=who, forks=forks)


def summary_of(groups: Iterable[Group]) -> GroupsSummary:
    """The numbers of all together."""
    found = [group.status() for group in groups]
    return GroupsSummary(
        groups=len(found),
        entries=sum(each.entries for each in found),
        waiting=sum(each.waiting for each in found),
        forked_authors=sum(each.forked_authors for each in found),
    )


def entries_of(
    found: Iterable[Delivery], me: PeerId, name_of: NameOf, since: int, newest: int
) -> Entries:
    """The answer for some entries in their order."""
    entries = tuple(
        EntryView(
            number=each.number,
            id=each.id.hex(),
            author=str(each.author),
            name=name_of(each.author),
            is_me=each.author == me,
            position=each.position,
            kind=_KINDS.get(each.kind, str(each.kind)),
            sent_at=each.sent_ms / 1_000,
            verdict=each.verdict,
            height=each.height,
            after=tuple(name.hex() for name in each.past),
            text=each.text.decode("utf-8", "replace") if each.text is not None else None,
        )
        for each in found
    )
    last = entries[-1].number if entries else since
    return Entries(entries, last, last < newest)
