"""Whom the connector dials next."""

from __future__ import annotations

import math

from fogp2p.addresses import parse_address
from fogp2p.host import Sighting
from fogp2p.ids import PeerId
from fogp2p.node.candidates import Candidates
from fogp2p.node.settings import MAX_CANDIDATES, RETRY_MOST_S

ME, ADA, BOB = (PeerId.from_ed25519(bytes([n]) * 32) for n in (1, 2, 3))
HERE, THERE = parse_address("/ip4/10.0.0.1/tcp/1"), parse_address("/ip4/10.0.0.2/tcp/1")


def _seen(peer: PeerId, *, until: float = 120.0, at: object = HERE) -> Sighting:
    return Sighting(peer, (at,), "mdns", until)  # type: ignore[arg-type]


def _due(candidates: Candidates, now: float, *busy: PeerId) -> list[PeerId]:
    return [peer for peer, _ in candidates.due(now, busy=busy, most=8)]


def test_a_sighting_is_due_at_once_and_never_ourselves() -> None:
    candidates = Candidates(ME)
    for peer in (ME, ADA, BOB):
        candidates.saw(_seen(peer), 0.0)
    assert _due(candidates, 0.0) == [ADA, BOB]
    assert _due(candidates, 0.0, ADA) == [BOB]
    assert candidates.due(0.0, busy=(), most=1) == [(ADA, (HERE,))]
    assert candidates.due(0.0, busy=(), most=-3) == []


def test_failures_double_the_pause_up_to_a_limit() -> None:
    candidates = Candidates(ME)
    candidates.saw(_seen(ADA, until=math.inf), 0.0)
    pauses = []
    now = 0.0
    for _ in range(14):
        candidates.failed(ADA, "refused", now, 0.0)
        due = candidates.next_deadline(now, busy=())
        assert _due(candidates, math.nextafter(due, 0.0)) == []
        pauses.append(due - now)
        now = due
        assert _due(candidates, now) == [ADA]
    assert pauses[:4] == [1.0, 2.0, 4.0, 8.0] and pauses[-1] == RETRY_MOST_S
    assert candidates.failures() == [(ADA, "refused")]
    candidates.connected(ADA)
    assert candidates.failures() == []


def test_a_new_address_ends_the_pause() -> None:
    candidates = Candidates(ME)
    candidates.saw(_seen(ADA), 0.0)
    candidates.failed(ADA, "refused", 0.0, 1.0)
    candidates.saw(_seen(ADA), 0.5)
    assert _due(candidates, 0.5) == []
    candidates.saw(_seen(ADA, at=THERE), 0.5)
    assert candidates.due(0.5, busy=(), most=8) == [(ADA, (THERE, HERE))]


def test_expired_sightings_and_farewells_are_forgotten() -> None:
    candidates = Candidates(ME)
    candidates.saw(_seen(ADA), 0.0)
    assert _due(candidates, 120.0) == [] and len(candidates) == 0
    candidates.saw(_seen(ADA, until=math.inf), 121.0)
    candidates.saw(_seen(ADA, until=121.0), 122.0)
    assert len(candidates) == 0


def test_a_lost_connection_is_made_again_soon() -> None:
    candidates = Candidates(ME)
    candidates.saw(_seen(ADA), 0.0)
    candidates.lost(ADA, 10.0, 0.5)
    assert candidates.next_deadline(10.0, busy=()) == 10.5


def test_a_storm_does_not_drive_out_configured_peers() -> None:
    candidates = Candidates(ME)
    candidates.saw(_seen(ADA, until=math.inf), 0.0)
    for n in range(2 * MAX_CANDIDATES):
        candidates.saw(_seen(PeerId.from_ed25519(n.to_bytes(32)), until=50.0 + n), 0.0)
    assert len(candidates) == MAX_CANDIDATES
    assert ADA in [peer for peer, _ in candidates.due(0.0, busy=(), most=MAX_CANDIDATES)]
