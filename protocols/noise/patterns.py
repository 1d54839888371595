"""The handshake patterns as tables of tokens (Noise sections 7.4 and 7.5)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Literal

__all__ = ["Pattern", "Token"]

Token = Literal["e", "s", "ee", "es", "se", "ss"]


@dataclass(frozen=True, slots=True)
class _Table:
    initiator_known: bool  # "-> s" before "...": the responder has the initiator's static key
    responder_known: bool  # "<- s" before "..."
    messages: tuple[tuple[Token, ...], ...]


class Pattern(enum.Enum):
    """Who proves what, and what each must know beforehand. The first message is the initiator's."""

    N = _Table(False, True, (("e", "es"),))
    X = _Table(False, True, (("e", "es", "s", "ss"),))
    KK = _Table(True, True, (("e", "es", "ss"), ("e", "ee", "se")))
    NK = _Table(False, True, (("e", "es"), ("e", "ee")))
    XX = _Table(False, False, (("e",), ("e", "ee", "s", "es"), ("s", "se")))
    IK = _Table(False, True, (("e", "es", "s", "ss"), ("e", "ee", "se")))

    @property
    def messages(self) -> tuple[tuple[Token, ...], ...]:
        """The tokens of each handshake message, in order."""
        return self.value.messages

    @property
    def one_way(self) -> bool:
        """Whether only the initiator ever sends (N and X)."""
        return len(self.messages) == 1

    def knows_remote(self, initiator: bool) -> bool:
        """Whether this side must have the other's static key before it starts."""
        return self.value.responder_known if initiator else self.value.initiator_known

    def needs_static(self, initiator: bool) -> bool:
        """Whether this side must have a static key pair of its own."""
        if initiator:
            sends = any("s" in tokens for tokens in self.messages[0::2])
            return sends or self.value.initiator_known
        return self.value.responder_known or any("s" in tokens for tokens in self.messages[1::2])

    @property
    def protocol_name(self) -> bytes:
        """The name hashed into every handshake (Noise section 8)."""
        return f"Noise_{self.name}_25519_ChaChaPoly_SHA256".encode("ascii")
