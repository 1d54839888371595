"""How commands speak: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from fogp2p.client import Client
from fogp2p.paths import Paths, locate

from .exits import FAILED, PARTLY, Refused

__all__ = [
    "FAILED",
    "PARTLY",
    "Output",
    "duration",
    "is_terminal",
    "limit_option",
    "printable",
    "size",
    "table",
    "watch_option",
]

# Often enough to see a change happen, seldom enough to cost nothing.
_WATCH_S: Final = 1.0
_UNITS: Final = ("KiB", "MiB", "GiB")

watch_option = click.option("--watch", "-w", is_flag=True, help="Show it again every second.")
limit_option = click.option(
    "--limit", type=click.IntRange(1), metavar="N", help="Show at most N of them."
)


@dataclass(frozen=True, slots=True)
class Output:
    """The global options."""

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    color: bool = True
    yes: bool = False
    home: str | None = None
    api: str | None = None
    timeout_s: float = 10.0

    @property
    def paths(self) -> Paths:
        """Where this peer's files are."""
        return locate(self.home, os.environ)

    def client(self) -> Client:
        """The running peer. Its answers may take as long as it waits for others, and a little."""
        where = self.api if self.api is not None else self.paths.socket
        token_file = self.paths.token
        return Client(where, token_file=token_file, timeout_s=self.timeout_s + 5)

    def result(self, answer: Mapping[str, Any], lines: Iterable[str]) -> None:
        """Print the answer as JSON, or the lines for people."""
        if self.as_json:
            click.echo(json.dumps(answer, ensure_ascii=False))
        else:
            click.echo("".join(f"{line}\n" for line in lines), nl=False, color=self._ansi())

    def say(self, line: str = "") -> None:
        """Talk, which is no result."""
        if not self.quiet:
            click.echo(line, err=True)

    def detail(self, line: str) -> None:
        """Talk for those who asked for more."""
        if self.verbose:
            click.echo(line, err=True)

    def paint(self, text: str, color: str) -> str:
        """`text` in a colour, where colours are wanted and shown."""
        return click.style(text, fg=color) if self.color and sys.stdout.isatty() else text

    def repeat(self, show: Callable[[], None], *, watch: bool) -> None:
        """Show once; or over and over until Ctrl+C, on a terminal in place."""
        show()
        while watch:
            sys.stdout.flush()
            time.sleep(_WATCH_S)
            if sys.stdout.isatty() and not self.as_json:
                click.clear()
            show()

    def confirm(self, question: str) -> None:
        """Ask before harm is done. Raises Refused without a yes."""
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise Refused(f"{question} Nobody is there to say yes", hint="say so: --yes")
        if not click.confirm(question, err=True):
            raise Refused("not done", hint="--yes does not ask")

    def _ansi(self) -> bool | None:
        return None if self.color else False


def duration(seconds: float) -> str:
    """For people: `0.4 s`, `3 h 12 m`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if hours == 0:
        return f"{minutes} m {int(seconds) % 60} s"
    return f"{hours} h {minutes % 60} m" if days == 0 else f"{days} d {hours % 24} h"


def size(count: float) -> str:
    """Bytes for people: `812 B`, `1.5 MiB`."""
    if count < 1024:
        return f"{count:.0f} B"
    for unit in _UNITS:
        count /= 1024
        if count < 1024 or unit == _UNITS[-1]:
            break
    return f"{count:.1f} {unit}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their content. Control characters are shown, never obeyed."""
    cells = [[_plain(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def printable(text: str) -> list[str]:
    """Somebody else's text as lines. Control characters are shown, never obeyed."""
    return [_plain(line) for line in text.splitlines()]


def is_terminal() -> bool:
    """Whether a person watches."""
    return sys.stdout.isatty()
