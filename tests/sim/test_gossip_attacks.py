"""The attacks of the gossipsub evaluation on real routers; figures in docs/explain/gossip.md.

The margins are below what benchmarks/gossip_attacks.py found over its seeds.
"""

from __future__ import annotations

import pytest

from fogp2p.protocols.gossip import GossipConfig
from fogp2p.testing.gossip_world import ATTACKS, attack

# Delivered at all, and within six seconds of what was published in the first ten heartbeats.
MARGINS = {
    "none": (1.0, 1.0),
    "eclipse": (0.995, 0.99),
    "cold boot": (0.995, 0.99),
    "covert flash": (0.995, 0.99),
    "attack at dawn": (0.995, 0.99),
    "censor": (0.995, 0.99),
}


def test_every_attack_has_its_margin() -> None:
    assert set(MARGINS) == set(ATTACKS)


@pytest.mark.attack(27)
@pytest.mark.attack(28)
@pytest.mark.parametrize("name", MARGINS)
def test_twenty_sybils_for_each_honest_peer_do_not_stop_delivery(name: str) -> None:
    found = attack(name, 1, honest=20, seconds=40)
    assert found.sybils == (0 if name == "none" else 400) and found.messages == 80
    delivered, early = MARGINS[name]
    assert found.delivered >= delivered, found
    assert found.early >= early, found
    assert found.p50_s < 0.5, found


@pytest.mark.spec("GOS-031")
@pytest.mark.attack(28)
def test_replacing_silent_members_shortens_what_sybils_delay() -> None:
    """Without it the meshes stay full of Sybils that once behaved, and messages come by asking."""
    kept = attack("covert flash", 2, honest=20, config=GossipConfig(replace_silent=False))
    replaced = attack("covert flash", 2, honest=20)
    assert replaced.sybils_in_mesh < kept.sybils_in_mesh
    assert replaced.p50_s < kept.p50_s / 2
    assert replaced.delivered >= kept.delivered


def test_a_run_is_decided_by_its_seed() -> None:
    assert attack("cold boot", 3, honest=8, seconds=10) == attack(
        "cold boot", 3, honest=8, seconds=10
    )
