"""fogp2p events"""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, NoReturn

import click

from fogp2p.cli.output import Output, limit_option, printable

__all__ = ["command"]

# The peer sends what it kept in one go: a pause so long says that this was all.
_PAUSE_S: Final = 0.5


@click.command("events")
@click.option("--follow", "-f", is_flag=True, help="Go on with what happens from now on.")
@click.option("--since", type=click.IntRange(0), metavar="N", help="Only what came after event N.")
@click.option("--types", metavar="TYPE[,TYPE...]", default="", help="Beginnings, such as peer.")
@limit_option
@click.pass_obj
def command(output: Output, follow: bool, since: int | None, types: str, limit: int | None) -> None:
    """Print what happens in the peer; with --json as JSON Lines.

    Without --follow: what the peer still knows of. With it and without --since: from now on. A
    restart of the peer is bridged: an event of type "gap" says that some may be missing.
    """
    if since is None and not follow:
        since = 0
    client = output.client()
    client.get("status")  # nobody there: say so at once
    wanted = [each.strip() for each in types.split(",") if each.strip()]
    with _pauses(None if follow else _PAUSE_S) as seen:
        events = client.events(since=since, types=wanted, patience_s=math.inf)
        for count, event in enumerate(seen(events), 1):
            _print(output, event)
            if count == limit:
                return


class _PausedError(Exception):
    """Nothing came for a while."""


@contextmanager
def _pauses(longest_s: float | None) -> Iterator[Any]:
    """Pass events through until none came for so long. The client itself would follow for ever."""

    def paused(number: int, frame: FrameType | None) -> NoReturn:
        raise _PausedError

    def seen(events: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for event in events:
            signal.setitimer(signal.ITIMER_REAL, 0)
            yield event
            signal.setitimer(signal.ITIMER_REAL, longest_s or 0)

    before = signal.signal(signal.SIGALRM, paused)
    signal.setitimer(signal.ITIMER_REAL, longest_s or 0)
    try:
        yield seen
    except _PausedError:
        return
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _print(output: Output, event: dict[str, Any]) -> None:
    if output.as_json:
        click.echo(json.dumps({"schema": "event/1", **event}, ensure_ascii=False))
        return
    data = "  ".join(f"{name}={_short(value)}" for name, value in event["data"].items())
    click.echo("\n".join(printable(f"{event['at']}  {event['id']:>6}  {event['type']}  {data}")))


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
