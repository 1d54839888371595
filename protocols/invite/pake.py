"""SPAKE2 over Ed25519, from the `spake2` package, with its randomness as an argument.

Both moves of one side take 8 ms together: call them off the event loop.
Spec: specs/invite/invite-v1.md section 6.
"""

from __future__ import annotations

from typing import Final

from spake2 import SPAKE2_A, SPAKE2_B, SPAKEError
from spake2.ed25519_basic import NotOnCurve

from fogp2p.errors import LocalProtocolError, RemoteProtocolError
from fogp2p.ids import PeerId

__all__ = ["ENTROPY_BYTES", "Exchange"]

# What the package draws for its one scalar of 253 bits.
ENTROPY_BYTES: Final = 64


class Exchange:
    """One side of one exchange. Used once; holds the password until it is dropped."""

    def __init__(
        self, password: bytes, *, joiner: PeerId, inviter: PeerId, is_joiner: bool, entropy: bytes
    ) -> None:
        """Raises LocalProtocolError("invite-entropy") unless `entropy` has 64 fresh bytes."""
        if len(entropy) != ENTROPY_BYTES:
            raise LocalProtocolError("64 bytes of entropy wanted", code="invite-entropy")
        side = SPAKE2_A if is_joiner else SPAKE2_B

        def draw(count: int) -> bytes:
            assert count == ENTROPY_BYTES, "the package draws once"
            return entropy

        self._spake = side(password, idA=joiner.raw, idB=inviter.raw, entropy_f=draw)

    def start(self) -> bytes:
        """Our message, 33 bytes."""
        message: bytes = self._spake.start()
        return message

    def finish(self, message: bytes) -> bytes:
        """The key, 32 bytes, the same on both sides if and only if the passwords were.

        Raises RemoteProtocolError("invite-pake") for a message of our own side, our own message,
        or what is no point of the group.
        """
        try:
            key: bytes = self._spake.finish(message)
        except (SPAKEError, NotOnCurve, ValueError) as exc:
            raise RemoteProtocolError("not a message of SPAKE2", code="invite-pake") from exc
        return key
