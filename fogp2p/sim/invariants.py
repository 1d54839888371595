"""What must hold after every event, and what must hold at the end: by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Broken", "Event", "Invariants"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a node: `at` in virtual seconds, `kind` one word, and facts."""

    at: float
    node: str
    kind: str
    facts: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Broken:
    """An invariant that did not hold."""

    name: str
    reason: str
    at: float


EventCheck = Callable[[Event], str]
"""Returns what is wrong, or nothing. Runs after every event: it takes microseconds."""


class Invariants:
    """Named checks. The first that fails is kept in `broken`; none is made after it."""

    def __init__(self, on_broken: Callable[[], None] = lambda: None) -> None:
        self.broken: Broken | None = None
        self.checked: dict[str, int] = {}
        self._on_broken = on_broken
        self._by_kind: dict[str, list[tuple[str, EventCheck]]] = {}
        self._at_end: list[tuple[str, Callable[[], str]]] = []

    def on(self, kind: str, name: str, check: EventCheck) -> None:
        """Check `name` after every event of one kind."""
        self._by_kind.setdefault(kind, []).append((name, check))
        self.checked.setdefault(name, 0)

    def at_end(self, name: str, check: Callable[[], str]) -> None:
        """Check `name` once, when the run is over."""
        self._at_end.append((name, check))
        self.checked.setdefault(name, 0)

    def observe(self, event: Event) -> None:
        """Make the checks of one event."""
        for name, check in self._by_kind.get(event.kind, ()):
            self._make(name, event.at, check(event))

    def finish(self, now: float) -> None:
        """Make the checks of the end."""
        for name, check in self._at_end:
            if self.broken is None:
                self._make(name, now, check())

    def violated(self, name: str, reason: str, at: float) -> None:
        """Say that `name` does not hold."""
        self._make(name, at, reason)

    def _make(self, name: str, at: float, reason: str) -> None:
        self.checked[name] = self.checked.get(name, 0) + 1
        if reason and self.broken is None:
            self.broken = Broken(name, reason, at)
            self._on_broken()
