"""The relay lottery: draws nobody can steer and everybody can check.

A key holder proves with a verifiable random function (RFC 9381) that a seed follows from an epoch,
a public beacon and a purpose; the seed is expanded into weighted draws and stratified layers.
Everything here is pure. Spec: specs/lottery/lottery-v1.md.
"""

from .draw import Candidate, Candidates, draw, draw_distinct, stratify
from .ticket import Ticket
from .vrf import Suite, derive_public_key, proof_to_hash, prove, validate_key, verify

__all__ = [
    "Candidate",
    "Candidates",
    "Suite",
    "Ticket",
    "derive_public_key",
    "draw",
    "draw_distinct",
    "proof_to_hash",
    "prove",
    "stratify",
    "validate_key",
    "verify",
]
