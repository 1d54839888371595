"""What belongs to one request and travels through Starlette with it."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import Scope

from .gate import NOBODY, Caller

__all__ = ["Exchange", "exchange_of"]

_KEY = "fogp2p.exchange"


@dataclass(slots=True)
class Exchange:
    """`route` is the path's template, once it is known: a bounded label for metrics."""

    caller: Caller = NOBODY
    route: str = "other"

    def put_into(self, scope: Scope) -> None:
        """Make it findable by `exchange_of`."""
        scope[_KEY] = self


def exchange_of(scope: Scope) -> Exchange:
    """The one of this request."""
    found = scope[_KEY]
    assert isinstance(found, Exchange)
    return found
