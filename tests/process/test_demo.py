"""The demo, and what the README shows."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.process


def test_three_peers_meet_talk_and_survive_a_crash() -> None:
    line = [sys.executable, "-m", "fogp2p", "--json", "--quiet", "demo", "--peers", "3"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert answer["schema"] == "demo/1" and answer["passed"]
    assert len(answer["checks"]) == 15 and all(check["passed"] for check in answer["checks"])


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


def test_the_library_example_of_the_readme_runs(tmp_path: Path) -> None:
    """Both programs as printed, the second against the first."""
    server, client = re.findall(
        r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S
    )
    environ = os.environ | {
        "FOGP2P_NETWORK__LISTEN": "/ip4/127.0.0.1/tcp/0",
        "FOGP2P_DISCOVERY__MDNS": "false",
        "PYTHONUNBUFFERED": "1",
    }
    first = subprocess.Popen(
        [sys.executable, "-c", server],
        cwd=tmp_path,
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdout is not None
    try:
        address = first.stdout.readline().split()[-1]
        second = subprocess.run(
            [sys.executable, "-c", client, address],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (second.returncode, second.stdout) == (0, "HELLO\n"), second.stderr
    finally:
        first.kill()
        first.wait()
        first.stdout.close()
