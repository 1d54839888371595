"""fogp2p config show | check | where"""

from __future__ import annotations

import click

from fogp2p.cli.output import Output, table
from fogp2p.cli.settings import load, set_option
from fogp2p.config import describe_keys

__all__ = ["command"]


@click.group("config")
def command() -> None:
    """Show, check and find the configuration."""


@command.command("show")
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
@set_option
@click.pass_obj
def show(output: Output, origin: bool, settings: tuple[str, ...]) -> None:
    """Print every setting. Needs no running peer."""
    loaded = load(output, settings)
    about = {name: text for name, _, text, _ in describe_keys()}
    answer = {
        name: {"value": value, "origin": loaded.origins[name], "about": about[name]}
        for name, value in loaded.config.items()
    }
    rows = [
        [name, _shown(value), *([loaded.origins[name]] if origin else []), about[name]]
        for name, value in loaded.config.items()
    ]
    head = ["KEY", "VALUE", *(["FROM"] if origin else []), "WHAT IT DOES"]
    output.result({"schema": "config/1", "settings": answer}, table(head, rows))


@command.command("check")
@set_option
@click.pass_obj
def check(output: Output, settings: tuple[str, ...]) -> None:
    """Read the file, the variables and the flags, and name every mistake."""
    load(output, settings)
    output.result({"schema": "config-check/1", "ok": True}, ["the configuration is good"])


@command.command("where")
@click.pass_obj
def where(output: Output) -> None:
    """Print where this peer keeps its files."""
    paths = output.paths
    places = {
        "config": paths.config,
        "keystore": paths.keystore,
        "known peers": paths.known_peers,
        "log": paths.log,
        "socket": paths.socket,
    }
    answer = {name: str(path) for name, path in places.items()}
    rows = [
        [name, str(path), "yes" if path.exists() else "not yet"] for name, path in places.items()
    ]
    output.result({"schema": "where/1", "paths": answer}, table(["WHAT", "PATH", "THERE"], rows))


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "(none)"
    return str(value).lower() if isinstance(value, bool) else str(value)
