"""Attacks on the relay lottery."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from nacl import bindings as sodium
from nacl.exceptions import RuntimeError as SodiumRefused

from fogp2p.errors import RemoteProtocolError
from fogp2p.protocols.lottery import (
    Candidate,
    Candidates,
    Suite,
    Ticket,
    derive_public_key,
    draw,
    prove,
    verify,
)

ORDER = 2**252 + 27742317777372353535851937790883648493
# The eight points of small order, and encodings of them that are not canonical.
SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


def _refused(key: bytes, alpha: bytes, proof: bytes, suite: Suite = Suite.ELL2) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        verify(key, alpha, proof, suite=suite)
    return caught.value.code


@pytest.mark.attack(54)
@pytest.mark.spec("LOT-004", "LOT-005", "LOT-006")
def test_vrf_neg() -> None:
    """Non-canonical proofs, s >= q, small-order points, a second proof for the same input."""
    secret = random.Random(54).randbytes(32)
    public = derive_public_key(secret)
    proof = prove(secret, b"alpha")
    response = int.from_bytes(proof[48:], "little")
    for multiple in range(1, 16):
        lifted = response + multiple * ORDER
        if lifted < 2**256:
            altered = proof[:48] + lifted.to_bytes(32, "little")
            assert _refused(public, b"alpha", altered) == "vrf-form"
    for point in map(bytes.fromhex, SMALL_ORDER):
        assert _refused(public, b"alpha", point + proof[32:]) == "vrf-form"
        assert _refused(point, b"alpha", proof) == "vrf-key"
        # Gamma shifted by a torsion point: RFC 9381 would accept some of these.
        if sodium.crypto_core_ed25519_is_valid_point(point):
            continue
        try:
            shifted = sodium.crypto_core_ed25519_add(proof[:32], point)
        except SodiumRefused:  # the non-canonical encodings cannot be added at all
            continue
        if shifted != proof[:32]:
            assert _refused(public, b"alpha", shifted + proof[32:]) == "vrf-form"
    assert _refused(public, b"alpha", proof, Suite.TAI) == "vrf-proof"


@pytest.mark.attack(54)
@pytest.mark.spec("LOT-012")
def test_a_ticket_cannot_be_moved_to_another_epoch_beacon_or_purpose() -> None:
    ticket = Ticket.issue(bytes(32), epoch=9, beacon=bytes(32), purpose="path")
    altered = [
        Ticket(ticket.public_key, 10, ticket.beacon, ticket.purpose, ticket.proof),
        Ticket(ticket.public_key, 9, bytes(31) + b"\1", ticket.purpose, ticket.proof),
        Ticket(ticket.public_key, 9, ticket.beacon, "exit", ticket.proof),
        Ticket(derive_public_key(b"\1" * 32), 9, ticket.beacon, "path", ticket.proof),
    ]
    for forged in altered:
        with pytest.raises(RemoteProtocolError, match="does not verify"):
            forged.seed()


@pytest.mark.attack(54)
def test_a_prover_has_nothing_to_grind() -> None:
    """One key, epoch, beacon and purpose give one seed: trying again gives the same draw."""
    seeds = {
        Ticket.issue(bytes(32), epoch=1, beacon=bytes(32), purpose="p").seed() for _ in range(20)
    }
    assert len(seeds) == 1


@pytest.mark.attack(55)
@pytest.mark.spec("LOT-021")
def test_lottery_split() -> None:
    """Splitting a stake over many names does not change its odds (within 1 percentage point)."""
    seed, count = bytes(64), 200_000
    others = [Candidate(b"other-%d" % i, 10) for i in range(8)]
    whole = Candidates([Candidate(b"me", 20), *others])
    parts = Candidates([*(Candidate(b"me-%d" % i, 1) for i in range(20)), *others])
    for pool in (whole, parts):
        names = Counter(m.name.startswith(b"me") for m in draw(seed, "split", pool, count))
        assert abs(names[True] / count - 0.2) < 0.01
