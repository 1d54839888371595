"""fogp2p down"""

from __future__ import annotations

import time

import click

from fogp2p.cli.answers import Stopped
from fogp2p.cli.output import Output
from fogp2p.client import NotRunning
from fogp2p.errors import DeadlineExceeded
from fogp2p.schema import answer

__all__ = ["command"]

_ASK_EVERY_S = 0.05


@click.command("down")
@click.pass_obj
def command(output: Output) -> None:
    """Stop the running peer and wait until it has stopped."""
    client = output.client()
    start = time.monotonic()
    client.post("stop")
    while time.monotonic() - start < output.timeout_s:
        try:
            client.get("status")
        except NotRunning:
            took_s = round(time.monotonic() - start, 3)
            output.result(answer(Stopped(True, took_s)), ["stopped"])
            return
        time.sleep(_ASK_EVERY_S)
    raise DeadlineExceeded("the peer is still stopping", hint="give it longer: --timeout 60")
