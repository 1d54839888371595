"""fogp2p dashboard"""

from __future__ import annotations

import click

from fogp2p.cli.answers import Dashboard
from fogp2p.cli.exits import NotFound
from fogp2p.cli.output import Output
from fogp2p.schema import answer

__all__ = ["command"]


@click.command("dashboard")
@click.option("--open", "open_it", is_flag=True, help="Open it in the browser, too.")
@click.pass_obj
def command(output: Output, open_it: bool) -> None:
    """Print a link to the peer's page. It opens one browser, once, within a minute."""
    # The page only reads.
    made = output.client().post("sessions", {"scope": "read"})
    if not made["url"]:
        raise NotFound(
            "the peer has no door for browsers",
            hint="open one: fogp2p config set api.tcp 127.0.0.1:7461; fogp2p down; fogp2p up -d",
        )
    found = Dashboard(made["url"], made["ttl_s"])
    output.result(answer(found), [found.url])
    if open_it:
        click.launch(found.url)
