"""fogp2p events"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlencode

import click

from fogp2p.cli.output import Output, limit_option, printable
from fogp2p.client import Client, NotRunning

__all__ = ["command"]

# The peer sends what it kept in one go: a pause so long says that this was all.
_PAUSE_S: Final = 0.5
# It says something at least every 15 s; twice that, and it is gone.
_SILENCE_S: Final = 30.0
_AGAIN_S: Final = 0.5


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
    last, count = since, 0
    while True:
        try:
            for event in _events(output, last, types, follow=follow):
                last = event["id"]
                _print(output, event)
                count += 1
                if count == limit:
                    return
            if not follow:
                return
        except NotRunning as exc:
            if last is None or not follow:
                raise
            output.detail(str(exc))
        last = last or 0
        output.say("the peer has gone; waiting for it ...")
        _wait_for_it(output)


def _events(output: Output, since: int | None, types: str, *, follow: bool) -> Iterator[Any]:
    client = Client(output.client().path, timeout_s=_SILENCE_S if follow else _PAUSE_S)
    asked = {"since": since, "types": types or None}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    lines = client.lines(f"events?{query}" if query else "events")
    heard = False
    try:
        for line in lines:
            heard = True
            # The data is JSON in one line; id and type stand in it as well.
            if line.startswith("data:"):
                yield json.loads(line.removeprefix("data:"))
    except NotRunning:
        if follow or not heard:
            raise


def _wait_for_it(output: Output) -> None:
    client = output.client()
    while True:
        time.sleep(_AGAIN_S)
        try:
            client.get("status")
        except NotRunning:
            continue
        return


def _print(output: Output, event: dict[str, Any]) -> None:
    if output.as_json:
        click.echo(json.dumps({"schema": "event/1", **event}, ensure_ascii=False))
        return
    data = "  ".join(f"{name}={_short(value)}" for name, value in event["data"].items())
    click.echo("\n".join(printable(f"{event['at']}  {event['id']:>6}  {event['type']}  {data}")))


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
