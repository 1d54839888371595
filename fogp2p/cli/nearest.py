"""The nearest known name for one that was mistyped."""

from __future__ import annotations

import difflib
from collections.abc import Collection

__all__ = ["nearest"]


def nearest(name: str, known: Collection[str]) -> str:
    """`; the nearest is X`, or nothing when none is near."""
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; the nearest is {found[0]}" if found else ""
