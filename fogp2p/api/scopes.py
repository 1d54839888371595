"""Who may do what: four scopes, each with everything the one below it may do."""

from __future__ import annotations

import enum
from typing import Final

__all__ = ["ABOUT", "GRANTABLE", "Scope"]


class Scope(enum.Enum):
    """What an operation asks for, and what a token grants."""

    OPEN = "open"
    READ = "read"
    CONTROL = "control"
    ADMIN = "admin"

    def covers(self, wanted: Scope) -> bool:
        """Whether a caller with this scope may do what asks for `wanted`."""
        return _RANK[self] >= _RANK[wanted]


ABOUT: Final = {
    Scope.OPEN: "liveness, readiness, the page and its login; no data, no token",
    Scope.READ: "every GET, and events",
    Scope.CONTROL: "what involves other peers: ping, echo, invites, joins",
    Scope.ADMIN: "what changes this peer: stop, configuration, services, tokens, sessions",
}
_RANK: Final = {scope: rank for rank, scope in enumerate(ABOUT)}
# "open" is what everybody has.
GRANTABLE: Final = tuple(scope.value for scope in ABOUT if scope is not Scope.OPEN)
