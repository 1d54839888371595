"""What a simulation costs: segments carried a second, and real time for a virtual minute.

`python -m benchmarks.simulate` runs each scenario with 50 and 200 peers on a network without drawn
faults, and prints JSON. `--peers 1000` runs that size instead, which takes minutes. One run each:
virtual figures repeat exactly, real times vary with the machine.
"""

from __future__ import annotations

import argparse
import resource
import time
from multiprocessing import get_context
from typing import Any

from fogp2p.sim import SCENARIOS, Options, simulate

from .report import report, rounded

MINUTES = {"partition": 10.0, "churn": 2.0, "flash-crowd": 3.0}


def measure(name: str, peers: int) -> dict[str, Any]:
    """One run, in a process of its own: its memory is its own, too."""
    began = time.process_time()
    found = simulate(SCENARIOS[name], Options(peers, 1, MINUTES[name], faults=False))
    busy = time.process_time() - began
    return {
        "scenario": name,
        "peers": peers,
        "virtual_minutes": rounded(found.virtual_s / 60),
        "real_s": rounded(found.real_s),
        "cpu_s": rounded(busy),
        "cpu_s_per_virtual_minute": rounded(busy / (found.virtual_s / 60)),
        "segments_per_cpu_s": rounded(found.segments / busy),
        "delivered_per_cpu_s": rounded(found.samples[-1].delivered / busy),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "converged_after_s": found.converged_after_s,
        "held": found.succeeded,
        "trace": found.trace,
        "figures": {key: rounded(value) for key, value in found.figures.items()},
    }


def main() -> None:
    """Measure every scenario at every size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", type=int, nargs="*", default=[50, 200])
    parser.add_argument("--scenario", nargs="*", default=list(SCENARIOS))
    words = parser.parse_args()
    runs = []
    for name in words.scenario:
        for peers in words.peers:
            with get_context("spawn").Pool(1) as pool:
                runs.append(pool.apply(measure, (name, peers)))
    report("simulate", ("trio",), {"runs": runs})


if __name__ == "__main__":
    main()
