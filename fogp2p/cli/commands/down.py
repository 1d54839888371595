"""fogp2p down"""

from __future__ import annotations

import time

import click

from fogp2p.cli.output import Output
from fogp2p.client import NotRunning
from fogp2p.errors import DeadlineExceeded

__all__ = ["command"]


@click.command("down")
@click.pass_obj
def command(output: Output) -> None:
    """Stop the running peer and wait until it has stopped."""
    client = output.client()
    answer = client.post("stop")
    end = time.monotonic() + output.timeout_s
    while time.monotonic() < end:
        try:
            client.get("status")
        except NotRunning:
            output.result(answer | {"stopped": True}, ["stopped"])
            return
        time.sleep(0.05)
    raise DeadlineExceeded("the peer is still stopping", hint="give it longer: --timeout 60")
