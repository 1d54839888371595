"""Counting who is being served, for limits of each and of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["counted"]

T = TypeVar("T")


@contextmanager
def counted(places: Counter[T], who: T) -> Iterator[None]:
    """Count `who` once more while the context lasts; whoever is at zero takes no memory."""
    places[who] += 1
    try:
        yield
    finally:
        places[who] -= 1
        if not places[who]:
            del places[who]
