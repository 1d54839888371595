"""The local API of a real peer: TCP with a token, a new token after kill -9, settings that stay."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fogp2p.client import Client, PeerSaid

pytestmark = pytest.mark.process


def _run(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("FOGP2P_")}
    line = [sys.executable, "-m", "fogp2p", "--home", str(home), *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, env=environ)


def _up(home: Path) -> int:
    started = _run(home, "--json", "up", "-d")
    assert started.returncode == 0, started.stderr
    return int(json.loads(started.stdout)["pid"])


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = int(free.getsockname()[1])
    (tmp_path / "config.toml").write_text(
        '[network]\nlisten = ["/ip4/127.0.0.1/tcp/0"]\n[discovery]\nmdns = false\ndht = "off"\n'
        f'[api]\ntcp = "127.0.0.1:{number}"  # for the browser\n'
    )
    yield number
    _run(tmp_path, "down")


@pytest.mark.attack(89)
def test_tcp_token_restart_and_settings(tmp_path: Path, port: int) -> None:
    url, token_file = f"http://127.0.0.1:{port}/", tmp_path / "run" / "api.token"
    pid = _up(tmp_path)
    old = token_file.read_text()
    client = Client(url, token_file=token_file)
    assert client.get("status")["health"] == "ok"
    changed = client.patch("config", {"set": {"network.target_peers": 5}})
    assert changed["restart_needed"] and changed["overridden"] == []
    os.kill(pid, signal.SIGKILL)
    while _run(tmp_path, "status").returncode != 3:
        pass
    assert token_file.exists()  # kill -9 cleans nothing up
    _up(tmp_path)
    assert token_file.read_text() != old
    assert client.get("status")["peers_wanted"] == 5
    assert "# for the browser" in (tmp_path / "config.toml").read_text()
    stale = tmp_path / "stale"
    stale.write_text(old)
    stale.chmod(0o600)
    with pytest.raises(PeerSaid) as caught:
        Client(url, token_file=stale).get("status")
    assert caught.value.status == 401
    assert _run(tmp_path, "down").returncode == 0
    assert list((tmp_path / "run").iterdir()) == []
