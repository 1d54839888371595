"""What must hold for every key, input and list of candidates."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fogp2p.errors import LocalProtocolError, RemoteProtocolError
from fogp2p.protocols.lottery import (
    Candidate,
    Candidates,
    Suite,
    Ticket,
    derive_public_key,
    draw,
    draw_distinct,
    prove,
    stratify,
    verify,
)

SECRETS = st.binary(min_size=32, max_size=32)
SUITES = st.sampled_from(list(Suite))
POOLS = st.dictionaries(
    st.binary(min_size=1, max_size=64), st.integers(1, 2**40), min_size=1, max_size=40
).map(lambda items: Candidates(Candidate(name, weight) for name, weight in items.items()))
SEED = bytes(range(64))


@settings(max_examples=60, deadline=None)
@given(SECRETS, st.binary(max_size=100), SUITES)
def test_an_honest_proof_verifies_and_is_the_only_one(
    secret: bytes, alpha: bytes, suite: Suite
) -> None:
    public = derive_public_key(secret)
    proof = prove(secret, alpha, suite=suite)
    assert proof == prove(secret, alpha, suite=suite)
    assert len(verify(public, alpha, proof, suite=suite)) == 64
    with pytest.raises(RemoteProtocolError):
        verify(public, alpha + b"\0", proof, suite=suite)


@pytest.mark.spec("LOT-004")
@settings(max_examples=120, deadline=None)
@given(st.integers(0, 80 * 8 - 1), SUITES)
def test_no_flipped_bit_of_a_proof_verifies(bit: int, suite: Suite) -> None:
    secret = bytes(32)
    proof = bytearray(prove(secret, b"a", suite=suite))
    proof[bit // 8] ^= 1 << bit % 8
    with pytest.raises(RemoteProtocolError):
        verify(derive_public_key(secret), b"a", bytes(proof), suite=suite)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=90), SUITES)
def test_verify_refuses_garbage_with_our_error_only(
    key: bytes, alpha: bytes, proof: bytes, suite: Suite
) -> None:
    with pytest.raises(RemoteProtocolError):
        verify(key, alpha, proof, suite=suite)


@pytest.mark.spec("LOT-010")
@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_a_ticket_decoder_raises_our_error_only(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Ticket.from_bytes(data).seed()


@pytest.mark.spec("LOT-021", "LOT-023")
@settings(max_examples=100, deadline=None)
@given(POOLS, st.data())
def test_draws_stay_inside_the_list(pool: Candidates, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(pool)))
    distinct = draw_distinct(SEED, "p", pool, count)
    assert len({member.name for member in distinct}) == count
    assert set(distinct) <= set(pool.members)
    drawn = draw(SEED, "p", pool, 50)
    assert len(drawn) == 50
    assert set(drawn) <= set(pool.members)
    # The first distinct draw and the first draw are the same draw.
    if count:
        assert distinct[0] == drawn[0]


@pytest.mark.spec("LOT-025")
@settings(max_examples=100, deadline=None)
@given(POOLS, st.integers(1, 5))
def test_layers_hold_everybody_once_and_balance(pool: Candidates, count: int) -> None:
    layers = stratify(SEED, "p", pool, min(count, len(pool)))
    assert sorted(member for layer in layers for member in layer) == list(pool.members)
    loads = [sum(member.weight for member in layer) for layer in layers]
    heaviest = max(member.weight for member in pool.members)
    assert max(loads) - min(loads) <= heaviest


def test_selection_frequency_follows_weight() -> None:
    """Chi-square over 200,000 draws: the 99.9 % quantile for 9 degrees of freedom is 27.88."""
    pool = Candidates(Candidate(b"n%d" % i, i + 1) for i in range(10))
    count = 200_000
    seen = Counter(draw(SEED, "frequency", pool, count))
    expected = {m: count * m.weight / pool.total_weight for m in pool.members}
    assert sum((seen[m] - e) ** 2 / e for m, e in expected.items()) < 27.88


def test_distinct_draws_follow_weight_among_those_left() -> None:
    """All six ordered pairs of three candidates; 99.9 % quantile for 5 degrees is 20.52."""
    pool = Candidates([Candidate(b"a", 1), Candidate(b"b", 2), Candidate(b"c", 5)])
    runs = 6_000
    seen = Counter(tuple(draw_distinct(SEED, f"run {i}", pool, 2)) for i in range(runs))
    score = 0.0
    for first in pool.members:
        for second in pool.members:
            if first is not second:
                odds = first.weight / 8 * second.weight / (8 - first.weight)
                score += (seen[(first, second)] - runs * odds) ** 2 / (runs * odds)
    assert score < 20.52


@pytest.mark.parametrize(
    "members",
    [
        [],
        [Candidate(b"", 1)],
        [Candidate(b"x" * 65, 1)],
        [Candidate(b"a", 0)],
        [Candidate(b"a", -1), Candidate(b"b", 5)],
        [Candidate(b"a", 1), Candidate(b"a", 2)],
        [Candidate(b"a", 2**48), Candidate(b"b", 1)],
    ],
)
@pytest.mark.spec("LOT-020")
def test_unusable_candidate_lists_are_refused(members: list[Candidate]) -> None:
    with pytest.raises(RemoteProtocolError, match="candidate list"):
        Candidates(members)


def test_a_list_larger_than_the_limit_is_refused_unread() -> None:
    endless = (Candidate(i.to_bytes(4, "big"), 1) for i in iter(int, 1))
    with pytest.raises(RemoteProtocolError):
        Candidates(endless)


def test_arguments_out_of_range_are_local_mistakes() -> None:
    pool = Candidates([Candidate(b"a", 1), Candidate(b"b", 1)])
    for call in (
        lambda: draw(SEED, "p", pool, 2**20 + 1),
        lambda: draw(SEED[:-1], "p", pool, 1),
        lambda: draw(SEED, "", pool, 1),
        lambda: draw_distinct(SEED, "p", pool, 3),
        lambda: stratify(SEED, "p", pool, 3),
        lambda: stratify(SEED, "p", pool, 0),
        lambda: prove(b"short", b""),
        lambda: prove(bytes(32), bytes(5000)),
        lambda: Ticket.issue(bytes(32), epoch=-1, beacon=bytes(32), purpose="p"),
        lambda: Ticket.issue(bytes(32), epoch=1, beacon=b"", purpose="p"),
    ):
        with pytest.raises(LocalProtocolError):
            call()
