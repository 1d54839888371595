"""fogp2p logs"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import click

from fogp2p.cli.answers import LogLine
from fogp2p.cli.background import START_S
from fogp2p.cli.exits import NotFound
from fogp2p.cli.output import Output, printable
from fogp2p.client import NotRunning
from fogp2p.environment import DiskError
from fogp2p.schema import answer

__all__ = ["command"]

_LOOK_EVERY_S: Final = 0.25
# Nothing we log has longer lines; a longer one is shown in pieces.
_MAX_LINE_BYTES: Final = 16 * 1024
_MAX_LINES: Final = 100_000
_LINE: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) (\w+) +([\w.]+)  (.*)")


@click.command("logs")
@click.option("--follow", "-f", is_flag=True, help="Go on with what is written from now on.")
@click.option(
    "-n",
    "count",
    type=click.IntRange(0, _MAX_LINES),
    default=50,
    show_default=True,
    help="How many of the last lines.",
)
@click.pass_obj
def command(output: Output, follow: bool, count: int) -> None:
    """Print the log of a peer that runs in the background.

    A peer in the foreground logs to its terminal; one started by a service manager, to that.
    """
    path = output.paths.log
    try:
        file: BinaryIO = path.open("rb")
    except FileNotFoundError:
        raise NotFound(
            f"there is no log {path}: no peer of this directory ran in the background",
            hint="in the foreground it logs to its terminal; under systemd: journalctl --user",
        ) from None
    except OSError as exc:
        raise DiskError(f"cannot read {path}: {exc.strerror or exc}") from exc
    _warn_if_stale(output, path)
    try:
        for line in deque(_lines(file), maxlen=count):
            _print(output, line)
        while follow:
            sys.stdout.flush()
            time.sleep(_LOOK_EVERY_S)
            for line in _lines(file):
                _print(output, line)
            file = _same_or_new(file, path)
    finally:
        file.close()


def _warn_if_stale(output: Output, path: Path) -> None:
    """Say so when the peer that runs does not write here."""
    try:
        started_at = output.client().get("status")["started_at"]
    except NotRunning:
        output.say("no peer is running; this is what the last one in the background logged")
        return
    if path.stat().st_mtime + START_S < started_at:
        output.say("the running peer logs to its terminal; this is from an earlier one")


def _lines(file: BinaryIO) -> Iterator[str]:
    while line := file.readline(_MAX_LINE_BYTES):
        yield line.decode("utf-8", "replace").rstrip("\n")


def _same_or_new(file: BinaryIO, path: Path) -> BinaryIO:
    """The file, from its start when it was emptied, or its successor when it was moved away."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return file
    here = os.fstat(file.fileno())
    if (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino):
        file.close()
        return path.open("rb")
    if there.st_size < file.tell():
        file.seek(0)
    return file


def _print(output: Output, line: str) -> None:
    if not output.as_json:
        click.echo("\n".join(printable(line)))
        return
    found = _LINE.fullmatch(line)
    at, level, where, message = found.groups() if found else ("", "", "", line)
    click.echo(json.dumps(answer(LogLine(at, level, where, message)), ensure_ascii=False))
