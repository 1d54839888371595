"""The demo."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.process


def test_three_peers_meet_talk_and_survive_a_crash() -> None:
    line = [sys.executable, "-m", "fogp2p", "--json", "--quiet", "demo", "--peers", "3"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert answer["schema"] == "demo/1" and answer["passed"]
    assert len(answer["checks"]) == 23 and all(check["passed"] for check in answer["checks"])
    figures = {check["what"]: check["figure"] for check in answer["checks"]}
    for part, health in (("gossip", "degraded"), ("host", "failing")):
        told = figures[f"status says what is wrong while {part} is down"]
        assert told.startswith(f"{health}, ") and "a failure was asked for" in told


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
def test_without_multicast_the_demo_says_so_and_uses_addresses() -> None:
    """In a network namespace whose only interface cannot multicast."""
    inner = 'ip link set lo up multicast off && exec "$@"'
    line = [sys.executable, "-m", "fogp2p", "--json", "demo", "--peers", "3"]
    done = subprocess.run(
        ["unshare", "-rn", "sh", "-c", inner, "sh", *line],
        capture_output=True,
        text=True,
        timeout=200,
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("this system allows no network namespaces")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "multicast" in done.stdout + done.stderr
    assert json.loads(done.stdout)["passed"]
