"""The lottery against RFC 9381's vectors and the published ones of specs/lottery."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest

from fogp2p.errors import RemoteProtocolError
from fogp2p.protocols.lottery import (
    Candidate,
    Candidates,
    Suite,
    Ticket,
    derive_public_key,
    draw,
    draw_distinct,
    proof_to_hash,
    prove,
    stratify,
    verify,
)
from fogp2p.protocols.lottery.vrf import encode_to_curve


def _load(name: str) -> Any:
    return json.loads(files("fogp2p.specs").joinpath(f"lottery/vectors/v1/{name}").read_text())


RFC = _load("rfc9381.json")
RFC_CASES = [(suite, case) for suite in ("tai", "ell2") for case in RFC[suite]]


@pytest.mark.spec("LOT-001", "LOT-002", "LOT-003")
@pytest.mark.parametrize(("suite_name", "case"), RFC_CASES)
def test_rfc9381_vectors(suite_name: str, case: dict[str, str]) -> None:
    suite = Suite.TAI if suite_name == "tai" else Suite.ELL2
    secret, public, alpha, proof, beta = (
        bytes.fromhex(case[key]) for key in ("sk", "pk", "alpha", "pi", "beta")
    )
    assert derive_public_key(secret) == public
    assert encode_to_curve(public, alpha, suite).hex() == case["h"]
    assert prove(secret, alpha, suite=suite) == proof
    assert verify(public, alpha, proof, suite=suite) == beta
    assert proof_to_hash(proof, suite=suite) == beta


@pytest.mark.spec("LOT-004", "LOT-005", "LOT-006")
@pytest.mark.parametrize("case", _load("vrf-invalid.json")["invalid"], ids=lambda c: c["name"])
def test_invalid_proofs_are_refused_with_their_code(case: dict[str, str]) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        verify(*(bytes.fromhex(case[key]) for key in ("public_key", "alpha", "proof")))
    assert caught.value.code == case["code"]


@pytest.mark.spec("LOT-010", "LOT-011")
@pytest.mark.parametrize("case", _load("ticket.json")["valid"], ids=lambda c: c["name"])
def test_tickets_encode_and_verify(case: dict[str, Any]) -> None:
    ticket = Ticket.issue(
        bytes.fromhex(case["secret_key"]),
        epoch=case["epoch"],
        beacon=bytes.fromhex(case["beacon"]),
        purpose=case["purpose"],
    )
    assert ticket.to_bytes().hex() == case["encoded"]
    assert Ticket.from_bytes(bytes.fromhex(case["encoded"])).seed().hex() == case["seed"]


@pytest.mark.spec("LOT-010", "LOT-012")
@pytest.mark.parametrize("case", _load("ticket.json")["invalid"], ids=lambda c: c["name"])
def test_invalid_tickets_are_refused_with_their_code(case: dict[str, str]) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        Ticket.from_bytes(bytes.fromhex(case["encoded"])).seed()
    assert caught.value.code == case["code"]


@pytest.mark.spec("LOT-020", "LOT-021", "LOT-022", "LOT-023", "LOT-024", "LOT-025")
@pytest.mark.parametrize("case", _load("draws.json")["valid"], ids=lambda c: c["name"])
def test_draws_follow_from_the_seed(case: dict[str, Any]) -> None:
    seed = bytes.fromhex(case["seed"])
    pool = Candidates(
        Candidate(bytes.fromhex(name), weight) for name, weight in reversed(case["candidates"])
    )
    assert pool.digest.hex() == case["digest"]

    def names(members: list[Candidate]) -> list[str]:
        return [member.name.hex() for member in members]

    assert names(draw(seed, case["purpose"], pool, len(case["draw"]))) == case["draw"]
    distinct = draw_distinct(seed, case["purpose"], pool, len(case["draw_distinct"]))
    assert names(distinct) == case["draw_distinct"]
    layers = stratify(seed, case["purpose"], pool, len(case["stratify"]))
    assert [names(layer) for layer in layers] == case["stratify"]


def test_draws_match_a_reader_written_from_the_text() -> None:
    """specs/lottery section 6 in fifteen lines that share nothing with the library."""
    import hashlib

    import cbor2

    case = _load("draws.json")["valid"][1]
    digest = hashlib.sha256()
    for name, weight in case["candidates"]:
        raw = bytes.fromhex(name)
        digest.update(bytes([len(raw)]) + raw + weight.to_bytes(8, "big"))
    source = cbor2.dumps(
        ["fog/lottery/draw/1", bytes.fromhex(case["seed"]), case["purpose"], digest.digest()]
    )
    stream = hashlib.shake_256(source).digest(8 * 1000)
    total = sum(weight for _, weight in case["candidates"])
    drawn: list[str] = []
    for at in range(0, len(stream), 8):
        value = int.from_bytes(stream[at : at + 8], "big") // (2**64 // total)
        for name, weight in case["candidates"]:
            if 0 <= value < weight:
                drawn.append(name)
            value -= weight
    assert drawn[: len(case["draw"])] == case["draw"]
