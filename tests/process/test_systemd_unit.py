"""A peer as systemd starts it: a socket to tell, a credential with the passphrase."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process


def test_the_manager_hears_ready_alive_and_stopping(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "fogp2p.passphrase").write_text("from systemd\n")
    home = tmp_path / "home"
    environ = {k: v for k, v in os.environ.items() if not k.startswith("FOGP2P_")}
    settings = ["network.listen=/ip4/127.0.0.1/tcp/0", "discovery.mdns=false"]
    flags = [word for setting in settings for word in ("--set", setting)]
    line = [sys.executable, "-m", "fogp2p", "--home", str(home), "--quiet", "up", *flags]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        environ |= {
            "NOTIFY_SOCKET": manager.getsockname(),
            "WATCHDOG_USEC": "200000",
            "CREDENTIALS_DIRECTORY": str(credentials),
        }
        process = subprocess.Popen(line, env=environ)
        try:
            ready = manager.recv(4096).decode()
            assert ready.startswith("READY=1\nSTATUS=") and "12D3KooW" in ready
            assert [manager.recv(4096) for _ in range(3)] == [b"WATCHDOG=1"] * 3
            process.send_signal(signal.SIGTERM)
            heard = manager.recv(4096)
            while heard == b"WATCHDOG=1":
                heard = manager.recv(4096)
            assert heard == b"STOPPING=1"
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()
    show = [sys.executable, "-m", "fogp2p", "--home", str(home), "id"]
    del environ["CREDENTIALS_DIRECTORY"]
    locked = subprocess.run(show, capture_output=True, text=True, timeout=60, env=environ)
    assert locked.returncode == 9 and "passphrase" in locked.stderr
    environ["FOGP2P_PASSPHRASE"] = "from systemd"
    shown = subprocess.run(show, capture_output=True, text=True, timeout=60, env=environ)
    assert shown.returncode == 0 and shown.stdout.startswith("12D3KooW")
