"""What killed processes left behind in a peer's directories."""

from __future__ import annotations

import re
from pathlib import Path

from fogp2p.environment import Disk
from fogp2p.paths import Paths

__all__ = ["remove_leftovers"]


def remove_leftovers(paths: Paths, disk: Disk) -> None:
    """Remove the passing files of writes that were cut off; they may hold keys and secrets.

    Hold the peer's lock: who has it is the only one that writes these files. Raises DiskError.
    """
    files = (
        paths.keystore,
        paths.invites,
        paths.registry,
        paths.gossip_numbers,
        paths.known_peers,
        _token(paths),
    )
    for file in files:
        # As `Disk.replace` of the real environment names them.
        passing = re.compile(rf"\.{re.escape(file.name)}(\.damaged)?\.\d+\.new")
        for name in disk.names(file.parent):
            if passing.fullmatch(name):
                disk.remove(file.with_name(name))


def _token(paths: Paths) -> Path:
    return paths.run / "api.token"
