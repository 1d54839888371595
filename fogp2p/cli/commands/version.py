"""fogp2p version"""

from __future__ import annotations

import platform

import click

from fogp2p import __version__
from fogp2p.cli.answers import Version
from fogp2p.cli.output import Output
from fogp2p.schema import answer

__all__ = ["command"]


@click.command("version")
@click.pass_obj
def command(output: Output) -> None:
    """Print the version."""
    found = Version(__version__, platform.python_version())
    output.result(answer(found), [f"fogp2p {found.fogp2p} (Python {found.python})"])
