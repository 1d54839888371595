"""A lottery ticket: one key holder's provable seed for one epoch and purpose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fogp2p.codec import Schema, decode, encode
from fogp2p.errors import LocalProtocolError

from .config import MAX_TICKET_BYTES
from .vrf import Suite, derive_public_key, prove, verify

__all__ = ["Ticket"]

_DOMAIN: Final = "fog/lottery/ticket/1"
_MAX_EPOCH: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Ticket:
    """What is published so that others can check a draw.

    `public_key` 32 bytes; `epoch` 0 to 2**63-1; `beacon` 16-64 bytes of public randomness that was
    unknown when the key was registered; `purpose` 1-64 characters; `proof` 80 bytes (suite ELL2).
    """

    public_key: bytes
    epoch: int
    beacon: bytes
    purpose: str
    proof: bytes

    @classmethod
    def issue(cls, secret_key: bytes, *, epoch: int, beacon: bytes, purpose: str) -> Ticket:
        """Prove the seed of `secret_key` (32 bytes). Raises LocalProtocolError out of range."""
        in_range = 0 <= epoch <= _MAX_EPOCH and 16 <= len(beacon) <= 64
        if not in_range or not 1 <= len(purpose.encode()) <= 64:
            raise LocalProtocolError("ticket field out of range", code="lottery-ticket")
        alpha = _alpha(epoch, beacon, purpose)
        proof = prove(secret_key, alpha, suite=Suite.ELL2)
        return cls(derive_public_key(secret_key), epoch, beacon, purpose, proof)

    @classmethod
    def from_bytes(cls, data: bytes) -> Ticket:
        """Read an encoded ticket; its proof is not checked yet. Raises RemoteProtocolError."""
        fields = decode(data, schema=_schema(), max_bytes=MAX_TICKET_BYTES)
        return cls(fields[1], fields[2], fields[3], fields[4], fields[5])

    def to_bytes(self) -> bytes:
        """The deterministic encoding (specs/lottery section 5)."""
        return encode(
            {1: self.public_key, 2: self.epoch, 3: self.beacon, 4: self.purpose, 5: self.proof}
        )

    def seed(self) -> bytes:
        """Verify the proof and return the 64-byte seed for `draw` and its sisters.

        Needs public data only. Whether key, epoch and beacon are the right ones is for the caller
        to compare. Raises RemoteProtocolError as `vrf.verify`.
        """
        alpha = _alpha(self.epoch, self.beacon, self.purpose)
        return verify(self.public_key, alpha, self.proof, suite=Suite.ELL2)


def _alpha(epoch: int, beacon: bytes, purpose: str) -> bytes:
    return encode([_DOMAIN, epoch, beacon, purpose])


def _schema() -> Schema:
    return Schema.load("lottery/v1.cddl", "ticket")
