"""Errors of group logs that a person may meet."""

from __future__ import annotations

from fogp2p.errors import FogError

__all__ = ["LogDamaged", "NotPermitted"]


class NotPermitted(FogError):
    """Our membership does not allow this: not a member, no right to admit, or not below us.

    Nothing was written. Ask a member who may, see `Group.members`.
    """

    number = "FOG-LOG-001"


class LogDamaged(FogError):
    """What the storage gave back is not what was stored. The group stays closed.

    The owner restores the database from a backup, or deletes the group and fetches it from peers.
    """

    number = "FOG-LOG-002"
