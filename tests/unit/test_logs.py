"""What a log line may hold."""

from __future__ import annotations

import logging
import re

import pytest

from fogp2p.cli.logs import LineFormatter
from fogp2p.ids import PeerId


@pytest.mark.attack(103)
def test_a_peer_cannot_forge_lines_or_move_the_cursor() -> None:
    record = logging.LogRecord(
        "fogp2p.node.node",
        logging.INFO,
        "",
        1,
        "x reason=%s",
        ("a\nFAKE\x1b[2J" + "z" * 9_999,),
        None,
    )
    line = LineFormatter().format(record)
    assert "\n" not in line and "\x1b" not in line and len(line) < 2_100
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ info +node\.node  x reason=a", line)


@pytest.mark.attack(103)
def test_peers_are_named_by_six_characters() -> None:
    """Long enough to follow one in a log, too short to look it up elsewhere."""
    assert len(PeerId.from_ed25519(bytes(32)).short) == 6
