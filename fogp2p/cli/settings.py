"""Reading the configuration for a command."""

from __future__ import annotations

import os

import click

from fogp2p.config import Loaded, load_config
from fogp2p.environment import real_environment

from .output import Output

__all__ = ["load", "set_option"]

set_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Override one setting; may be given several times.",
)


def load(output: Output, settings: tuple[str, ...]) -> Loaded:
    """All layers for this peer. Raises ConfigError."""
    return load_config(
        output.paths.config,
        disk=real_environment().disk,
        environ=os.environ,
        flags=settings,
    )
