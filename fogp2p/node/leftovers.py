"""What killed processes left behind in a peer's directories."""

from __future__ import annotations

from fogp2p.environment import Disk, is_cut_off
from fogp2p.paths import Paths

__all__ = ["remove_leftovers"]


def remove_leftovers(paths: Paths, disk: Disk) -> None:
    """Remove the passing files of writes that were cut off; they may hold keys and secrets.

    Hold the peer's lock: who has it is the only one that writes these files. Raises DiskError.
    """
    for file in (
        paths.keystore,
        paths.invites,
        paths.registry,
        paths.gossip_numbers,
        paths.known_peers,
        paths.token,
    ):
        aside = file.with_name(f"{file.name}.damaged")
        for name in disk.names(file.parent):
            if is_cut_off(name, file) or is_cut_off(name, aside):
                disk.remove(file.with_name(name))
