"""fogp2p backup"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from fogp2p import __version__
from fogp2p.backup import Contents, save
from fogp2p.cli.answers import BackedUp, BackupFile
from fogp2p.cli.output import Output
from fogp2p.environment import real_environment
from fogp2p.schema import answer

__all__ = ["backup_passphrase", "command", "contents_of"]


@click.command("backup")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--ask", is_flag=True, help="Ask for a passphrase on the terminal.")
@click.pass_obj
def command(output: Output, file: Path, ask: bool) -> None:
    """Write keys, store, configuration and known peers into one FILE. The peer may run.

    FOGP2P_BACKUP_PASSPHRASE encrypts it.
    """
    passphrase = backup_passphrase(ask, confirm=True)
    contents = save(
        output.paths,
        file,
        real_environment(),
        program=f"fogp2p {__version__}",
        passphrase=passphrase,
    )
    if not contents.is_encrypted:
        output.say(f"! {file} is NOT encrypted: whoever reads it has this peer's messages")
        output.say("! see --ask and FOGP2P_BACKUP_PASSPHRASE")
    lines = [f"{name:<12} {size:>12,} bytes" for name, size in contents.files]
    made = BackedUp(**contents_of(file, contents))
    output.result(answer(made), [*lines, f"written to {file}"])


def backup_passphrase(ask: bool, *, confirm: bool) -> str | None:
    """From the environment, where children do not inherit it, or from the terminal."""
    given = os.environ.pop("FOGP2P_BACKUP_PASSPHRASE", None)
    if given:
        return given
    if not ask:
        return None
    said: str = click.prompt(
        "passphrase of the backup", hide_input=True, confirmation_prompt=confirm, err=True
    )
    return said


def contents_of(file: Path, contents: Contents) -> dict[str, Any]:
    """The fields that the answers of backup and restore have in common."""
    return {
        "file": str(file),
        "created": contents.created,
        "program": contents.program,
        "encrypted": contents.is_encrypted,
        "files": tuple(BackupFile(name, size) for name, size in contents.files),
    }
