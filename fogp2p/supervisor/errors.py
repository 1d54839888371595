"""What the supervisor tells of services that do not run."""

from __future__ import annotations

from fogp2p.errors import FogError

__all__ = ["Drill", "ServiceDown", "ServiceFault"]


class ServiceDown(FogError):
    """A part of this peer does not run at the moment. The caller may try again later."""

    number = "FOG-SVC-001"


class ServiceFault(FogError):
    """A part of this peer hung, or ended by itself. The supervisor restarts it."""

    number = "FOG-SVC-002"


class Drill(FogError):
    """A failure that somebody asked for, to see the part come back."""

    number = "FOG-SVC-003"
