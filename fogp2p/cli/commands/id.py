"""fogp2p id"""

from __future__ import annotations

import os

import click

from fogp2p.cli.answers import Id
from fogp2p.cli.output import Output
from fogp2p.client import NotRunning
from fogp2p.errors import FogError
from fogp2p.schema import answer

__all__ = ["command"]


@click.command("id")
@click.pass_obj
def command(output: Output) -> None:
    """Print this peer's id and, when it runs, the addresses to give to others."""
    try:
        status = output.client().get("status")
        found = Id(status["peer_id"], True, tuple(status["addresses"]))
    except NotRunning:
        found = Id(_from_keystore(output), False, ())
    output.result(answer(found), [found.peer_id, *found.addresses])


def _from_keystore(output: Output) -> str:
    from fogp2p.environment import real_environment
    from fogp2p.identity import Keystore

    keystore = Keystore(output.paths.keystore, real_environment())
    if not keystore.exists():
        raise NoIdentity(
            f"there is no peer yet (no keys in {keystore.path})", hint="make one: fogp2p up"
        )
    return str(keystore.load(passphrase=os.environ.get("FOGP2P_PASSPHRASE")).peer_id)


class NoIdentity(FogError):
    """There are no keys yet."""

    number = "FOG-CLI-002"
