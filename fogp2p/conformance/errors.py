"""How a check ends when it does not pass."""

from __future__ import annotations

from fogp2p.errors import FogError

__all__ = ["CheckFailed", "NotApplicable"]


class CheckFailed(FogError):
    """The peer does not do what a specification says it MUST. Whoever wrote the peer mends it."""

    number = "FOG-CNF-001"


class NotApplicable(FogError):
    """The peer does not offer what the check is about. Nobody is at fault."""

    number = "FOG-CNF-002"
