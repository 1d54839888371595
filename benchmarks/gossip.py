"""Gossip among ten hosts in one process: ours, libp2p for Python as shipped, and js-libp2p.

120-byte signed messages from all hosts in turn, each connected to six, at several rates, each row
in a process of its own on one core (benchmarks/gossip_load.py, interop/js/gossip_load.mjs).
Messages are published when they are due, whatever became of those before; what counts is what
arrived at the other nine, verified, within ten seconds after the last. Latency is from when a
message was due.
After the load a probe every half second finds when all is well again.

`python -m benchmarks.gossip [--short] [--js DIRECTORY] [--only ours,stock,js]`. Under six minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.report import ROOT, report, rounded

HOSTS, DEGREE, BYTES, DRAIN_S = 10, 6, 120, 10
# Rate -> seconds. 200/s for 20 s is what we promise; past its knee a few seconds say enough.
ROWS: dict[str, dict[int, float]] = {
    "ours": {20: 8, 50: 8, 100: 10, 200: 20, 400: 10, 800: 8},
    "stock": {20: 20, 50: 8, 100: 8},
    # It loses its connections by pings every ten seconds: shorter rows would not show it.
    "js": {20: 8, 50: 8, 100: 20, 200: 20},
}
PATIENCE_S = 120


def edges() -> list[list[int]]:
    """Everybody is connected to the three before and the three behind: exactly six."""
    return [[n, (n + k) % HOSTS] for n in range(HOSTS) for k in range(1, DEGREE // 2 + 1)]


def command(name: str, javascript: Path) -> list[str]:
    """The program of one implementation, without its load."""
    if name == "js":
        program = "gossip_load.mjs"
        return [str(javascript / "node_modules" / ".bin" / "node"), str(javascript / program)]
    return [sys.executable, "-m", "benchmarks.gossip_load", name]


def row(words: list[str], rate: int, seconds: float) -> dict[str, Any]:
    """Run one row in a process of its own."""
    load = {
        "edges": edges(),
        "hosts": HOSTS,
        "rate": rate,
        "seconds": seconds,
        "drain_s": DRAIN_S,
        "bytes": BYTES,
    }
    done = subprocess.run(
        [*words, json.dumps(load)], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S
    )
    if done.returncode or not done.stdout:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return {"failed": f"exit status {done.returncode}: {last:.200}"}
    found: dict[str, Any] = json.loads(done.stdout)
    return {
        name: rounded(value) if isinstance(value, float) else value for name, value in found.items()
    }


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="three seconds a row: a check only")
    parser.add_argument("--js", type=Path, default=ROOT / "interop" / "js")
    parser.add_argument("--only", default="ours,stock,js")
    chosen = parser.parse_args()
    # One core for everything: children inherit it.
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    figures: dict[str, dict[str, Any]] = {}
    absent: dict[str, str] = {}
    for name in chosen.only.split(","):
        words = command(name, chosen.js)
        if not Path(words[0]).exists():
            absent[name] = "not installed: `make interop` installs it"
            continue
        for rate, seconds in ROWS[name].items():
            found = row(words, rate, min(3.0, seconds) if chosen.short else seconds)
            figures.setdefault(name, {})[f"{rate}/s"] = {"load": os.getloadavg()[0], **found}
            sys.stderr.write(f"{name} at {rate}/s: {json.dumps(found)}\n")
    workload = (
        f"{HOSTS} hosts in one process on one core, {DEGREE} connections each, "
        f"{BYTES}-byte signed messages, published when due"
    )
    body = {"workload": workload, "short": chosen.short, "absent": absent, "figures": figures}
    report("gossip", ["libp2p", "trio"], body)


if __name__ == "__main__":
    main()
