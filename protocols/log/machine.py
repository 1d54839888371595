"""A replica of one group's log as a pure machine.

Theory of operation: an entry is *placed* once all its parents are: checked against them, checked
that its author was permitted to write it by what the entry itself follows, given the next number.
Placing is delivering: numbers only rise, parents always have smaller ones, and an entry is placed
once. Entries that are early wait in `Pending`. What an entry's author may do can change later, when
a removal or a fork comes to light: the entry stays where it is and its verdict changes, on every
replica in the same way, because verdicts follow from the set of entries alone (`membership`).

No I/O, no clock, no chance: signatures are verified by the caller before `ingest`.
Spec: specs/log/log-v1.md sections 5 to 7.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fogp2p.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError

from .config import (
    MAX_CONTROLS,
    MAX_GROUP_ENTRIES,
    MAX_HEADS,
    MAX_HIDDEN_PER_AUTHOR,
    MAX_MEMBERS,
    MAX_NAME_BYTES,
    MAX_PARENTS,
)
from .entries import Admit, Draft, Entry, Found, Kind, Remove, body_of, encode_body
from .membership import Authority, Control, Member, Node, Verdict
from .pending import Pending
from .reconcile import RangeIndex

__all__ = [
    "Fork",
    "ForkFound",
    "LogEvent",
    "MembersChanged",
    "Placed",
    "Replica",
    "VerdictChanged",
    "found_draft",
]

# Authorities of masks that were asked about last: writers share a past for a long time.
_CACHED_AUTHORITIES: Final = 64
_REMEMBERED_REFUSALS: Final = 4_096


@dataclass(frozen=True, slots=True)
class Fork:
    """An author signed two entries for one position. `first` and `second` are their ids."""

    author: bytes
    position: int
    first: bytes
    second: bytes


@dataclass(frozen=True, slots=True)
class Placed:
    """An entry was delivered, as number `number` of this replica."""

    entry: Entry
    number: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class ForkFound:
    """An author is proved to have forked, at this position or lower than known so far."""

    fork: Fork


@dataclass(frozen=True, slots=True)
class VerdictChanged:
    """An entry delivered earlier stands no longer, or stands again."""

    id: bytes
    number: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class MembersChanged:
    """Who is a member, or what members may do, changed."""


LogEvent = Placed | ForkFound | VerdictChanged | MembersChanged


class Replica:
    """Everything placed of one group."""

    def __init__(self, group: bytes) -> None:
        self.group: Final = group
        self.name = ""
        self.index: Final = RangeIndex()
        self.pending: Final = Pending()
        self.forks: dict[bytes, Fork] = {}
        self.refused: OrderedDict[bytes, None] = OrderedDict()
        """Entries that were right and found no room: not asked for again while remembered."""
        self._nodes: dict[bytes, Node] = {}
        self._heads: dict[bytes, Node] = {}
        self._first_at: dict[bytes, list[bytes]] = {}
        self._by_author: dict[bytes, list[Node]] = {}
        self._hidden: dict[bytes, int] = {}
        self._controls: list[Control] = []
        self._fork_positions: dict[bytes, int] = {}
        self._authority = self._authority_of(self._controls)
        self._effects: dict[int, int] = {}
        self._members: dict[bytes, Member] = {}
        self._cache: OrderedDict[int, Authority] = OrderedDict()
        self._whole: bytes | None = None

    # --- looking at it ---------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, name: bytes) -> bool:
        return name in self._nodes

    def node(self, name: bytes) -> Node | None:
        """What is remembered of an entry."""
        return self._nodes.get(name)

    def is_known(self, name: bytes) -> bool:
        """Whether an entry need not be asked for: placed, waiting for parents, or refused."""
        return name in self._nodes or name in self.pending or name in self.refused

    def stands(self, name: bytes) -> bool:
        """Whether an entry is here and stands."""
        node = self._nodes.get(name)
        return node is not None and node.verdict is Verdict.STANDS

    def verdicts(self) -> dict[bytes, Verdict]:
        """How every entry stands. Equal sets of entries give equal answers."""
        return {name: node.verdict for name, node in self._nodes.items()}

    @property
    def members(self) -> dict[bytes, Member]:
        """Who may write now, by key."""
        return self._members

    @property
    def fingerprint(self) -> bytes:
        """32 bytes that are equal for equal sets of entries."""
        if self._whole is None:
            self._whole = self.index.whole()
        return self._whole

    def heads(self) -> tuple[bytes, ...]:
        """Entries that nothing follows yet, ascending; the 64 highest when there are more."""
        highest = sorted(self._heads.values(), key=lambda node: (-node.height, node.id))
        return tuple(sorted(node.id for node in highest[:MAX_HEADS]))

    def in_order(self, names: Iterable[bytes]) -> list[bytes]:
        """Those of `names` that are here, parents first."""
        nodes = [self._nodes[name] for name in names if name in self._nodes]
        return [node.id for node in sorted(nodes, key=lambda node: (node.height, node.id))]

    # --- writing ---------------------------------------------------------------------------------

    def draft(
        self,
        author: bytes,
        kind: Kind,
        body: bytes,
        *,
        epoch: bytes | None = None,
        sent_ms: int = 0,
        also: Iterable[bytes] = (),
    ) -> Draft:
        """The next entry of `author`: follows what stands of everything here, and `also`.

        Raises LocalProtocolError "log-forked" when this author's chain has forked, and
        "log-permission" when the author is no member now.
        """
        if author in self.forks:
            raise LocalProtocolError(
                "this key signed two entries for one position", code="log-forked"
            )
        if author not in self._members:
            raise LocalProtocolError("not a member of this group", code="log-permission")
        chain = self._first_at.get(author, [])
        previous = self._nodes[chain[-1]] if chain else None
        parents = self._choose_parents(author, previous, list(also))
        heights = [self._nodes[name].height for name in parents]
        if previous is not None:
            heights.append(previous.height)
        return Draft(
            group=self.group,
            author=author,
            position=len(chain),
            previous=previous.id if previous is not None else None,
            parents=tuple(sorted(parents)),
            height=max(heights) + 1,
            sent_ms=sent_ms,
            kind=kind,
            epoch=epoch,
            body=body,
        )

    def _choose_parents(
        self, author: bytes, previous: Node | None, also: list[bytes]
    ) -> list[bytes]:
        """Heads that stand, highest first; an admission of the author when no head follows one."""
        chosen = dict.fromkeys(also)
        admissions = self._authority.open_admissions(author)
        stand = [n for n in self._heads.values() if n.verdict is Verdict.STANDS]
        stand.sort(key=lambda node: (-node.height, node.id))
        past = previous.past if previous is not None else 0
        for node in stand[:MAX_PARENTS]:
            past |= node.past | node.bit
        if admissions and not any(past & each.bit for each in admissions):
            chosen[admissions[0].node.id] = None
        for node in stand:
            if len(chosen) < MAX_PARENTS:
                chosen[node.id] = None
        if previous is not None:
            chosen.pop(previous.id, None)
        return list(chosen)

    def latest(self, author: bytes) -> bytes | None:
        """The last entry of an author that stands, on the branch met first."""
        for name in reversed(self._first_at.get(author, ())):
            if self._nodes[name].verdict is Verdict.STANDS:
                return name
        return None

    def next_position(self, author: bytes) -> int:
        """The position of the author's next entry."""
        return len(self._first_at.get(author, ()))

    # --- taking entries --------------------------------------------------------------------------

    def ingest(self, entry: Entry) -> list[LogEvent]:
        """Place an entry whose signature was verified, and those that waited for it.

        Returns what happened, in order; nothing for an entry known already, or one that has to
        wait. Raises RemoteProtocolError "log-group", "log-entry" or "log-member" for one that is
        wrong for ever, and LimitExceeded when the log is full or its author has too many hidden
        entries. Then nothing was changed.
        """
        if entry.group != self.group:
            raise RemoteProtocolError("entry of another group", code="log-group")
        if entry.id in self._nodes:
            return []
        if any(name not in self._nodes for name in entry.past):
            known = self._authority.knows(entry.author)
            self.pending.add(entry, is_stranger=not known)
            return []
        events: list[LogEvent] = []
        self.pending.remove(entry.id)
        self._place(entry, events)
        self._place_released(entry.id, events)
        return events

    def _place_released(self, name: bytes, events: list[LogEvent]) -> None:
        """Place what waited for `name`, and so on; worthless ones are forgotten."""
        queue = [name]
        while queue:
            for entry in self.pending.released_by(queue.pop(0)):
                if entry.id in self._nodes or any(p not in self._nodes for p in entry.past):
                    continue
                self.pending.remove(entry.id)
                try:
                    self._place(entry, events)
                except (RemoteProtocolError, LimitExceeded):
                    continue  # whoever sent it is long unknown
                queue.append(entry.id)

    def _place(self, entry: Entry, events: list[LogEvent]) -> None:
        body = body_of(entry)
        node = self._checked(entry, body)
        is_control = entry.kind <= Kind.LEAVE
        node.verdict = self._authority.verdict(node, _level(body))
        fork = self._fork_with(node)
        self._check_room(node)
        self._keep(node, entry)
        if is_control:
            assert body is None or isinstance(body, Found | Admit | Remove)
            node.bit = 1 << len(self._controls)
            self._controls.append(Control(node, body))
            if isinstance(body, Found):
                self.name = body.name
        placed_at = len(events)
        if fork is not None:
            self.forks[node.author] = fork
            self._fork_positions[node.author] = fork.position
            events.append(ForkFound(fork))
        if is_control or fork is not None:
            self._judge_again(node, events, forked=fork is not None)
        if node.verdict is not Verdict.STANDS:
            self._hidden[node.author] = self._hidden.get(node.author, 0) + 1
        events.insert(placed_at, Placed(entry, node.number, node.verdict))

    def _check_room(self, node: Node) -> None:
        hidden = self._hidden.get(node.author, 0)
        is_hidden = node.verdict is not Verdict.STANDS
        if len(self._nodes) < MAX_GROUP_ENTRIES and not (
            is_hidden and hidden >= MAX_HIDDEN_PER_AUTHOR
        ):
            return
        self.refused[node.id] = None
        if len(self.refused) > _REMEMBERED_REFUSALS:
            self.refused.popitem(last=False)
        if is_hidden:
            raise LimitExceeded("too many entries of an author who is removed or muted")
        raise LimitExceeded(
            f"the log holds its {MAX_GROUP_ENTRIES} entries", hint="found a new group"
        )

    def _checked(self, entry: Entry, body: object) -> Node:
        """The node of an entry, if it follows the rules by what it follows itself."""
        parents = [self._nodes[name] for name in entry.past]
        past = 0
        for parent in parents:
            past |= parent.past | parent.bit
        if parents and past == parents[0].past:
            past = parents[0].past  # one integer for many nodes
        node = Node(
            entry.id, entry.author, entry.position, entry.previous, entry.height, entry.kind, past
        )
        self._check_place(entry, parents, body)
        if past.bit_count() >= MAX_CONTROLS:
            raise RemoteProtocolError("too many control entries", code="log-entry")
        authority = self._authority_at(past)
        if isinstance(body, Admit) and len(authority.members()) >= MAX_MEMBERS:
            raise RemoteProtocolError("more members than a group has", code="log-member")
        if authority.verdict(node, _level(body)) is not Verdict.STANDS:
            raise RemoteProtocolError(
                "the author was not permitted to write this, by what it follows",
                code="log-member",
            )
        return node

    def _check_place(self, entry: Entry, parents: list[Node], body: object) -> None:
        if not parents and entry.id != self.group:
            raise RemoteProtocolError("an entry that follows nothing", code="log-entry")
        height = 1 + max((parent.height for parent in parents), default=-1)
        if entry.height != height:
            raise RemoteProtocolError("the height is not that of its place", code="log-entry")
        if entry.previous is not None:
            before = self._nodes[entry.previous]
            if before.author != entry.author or before.position + 1 != entry.position:
                raise RemoteProtocolError("not the next of its author's chain", code="log-entry")
        if not isinstance(body, Remove) or body.last is None:
            return
        if self._nodes[body.last].author != body.member:
            raise RemoteProtocolError("the entry kept is somebody else's", code="log-entry")

    def _fork_with(self, node: Node) -> Fork | None:
        """The fork this node proves, if it is the lowest known of its author."""
        chain = self._first_at.get(node.author, [])
        if node.position >= len(chain):
            return None
        known = self._fork_positions.get(node.author)
        if known is not None and known <= node.position:
            return None
        return Fork(node.author, node.position, chain[node.position], node.id)

    def _keep(self, node: Node, entry: Entry) -> None:
        node.number = len(self._nodes) + 1
        chain = self._first_at.setdefault(node.author, [])
        node.author = self._by_author[node.author][0].author if chain else node.author
        if node.position == len(chain):
            chain.append(node.id)
        self._nodes[node.id] = node
        self._by_author.setdefault(node.author, []).append(node)
        for name in entry.past:
            self._heads.pop(name, None)
        self._heads[node.id] = node
        self.index.add(entry.key)
        self._whole = None

    # --- verdicts --------------------------------------------------------------------------------

    def _authority_of(self, controls: Iterable[Control]) -> Authority:
        return Authority(controls, self._on_chain, dict(self._fork_positions))

    def _authority_at(self, past: int) -> Authority:
        """Authority from an entry's own past: what it does not follow does not count."""
        found = self._cache.get(past)
        if found is None:
            controls = [each for each in self._controls if past & each.bit]
            found = self._cache[past] = Authority(controls, self._on_chain, {})
            if len(self._cache) > _CACHED_AUTHORITIES:
                self._cache.popitem(last=False)
        self._cache.move_to_end(past)
        return found

    def _on_chain(self, last: bytes, node: Node) -> bool:
        at = self._nodes.get(last)
        if at is None or at.author != node.author or node.position > at.position:
            return False
        forked_at = self._fork_positions.get(node.author)
        if forked_at is None or node.position < forked_at:
            return True
        while at.position > node.position:
            assert at.previous is not None
            at = self._nodes[at.previous]
        return at.id == node.id

    def _judge_again(self, new: Node, events: list[LogEvent], *, forked: bool) -> None:
        """A control or a fork came: tell which entries stand differently now.

        An author's entries are touched by its fork, by a removal of it that is new or rests on
        something else now, and by an admission of it that stands differently. A new admission
        touches nothing: nothing follows it yet.
        """
        before = self._effects
        self._authority = self._authority_of(self._controls)
        after = self._effects = self._authority.effects()
        touched = {new.author} if forked else set()
        for control in self._controls:
            if before.get(control.bit) != after[control.bit]:  # also for a new one
                is_new_admission = control.node is new and control.admits is not None
                name = control.removes or control.admits
                if name is not None and not is_new_admission:
                    touched.add(name)
        levels = {
            each.node.id: each.body.level for each in self._controls if isinstance(each.body, Admit)
        }
        for author in sorted(touched):
            for node in self._by_author.get(author, ()):
                if node is not new:
                    self._judge(node, levels.get(node.id), events)
        new.verdict = self._authority.verdict(new, levels.get(new.id))
        members = self._authority.members()
        if members != self._members:
            self._members = members
            events.append(MembersChanged())

    def _judge(self, node: Node, level: int | None, events: list[LogEvent]) -> None:
        verdict = self._authority.verdict(node, level)
        if verdict is node.verdict:
            return
        old, node.verdict = node.verdict, verdict
        if Verdict.STANDS in (old, verdict):
            step = 1 if old is Verdict.STANDS else -1
            self._hidden[node.author] = self._hidden.get(node.author, 0) + step
        events.append(VerdictChanged(node.id, node.number, verdict))


def _level(body: object) -> int | None:
    return body.level if isinstance(body, Admit) else None


def found_draft(author: bytes, name: str, nonce: bytes, *, sent_ms: int = 0) -> Draft:
    """The entry that makes a group. `nonce`: 16 fresh random bytes.

    Raises LocalProtocolError("log-name") for a name over 64 bytes.
    """
    if len(name.encode("utf-8")) > MAX_NAME_BYTES:
        raise LocalProtocolError(
            f"a group's name has at most {MAX_NAME_BYTES} bytes", code="log-name"
        )
    body = encode_body(Found(name, nonce))
    return Draft(None, author, 0, None, (), 0, sent_ms, Kind.FOUND, None, body)
