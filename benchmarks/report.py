"""What every benchmark says beside its figures: machine, commit, versions, medians with ranges."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median and range of one figure over the runs."""
    return {
        "median": rounded(statistics.median(values)),
        "min": rounded(min(values)),
        "max": rounded(max(values)),
        "runs": len(values),
    }


def rounded(value: float) -> float:
    """Four significant digits: more is noise."""
    return float(f"{value:.4g}")


def report(benchmark: str, packages: Iterable[str], body: Mapping[str, Any]) -> None:
    """Print the whole report as JSON."""
    document = {
        "benchmark": benchmark,
        "commit": _commit(),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
            "load_at_end": round(os.getloadavg()[0], 2),
        },
        "versions": {name: version(name) for name in ("fogp2p", *packages)},
        **body,
    }
    json.dump(document, sys.stdout, indent=1)
    sys.stdout.write("\n")


def _commit() -> str:
    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip()

    changed = "+changes" if git("status", "--porcelain", "-uno") else ""
    return (git("rev-parse", "HEAD") or "unknown") + changed


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "?")
