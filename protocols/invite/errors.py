"""What goes wrong with invites, as people meet it."""

from __future__ import annotations

from fogp2p.errors import FogError, LocalProtocolError, TransportError

__all__ = ["CodeError", "InviteGone", "InviterNotFound", "NoSuchInvite", "WrongWords"]


class CodeError(LocalProtocolError):
    """What was typed, pasted or scanned is no code. The person reads it again."""

    number = "FOG-INV-001"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, code="invite-code", hint=hint)


class InviterNotFound(TransportError):
    """Nobody within reach has this invite. The join stays pending and is tried again."""

    number = "FOG-INV-002"


class WrongWords(FogError):
    """Somebody has an invite of this number, with other words. Both sides know of the attempt."""

    number = "FOG-INV-003"


class InviteGone(FogError):
    """The inviter has this invite no longer; `reason` is `expired`, `used`, `burnt` or `unknown`.

    Ask for a new one.
    """

    number = "FOG-INV-004"

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class NoSuchInvite(FogError):
    """There is no invite, join or contact of that name here."""

    number = "FOG-INV-005"
