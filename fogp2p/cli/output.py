"""How commands speak: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from fogp2p.client import Client, NotRunning, PeerSaid
from fogp2p.errors import (
    ConfigError,
    FogError,
    KeystoreError,
    LimitExceeded,
    LocalProtocolError,
    TransportError,
    Unreachable,
)
from fogp2p.paths import Paths, locate

__all__ = ["Output", "duration", "exit_code", "is_terminal", "printable", "report", "table"]

OK: Final = 0
FAILED: Final = 1
WRONG_USE: Final = 2
NOT_RUNNING: Final = 3
NOT_FOUND: Final = 4
UNREACHABLE: Final = 5
NOT_PERMITTED: Final = 6
REFUSED: Final = 7
PARTLY: Final = 8
BROKEN: Final = 9


@dataclass(frozen=True, slots=True)
class Output:
    """The global options."""

    as_json: bool
    quiet: bool
    home: str | None
    timeout_s: float

    @property
    def paths(self) -> Paths:
        """Where this peer's files are."""
        return locate(self.home, os.environ)

    def client(self) -> Client:
        """The running peer. Its answers may take as long as it waits for others, and a little."""
        return Client(self.paths.socket, timeout_s=self.timeout_s + 5)

    def result(self, answer: Mapping[str, Any], lines: Sequence[str]) -> None:
        """Print the answer as JSON, or the lines for people."""
        if self.as_json:
            click.echo(json.dumps(answer, ensure_ascii=False))
        else:
            for line in lines:
                click.echo(line)

    def say(self, line: str = "") -> None:
        """Talk, which is no result."""
        if not self.quiet:
            click.echo(line, err=True)


def report(exc: FogError, *, as_json: bool) -> None:
    """An error: code, what happened, what to type next."""
    code = exc.code if isinstance(exc, PeerSaid) else exc.number
    attempts = exc.attempts if isinstance(exc, Unreachable) else ()
    if as_json:
        error = {
            "schema": "error/1",
            "code": code,
            "message": str(exc),
            "hint": exc.hint,
            "exit": exit_code(exc),
        }
        click.echo(json.dumps(error, ensure_ascii=False), err=True)
        return
    click.echo(f"fogp2p: {code} {exc}", err=True)
    for address, failure in attempts:
        click.echo(f"  {address}: {failure}", err=True)
    if exc.hint:
        click.echo(f"  try: {exc.hint}", err=True)


# What the peer said, by its HTTP status.
_BY_STATUS: Final = {
    400: WRONG_USE,
    404: NOT_FOUND,
    409: REFUSED,
    413: WRONG_USE,
    502: UNREACHABLE,
    503: REFUSED,
    504: UNREACHABLE,
}
_BY_TYPE: Final[tuple[tuple[type[FogError], int], ...]] = (
    (NotRunning, NOT_RUNNING),
    (ConfigError, BROKEN),
    (KeystoreError, BROKEN),
    (LocalProtocolError, WRONG_USE),
    (LimitExceeded, REFUSED),
    (TransportError, UNREACHABLE),
)


def exit_code(exc: FogError) -> int:
    """The exit code for an error; the codes are frozen."""
    if isinstance(exc, PeerSaid):
        return _BY_STATUS.get(exc.status, FAILED)
    return next((code for kind, code in _BY_TYPE if isinstance(exc, kind)), FAILED)


def duration(seconds: float) -> str:
    """For people: `0.4 s`, `3 h 12 m`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if hours == 0:
        return f"{minutes} m {int(seconds) % 60} s"
    return f"{hours} h {minutes % 60} m" if days == 0 else f"{days} d {hours % 24} h"


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
