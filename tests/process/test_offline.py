"""Reading works where there is no network at all, and nothing even tries to use one.

Peer and commands run in a network namespace of their own in which only loopback exists, and that is
down: there is no interface a packet could leave by.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.process
ALONE = ("unshare", "-rn")
READS = (
    "status",
    "peers",
    "services",
    "id",
    "config show --origin",
    "config where",
    "docs",
    "docs FOG-NET-002",
    "docs schemas",
    "events",
    "logs",
    "version",
)
# Runs in the namespace: a peer that listens on a loopback that is down, then the commands, with
# every network socket refused to them. What they print and how they end goes to the test.
PROGRAM = """
import json, pathlib, subprocess, sys
home, *reads = sys.argv[1:]
fogp2p = [sys.executable, "-m", "fogp2p", "--home", home]
up = subprocess.run(
    [*fogp2p, "--json", "up", "-d", "--set=network.listen=/ip4/0.0.0.0/tcp/0"],
    capture_output=True, text=True,
)
told = {"up": up.returncode, "said": up.stderr, "reads": {}}
reader = subprocess.run(
    [sys.executable, "-c", sys.stdin.read(), home, *reads], capture_output=True, text=True
)
told["reads"] = json.loads(reader.stdout or "{}")
told["said"] += reader.stderr
subprocess.run([*fogp2p, "down"], capture_output=True)
told["counters"] = {
    line.split(":")[0].strip(): line.split(":")[1].split()
    for line in pathlib.Path("/proc/net/dev").read_text().splitlines()[2:]
}
print(json.dumps(told))
"""
# Runs the commands one after another in one process, which spares a dozen starts of Python.
READER = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout

def refuse(event, values):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        raise RuntimeError("tried the network: " + event)
    if event == "socket.connect" and not isinstance(values[1], str):
        raise RuntimeError(f"tried the network: {values[1]}")

sys.addaudithook(refuse)
from fogp2p.cli import main

home, *reads = sys.argv[1:]
told = {}
for read in reads:
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["fogp2p", "--home", home, *read.split()]
    code = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    told[read] = [code, out.getvalue(), err.getvalue()]
print(json.dumps(told))
"""


@pytest.fixture
def alone() -> Iterator[None]:
    """Namespaces, where the kernel gives them to us."""
    try:
        done = subprocess.run([*ALONE, "true"], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no unshare(1)")
    if done.returncode != 0:
        pytest.skip(f"the kernel gives no namespaces: {done.stderr.strip()}")
    yield


@pytest.mark.usefixtures("alone")
def test_reading_works_without_any_network(tmp_path: Path) -> None:
    import json

    line = [*ALONE, sys.executable, "-c", PROGRAM, str(tmp_path), *READS]
    done = subprocess.run(line, input=READER, capture_output=True, text=True, timeout=120)
    told = json.loads(done.stdout)
    assert told["up"] == 0 and list(told["reads"]) == list(READS), told["said"]
    for read, (code, out, err) in told["reads"].items():
        assert code == 0, (read, err)
        assert "Traceback" not in err and "tried the network" not in err
        assert out.strip() or read in ("events", "logs"), read
    # The only interface is loopback, and not one packet went through it.
    assert list(told["counters"]) == ["lo"]
    received, sent = told["counters"]["lo"][1], told["counters"]["lo"][9]
    assert (received, sent) == ("0", "0")
    # It says why it is alone.
    status = told["reads"]["status"][1]
    assert "why:" in status and "try:" in status
