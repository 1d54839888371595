"""fogp2p restore"""

from __future__ import annotations

from pathlib import Path

import click

from fogp2p.backup import restore
from fogp2p.cli.answers import Restored
from fogp2p.cli.commands.backup import backup_passphrase, contents_of
from fogp2p.cli.output import Output
from fogp2p.environment import real_environment
from fogp2p.schema import answer

__all__ = ["command"]


@click.command("restore")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--ask", is_flag=True, help="Ask for the passphrase on the terminal.")
@click.option("--force", is_flag=True, help="Replace a peer; its files get second names.")
@click.pass_obj
def command(output: Output, file: Path, ask: bool, force: bool) -> None:
    """Put the files of a backup in place. Everything in FILE is verified before.

    The peer must not run. FOGP2P_BACKUP_PASSPHRASE decrypts it.
    """
    contents = restore(
        output.paths,
        file,
        real_environment(),
        passphrase=backup_passphrase(ask, confirm=False),
        force=force,
    )
    lines = [f"{name:<12} {size:>12,} bytes" for name, size in contents.files]
    lines += [f"kept the old file as {name}" for name in contents.aside]
    done = Restored(**contents_of(file, contents), kept=contents.aside)
    output.result(answer(done), [*lines, f"restored from {file}"])
