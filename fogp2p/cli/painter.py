"""A block of lines that is painted over itself on a terminal, and printed once elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

__all__ = ["Painter"]


class Painter:
    """Writes to standard error: it is talk, not result."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._live = sys.stderr.isatty()
        self._shown: list[str] = []
        self._height = 0

    def show(self, lines: Sequence[str]) -> None:
        """Replace the block."""
        if list(lines) == self._shown:
            return
        self._shown = list(lines)
        if self._live and not self._quiet:
            up = f"\x1b[{self._height}A" if self._height else ""
            click.echo(up + "\n".join(f"{line}\x1b[K" for line in lines), err=True)
            self._height = len(lines)

    def say(self, line: str) -> None:
        """Print a line below the block, which stays as it is."""
        if self._quiet:
            return
        if self._shown and not self._live:
            click.echo("\n".join(self._shown), err=True)
        self._shown, self._height = [], 0
        click.echo(line, err=True)
