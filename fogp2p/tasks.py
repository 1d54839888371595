"""A nursery for context managers: what goes wrong inside comes out as itself.

Trio wraps whatever leaves a nursery in an exception group. A caller of `open_host` or `open_peer`
has no nursery in mind; it wants the ConfigError, or its own exception from the body, as raised.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

__all__ = ["open_tasks"]


@asynccontextmanager
async def open_tasks() -> AsyncIterator[trio.Nursery]:
    """As `trio.open_nursery`, but a single exception leaves it without groups around it.

    Several different ones still leave as one group: none of them is hidden.
    """
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        only = _only(group)
        if only is None:
            raise
        # The group said nothing that the exception does not say itself.
        raise only from only.__cause__


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """The single exception inside, however deep; None when there are several.

    Cancellations that came along with a real failure are part of its clean-up.
    """
    cancelled, failures = group.split(trio.Cancelled)
    found = failures or cancelled or group
    while len(found.exceptions) == 1:
        inner = found.exceptions[0]
        if not isinstance(inner, BaseExceptionGroup):
            return inner
        found = inner
    return None
