"""The nouns of the API, one module each: `routes(context)` gives the rows of the table.

A new noun is a module here with such a function, and its name in `MODULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from fogp2p.api.context import Context
from fogp2p.api.operations import Operation

from . import (
    blobs,
    config,
    doctor,
    events,
    groups,
    health,
    invites,
    peers,
    registry,
    services,
    sessions,
    status,
    tokens,
)

__all__ = ["MODULES", "all_operations"]

MODULES: Final[tuple[Callable[[Context], Sequence[Operation]], ...]] = (
    health.routes,
    status.routes,
    peers.routes,
    services.routes,
    invites.routes,
    blobs.routes,
    groups.routes,
    registry.routes,
    doctor.routes,
    config.routes,
    events.routes,
    tokens.routes,
    sessions.routes,
)


def all_operations(context: Context) -> tuple[Operation, ...]:
    """The whole table; the document that describes it comes last."""
    made = tuple(each for module in MODULES for each in module(context))
    return (*made, health.document(made))
