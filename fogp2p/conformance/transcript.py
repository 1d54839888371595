"""What was said on a connection, for whoever has to find out why a check failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["Entry", "Transcript"]

# Entries of one check; floods say the same thing ten thousand times.
_MAX_ENTRIES: Final = 60
# Bytes shown of one entry.
_MAX_SHOWN: Final = 48


@dataclass(frozen=True, slots=True)
class Entry:
    """`direction`: `>` we said it, `<` the peer did, `*` what happened."""

    direction: str
    size: int
    shown: str
    note: str

    def __str__(self) -> str:
        if self.direction == "*":
            return f"* {self.note}"
        more = "..." if self.size * 2 > len(self.shown) else ""
        return f"{self.direction} {self.size:>6} B  {self.note}: {self.shown}{more}"


class Transcript:
    """Grows to a bound; the first entries and the last ones are kept."""

    def __init__(self) -> None:
        self._first: list[Entry] = []
        self._last: list[Entry] = []
        self._left_out = 0

    def sent(self, data: bytes, note: str) -> None:
        """We said `data`; `note` is what it means."""
        self._add(Entry(">", len(data), data[:_MAX_SHOWN].hex(), note))

    def received(self, data: bytes, note: str) -> None:
        """The peer said `data`."""
        self._add(Entry("<", len(data), data[:_MAX_SHOWN].hex(), note))

    def note(self, text: str) -> None:
        """Something happened."""
        self._add(Entry("*", 0, "", text))

    def lines(self) -> list[str]:
        """For people."""
        middle = [f"* {self._left_out} more are left out"] if self._left_out else []
        return [*map(str, self._first), *middle, *map(str, self._last)]

    def _add(self, entry: Entry) -> None:
        half = _MAX_ENTRIES // 2
        if len(self._first) < half:
            self._first.append(entry)
            return
        self._last.append(entry)
        if len(self._last) > half:
            del self._last[0]
            self._left_out += 1
