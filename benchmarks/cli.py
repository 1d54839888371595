"""How long a person waits for `fogp2p status`, beside what Python itself needs to start.

A peer runs on this machine, alone. `python -c pass`, `fogp2p status` and `fogp2p --help` take
turns, so that whatever else the machine does weighs on all of them. Wall time of whole processes,
from starting them to their end; processor time beside it, which the machine's load changes less.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.report import report, rounded

RUNS: Final = 40
SETTINGS: Final = ("--set=network.listen=/ip4/127.0.0.1/tcp/0", "--set=discovery.mdns=false")
LIMIT_MS: Final = 150.0


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="fogp2p-bench-") as home:
        ours = [sys.executable, "-m", "fogp2p", "--home", home]
        lines = {
            "bare": [sys.executable, "-c", "pass"],
            "status": [*ours, "status"],
            "status_json": [*ours, "status", "--json"],
            "help": [*ours, "--help"],
        }
        subprocess.run([*ours, "up", "-d", *SETTINGS], check=True, capture_output=True)
        try:
            for line in lines.values():  # caches of files and byte code
                _run(line)
            wall: dict[str, list[float]] = {name: [] for name in lines}
            busy: dict[str, list[float]] = {name: [] for name in lines}
            for _ in range(RUNS):
                for name, line in lines.items():
                    took, used = _run(line)
                    wall[name].append(took)
                    busy[name].append(used)
        finally:
            subprocess.run([*ours, "down"], check=True, capture_output=True)
    report("cli", ["click"], _body(wall, busy))
    return 0


def _run(line: Sequence[str]) -> tuple[float, float]:
    """(wall, processor) milliseconds of one process."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("FOGP2P_")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(
        line,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environ,
        cwd=_ROOT,
    )
    took = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return 1000 * took, 1000 * used


def _body(wall: dict[str, list[float]], busy: dict[str, list[float]]) -> dict[str, Any]:
    return {
        "ratio_to_bare_python": {
            name: {
                "p50": rounded(_percentile(wall[name], 0.5) / _percentile(wall["bare"], 0.5)),
                "p95": rounded(_percentile(wall[name], 0.95) / _percentile(wall["bare"], 0.95)),
                "processor_p50": rounded(
                    _percentile(busy[name], 0.5) / _percentile(busy["bare"], 0.5)
                ),
                "processor_p95": rounded(
                    _percentile(busy[name], 0.95) / _percentile(busy["bare"], 0.95)
                ),
            }
            for name in wall
            if name != "bare"
        },
        "wall_ms": {name: _spread(values) for name, values in wall.items()},
        "processor_ms": {name: _spread(values) for name, values in busy.items()},
        # Wall time counts for people; processor time for machines that are busy with other things.
        "status_p95_limit_ms": LIMIT_MS,
        "status_p95_kept": {
            "wall": _percentile(wall["status"], 0.95) <= LIMIT_MS,
            "processor": _percentile(busy["status"], 0.95) <= LIMIT_MS,
        },
        "runs_of_each": RUNS,
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "p50": rounded(_percentile(values, 0.5)),
        "p95": rounded(_percentile(values, 0.95)),
        "min": rounded(min(values)),
        "max": rounded(max(values)),
    }


def _percentile(values: list[float], share: float) -> float:
    """The smallest value that `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


_ROOT: Final = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    sys.exit(main())
