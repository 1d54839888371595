"""fogp2p version"""

from __future__ import annotations

import platform

import click

from fogp2p import __version__
from fogp2p.cli.output import Output

__all__ = ["command"]


@click.command("version")
@click.pass_obj
def command(output: Output) -> None:
    """Print the version."""
    python = platform.python_version()
    output.result(
        {"schema": "version/1", "fogp2p": __version__, "python": python},
        [f"fogp2p {__version__} (Python {python})"],
    )
