"""What a page cannot mean literally, line by line. Every entry stands in some page (test_links)."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .machine import Machine
from .manager import start_unit

ROOT = Path(__file__).resolve().parents[2]

SAMPLES = {
    "5f1c0d": r"\b[0-9a-f]{64}\b",
    "bafireia": r"\bbafirei[a-z2-7]{52}\b",
    "7-copper-lake": r"\b\d{1,3}-[a-z]+-[a-z]+\b",
    "i-3fa2c1": r"\bi-[0-9a-f]{6}\b",
    "FOGP2P:...": r"\bFOGP2P:[A-Z2-7]+\b",
    "80df9514f08a": r"(?<=\bid )[0-9a-f]{12}\b",
    "/ip4/192.168.1.7/tcp/7460/p2p/12D3KooW...": r"/ip[46]/\S+/p2p/\w+",
    "/ip4/127.0.0.1/tcp/7460/p2p/12D3KooW...": r"/ip[46]/\S+/p2p/\w+",
}
"""A value as a page shows it -> how the real one looks; the last one that was printed is meant."""

PORTS = ("7460", "7461")
"""Ports that pages name; each page gets free ones instead."""

PEER = "3kPz6Q"
"""The end of the other machine's peer id, seen from the machine that the line is typed on."""

UNTIL_INTERRUPTED = {
    "fogp2p invite --watch": r"works once",
    "fogp2p events --follow": "",
    "python shout.py": r"at /ip4/",
    "python serve_tally.py": r"at /ip4/",
    """curl -sN --unix-socket "$SOCKET" 'http://localhost/api/v1/events?since=0'""": r"data: ",
}
"""Lines that run until Ctrl+C, or until the other machine acts -> what they print first."""

ENDS_WITH = {
    # A peer that is alone is a warning.
    "fogp2p doctor": {0, 8},
    "fogp2p config set network.target_peer 12": {9},
}
"""Lines that may end with another exit code than 0."""


@dataclass(frozen=True)
class Elsewhere:
    """A line that the tests do not run: why, and what is done instead."""

    reason: str
    check: Callable[[str, Machine], None] = lambda line, machine: None


def _make_knows(line: str, machine: Machine) -> None:
    done = subprocess.run(
        [*shlex.split(line), "-n", "WORKERS=1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr


def _collects(line: str, machine: Machine) -> None:
    words = [word for word in line.split()[2:] if word.startswith("tests/")]
    assert all((ROOT / word).is_dir() for word in words)


def _unit_exists(line: str, machine: Machine) -> None:
    assert (ROOT / next(word for word in line.split() if word.startswith("deploy/"))).is_file()


_ROOT = "needs root; test_units.py looks at the units"
_MANAGER = "needs a service manager; test_units.py looks at the units"

ELSEWHERE = {
    "make demo": Elsewhere("tests/process/test_demo.py runs the demo", _make_knows),
    "make test": Elsewhere("runs this test", _make_knows),
    "make check": Elsewhere("runs this test", _make_knows),
    "make dev": Elsewhere("the tests run in what it makes", _make_knows),
    **{
        f".venv/bin/python -m pytest -q {rest}": Elsewhere("runs tests", _collects)
        for rest in (
            "tests/unit",
            "tests/property -n 2",
            "-m attack",
            "tests/docs -k README",
        )
    },
    ". .venv/bin/activate": Elsewhere("the tests run in such an environment"),
    "systemctl --user daemon-reload": Elsewhere(_MANAGER),
    "systemctl --user enable --now fogp2p": Elsewhere(
        "needs a service manager; the test starts the unit's program as one does",
        lambda line, machine: start_unit(machine, "fogp2p.service"),
    ),
    "systemctl --user status fogp2p": Elsewhere(_MANAGER),
    "journalctl --user -u fogp2p -n 20": Elsewhere(_MANAGER),
    "loginctl enable-linger": Elsewhere(_MANAGER),
    "sudo useradd --system --no-create-home --shell /usr/sbin/nologin fogp2p": Elsewhere(_ROOT),
    "sudo python3 -m venv /opt/fogp2p": Elsewhere(_ROOT),
    **{
        f"sudo /opt/fogp2p/bin/pip install {rest}": Elsewhere("needs root; tools/venv.sh does it")
        for rest in (
            "--require-hashes --no-deps -r requirements/build.lock",
            "--require-hashes --no-deps --no-build-isolation --use-pep517 -r requirements/run.lock",
            "--no-index --no-deps --no-build-isolation .",
        )
    },
    "sudo cp deploy/systemd/fogp2p.service /etc/systemd/system/": Elsewhere(_ROOT, _unit_exists),
    "sudo systemctl daemon-reload": Elsewhere(_ROOT),
    "sudo systemctl enable --now fogp2p": Elsewhere(_ROOT),
    "sudo -u fogp2p /opt/fogp2p/bin/fogp2p --home /var/lib/fogp2p status": Elsewhere(_ROOT),
    "systemd-ask-password -n | sudo systemd-creds encrypt --name=fogp2p.passphrase - "
    "/etc/fogp2p.passphrase.cred": Elsewhere(_ROOT),
}
"""By the line as it stands in the page, without its comment."""
