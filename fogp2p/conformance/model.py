"""A check as a value, and the table that checks enter themselves into."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from fogp2p.errors import LocalProtocolError
from fogp2p.ids import ProtocolId

from .context import Context

__all__ = ["SOURCES", "Check", "Outcome", "Run", "check", "all_checks", "select"]

Run = Callable[[Context], Awaitable[str]]
"""Returns the evidence, one line; raises CheckFailed or NotApplicable."""

SOURCES: Final = {
    "MSS": ("multistream", "multiformats/multistream-select"),
    "SEC": ("noise-libp2p", "libp2p/specs noise/README.md"),
    "YMX": ("yamux", "hashicorp/yamux spec.md, libp2p/specs yamux/README.md"),
    "IDF": ("identify", "libp2p/specs identify/README.md"),
    "PNG": ("ping", "libp2p/specs ping/ping.md"),
    "NOI": ("noise", "specs/noise/noise-v1.md"),
    "FRM": ("framing", "specs/framing/framing-v1.md"),
    "COD": ("codec", "specs/codec/codec-v1.md"),
    "VER": ("versioning", "specs/versioning/versioning-v1.md"),
    "ECH": ("echo", "specs/echo/echo-v1.md"),
    "GOS": ("gossip", "specs/gossip/gossip-v1.md"),
    "KAD": ("kad", "specs/kad/kad-v1.md"),
    "REG": ("registry", "specs/registry/registry-v1.md"),
    "INV": ("invite", "specs/invite/invite-v1.md"),
    "BLO": ("blob", "specs/blob/blob-v1.md"),
    "LOG": ("log", "specs/log/log-v1.md"),
}
"""First three letters of an anchor -> the specification's short name, and its text."""


class Outcome(enum.Enum):
    """How a check ended."""

    PASSED = "pass"
    FAILED = "FAIL"
    NOT_APPLICABLE = "n/a"


@dataclass(frozen=True, slots=True)
class Check:
    """`identifier` is the anchor, with a letter when one sentence has several checks.

    `patient`: it mostly waits, and runs beside the others.
    """

    identifier: str
    title: str
    needs: ProtocolId | None
    patient: bool
    run: Run

    @property
    def anchor(self) -> str:
        """The sentence it is about."""
        return self.identifier[:7]

    @property
    def spec(self) -> str:
        """Whose sentence."""
        return SOURCES[self.identifier[:3]][0]


_CHECKS: Final[dict[str, Check]] = {}


def check(
    identifier: str, title: str, *, needs: ProtocolId | None = None, patient: bool = False
) -> Callable[[Run], Run]:
    """Enter a function into the table. `needs`: the protocol the peer has to offer for it."""

    def enter(run: Run) -> Run:
        if identifier in _CHECKS or identifier[:3] not in SOURCES:
            raise LocalProtocolError(f"check {identifier} is there already", code="check")
        _CHECKS[identifier] = Check(identifier, title, needs, patient, run)
        return run

    return enter


def all_checks() -> tuple[Check, ...]:
    """All checks, by specification and anchor."""
    order = list(SOURCES)
    return tuple(
        sorted(_CHECKS.values(), key=lambda c: (order.index(c.identifier[:3]), c.identifier))
    )


def select(only: tuple[str, ...]) -> tuple[Check, ...]:
    """The checks whose identifier begins with, or whose specification is, one of `only`.

    Raises LocalProtocolError("check") when one of them names nothing.
    """
    for name in only:
        if not any(_is_meant(each, name) for each in all_checks()):
            raise LocalProtocolError(
                f"no check is called {name}", code="check", hint="fogp2p conformance --list"
            )
    return tuple(c for c in all_checks() if not only or any(_is_meant(c, name) for name in only))


def _is_meant(each: Check, name: str) -> bool:
    return each.identifier.lower().startswith(name.lower()) or each.spec == name.lower()
