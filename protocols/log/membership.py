"""Who may do what: one verdict on every replica, whatever came first. Pure.

The rule, in the order in which it is computed. Nothing here depends on clocks or on arrival.

1. *Levels.* The founder stands at level 0. Whoever is admitted stands at a level greater than that
   of the member who admitted. Only a lower number removes a higher one. Two equals cannot remove
   each other, so there are no duels to decide, and the verdicts of one level follow from the
   levels above alone: the recursion below ends.
2. *Admissions.* A member acts under an admission that lies in its entry's own past. One under which
   nothing can be done any more is never revived: a new admission makes a member anew.
3. *Removal wins.* A removal ends every admission of its target at a greater level unless the
   admission already has the removal in its past (it came after, knowingly). What the target wrote
   stands as far as the removal says so (`last`), and what it wrote on another branch does not,
   whatever that branch claims to follow: back-dating gains nothing.
4. *Forks.* From the first position for which an author signed two entries on, nothing of his stands
   but his removals: he could have made those anyway, and a fork must not bring anybody back.
   His admissions fall with him: he could have removed those members.

`Authority` computes this for a set of control entries. With those of an entry's own past it says
whether the entry was permitted at all (for ever, equally for everybody); with all that are known it
says whether the entry stands today. Spec: specs/log/log-v1.md section 6.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from .entries import Admit, Found, Kind, Remove, Role

__all__ = ["Authority", "Control", "Member", "Node", "Verdict"]

FOUNDER_LEVEL: Final = 0


class Verdict(enum.Enum):
    """How an entry stands."""

    STANDS = "stands"
    REMOVED = "removed"  # its author's membership had ended, or was never valid
    MUTED = "muted"  # its author forked at this position or before


@dataclass(slots=True)
class Node:
    """What is remembered of an entry.

    Each control entry has a bit of its own, other entries 0; `past` are the bits of all control
    entries it follows. Bits differ between replicas, what they say does not. `number` counts the
    entries of this replica in the order of delivery, from 1.
    """

    id: bytes
    author: bytes
    position: int
    previous: bytes | None
    height: int
    kind: int
    past: int
    bit: int = 0
    number: int = 0
    verdict: Verdict = Verdict.STANDS


@dataclass(frozen=True, slots=True)
class Control:
    """A founding, admission, removal or leave."""

    node: Node
    body: Found | Admit | Remove | None

    @property
    def bit(self) -> int:
        """Its bit in the masks."""
        return self.node.bit

    @property
    def admits(self) -> bytes | None:
        """The member this admits, if it is an admission or the founding."""
        match self.body:
            case Found():
                return self.node.author
            case Admit(member=member):
                return member
            case _:
                return None

    @property
    def removes(self) -> bytes | None:
        """The member this removes, if it is a removal or a leave."""
        if isinstance(self.body, Remove):
            return self.body.member
        return self.node.author if self.node.kind == Kind.LEAVE else None

    @property
    def level(self) -> int:
        """The level an admission gives."""
        return self.body.level if isinstance(self.body, Admit) else FOUNDER_LEVEL

    @property
    def role(self) -> Role:
        """The role an admission gives."""
        return self.body.role if isinstance(self.body, Admit) else Role.ADMIT

    @property
    def kept(self) -> bytes | None:
        """The last entry of the removed member that stands."""
        return self.body.last if isinstance(self.body, Remove) else self.node.id


@dataclass(frozen=True, slots=True)
class Member:
    """What a member may do now, and how far down it stands (0 is the founder)."""

    key: bytes
    role: Role
    level: int


Precedes = Callable[[bytes, Node], bool]
"""Whether a node is on the chain, of the same author, that ends with the entry of this id."""


class Authority:
    """Verdicts from a set of control entries, which never changes."""

    def __init__(
        self, controls: Iterable[Control], on_chain: Precedes, forks: Mapping[bytes, int]
    ) -> None:
        """`forks`: author -> first position signed twice."""
        self._admissions: dict[bytes, list[Control]] = {}
        self._removals: dict[bytes, list[Control]] = {}
        self._on_chain = on_chain
        self._forks = forks
        self._held: dict[tuple[int, bytes], bool] = {}
        self._standing: dict[int, bool] = {}
        for control in controls:
            if control.admits is not None:
                self._admissions.setdefault(control.admits, []).append(control)
            if control.removes is not None:
                self._removals.setdefault(control.removes, []).append(control)

    def verdict(self, node: Node, admit_level: int | None = None) -> Verdict:
        """How an entry stands. `admit_level`: the level an admission gives."""
        if self._is_muted(node) and node.kind != Kind.REMOVE:
            return Verdict.MUTED
        if node.kind == Kind.FOUND:
            return Verdict.STANDS
        needed = Role.ADMIT if node.kind in (Kind.ADMIT, Kind.REMOVE) else Role.WRITE
        acts = self._acts(node, needed, admit_level)
        return Verdict.STANDS if acts else Verdict.REMOVED

    def knows(self, key: bytes) -> bool:
        """Whether anything ever admitted this key."""
        return key in self._admissions

    def members(self) -> dict[bytes, Member]:
        """Who would be permitted to write, given everything this knows."""
        found = {}
        for key in self._admissions:
            admissions = self.open_admissions(key)
            if admissions:
                role = max(a.role for a in admissions)
                level = min(a.level for a in admissions if a.role == role)
                found[key] = Member(key, role, level)
        return found

    def open_admissions(self, key: bytes) -> list[Control]:
        """The admissions under which a member may write now."""
        removals = self._removals.get(key, ())
        return [
            admission
            for admission in self._admissions.get(key, ())
            if self._stands(admission)
            and not any(self._has_effect(removal, admission) for removal in removals)
        ]

    def effects(self) -> dict[int, int]:
        """Bit of each control -> what it rests on: what a new control may change.

        An admission: whether it stands. A removal: bits of the admissions it is made under.
        """
        found = {c.bit: int(self._stands(c)) for each in self._admissions.values() for c in each}
        for removals in self._removals.values():
            for each in removals:
                mine = self._admissions.get(each.node.author, ())
                found[each.bit] = sum(
                    a.bit for a in mine if each.node.past & a.bit and self._holds(a, each.node)
                )
        return found

    def _is_muted(self, node: Node) -> bool:
        forked_at = self._forks.get(node.author)
        return forked_at is not None and node.position >= forked_at

    def _acts(self, node: Node, needed: Role, below: int | None) -> bool:
        """Whether the author may act in `node`: in this role, and from above level `below`."""
        return any(
            node.past & admission.bit
            and admission.role >= needed
            and (below is None or admission.level < below)
            and self._holds(admission, node)
            for admission in self._admissions.get(node.author, ())
        )

    def _stands(self, admission: Control) -> bool:
        """Whether it was given by somebody who could, and who had not forked before."""
        if admission.node.kind == Kind.FOUND:
            return True
        found = self._standing.get(admission.bit)
        if found is None:
            found = not self._is_muted(admission.node) and self._acts(
                admission.node, Role.ADMIT, admission.level
            )
            self._standing[admission.bit] = found
        return found

    def _holds(self, admission: Control, node: Node) -> bool:
        """Whether `admission` stands and no removal ended it for `node`."""
        found = self._held.get((admission.bit, node.id))
        if found is None:
            found = self._stands(admission) and not any(
                self._ends(removal, node) and self._has_effect(removal, admission)
                for removal in self._removals.get(node.author, ())
            )
            if node.kind in (Kind.ADMIT, Kind.REMOVE):  # asked again for every entry below
                self._held[admission.bit, node.id] = found
        return found

    def _ends(self, removal: Control, node: Node) -> bool:
        """Whether `node` is not among what the removal leaves standing."""
        if node.past & removal.bit:
            return True  # it follows the removal itself
        if removal.node.kind == Kind.LEAVE and node.kind == Kind.REMOVE:
            # A leave on another branch of a forked chain must not undo that author's removals.
            return False
        return removal.kept is None or not self._on_chain(removal.kept, node)

    def _has_effect(self, removal: Control, admission: Control) -> bool:
        """Whether a removal ends an admission, for what is not left standing."""
        if admission.node.past & removal.bit:
            return False  # admitted again, knowing of the removal
        if removal.node.kind == Kind.LEAVE:
            return True
        return self._acts(removal.node, Role.ADMIT, admission.level)
