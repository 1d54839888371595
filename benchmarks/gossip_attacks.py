"""Gossip under attack: how much honest peers still hear, and how late. Simulated and seeded.

The attacks of `fogp2p.testing.gossip_world` on 30 honest peers with 20 Sybils each, over several
seeds, with and without the replacement of silent mesh members (specs/gossip GOS-031).
`python -m benchmarks.gossip_attacks [--seeds 5] [--write]`; `--write` puts the table into
docs/explain/gossip.md. Virtual time: the machine and its load do not change a figure.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.report import ROOT, report, rounded
from fogp2p.protocols.gossip import GossipConfig
from fogp2p.testing.gossip_world import ATTACKS, SYBILS_DIALLED, SYBILS_EACH, Outcome, attack

HONEST, SECONDS, RATE = 30, 60, 2.0
PAGE = ROOT / "docs" / "explain" / "gossip.md"
BEGIN, END = "<!-- attacks: begin -->\n", "<!-- attacks: end -->\n"


def one(job: tuple[str, bool, int]) -> tuple[str, bool, Outcome]:
    """One run."""
    name, replaces, seed = job
    config = GossipConfig(replace_silent=replaces)
    found = attack(name, seed, honest=HONEST, messages_per_s=RATE, seconds=SECONDS, config=config)
    return name, replaces, found


def summed(found: Sequence[Outcome]) -> dict[str, Any]:
    """The worst and the middle of the seeds."""
    settled = [each.settled_s for each in found if each.settled_s is not None]
    return {
        "delivered_percent_worst": rounded(100 * min(each.delivered for each in found)),
        "delivered_percent_median": rounded(
            100 * statistics.median(each.delivered for each in found)
        ),
        "first_ten_heartbeats_percent_worst": rounded(100 * min(each.early for each in found)),
        "p50_s_median": rounded(statistics.median(each.p50_s for each in found)),
        "p99_s_median": rounded(statistics.median(each.p99_s for each in found)),
        "settled_s_worst": max(settled) if len(settled) == len(found) else None,
        "settled_runs": f"{len(settled)}/{len(found)}",
        "sybils_in_mesh_percent": rounded(
            100 * statistics.median(each.sybils_in_mesh for each in found)
        ),
        "seeds": len(found),
    }


def table(figures: dict[str, dict[str, dict[str, Any]]]) -> str:
    """The Markdown table of the page."""
    lines = [
        "| attack | silent members | delivered, worst seed | of the first ten heartbeats | p50 "
        "| p99 | settled | Sybils in the meshes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, pair in figures.items():
        for kind, row in pair.items():
            settled = row["settled_s_worst"]
            lines.append(
                f"| {name} | {kind} | {row['delivered_percent_worst']} % "
                f"| {row['first_ten_heartbeats_percent_worst']} % | {row['p50_s_median']} s "
                f"| {row['p99_s_median']} s "
                f"| {f'{settled:g} s' if settled is not None else row['settled_runs'] + ' runs'} "
                f"| {row['sybils_in_mesh_percent']} % |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    jobs = [
        (name, replaces, seed)
        for name in ATTACKS
        for replaces in (True, False)
        for seed in range(1, chosen.seeds + 1)
    ]
    with multiprocessing.Pool(2) as pool:
        runs = pool.map(one, jobs, chunksize=1)
    figures: dict[str, dict[str, dict[str, Any]]] = {}
    for name in ATTACKS:
        for replaces, kind in ((True, "replaced"), (False, "kept")):
            found = [run for which, how, run in runs if (which, how) == (name, replaces)]
            figures.setdefault(name, {})[kind] = summed(found)
    if chosen.write:
        head, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
        tail = rest.partition(END)[2]
        PAGE.write_text(head + BEGIN + table(figures) + END + tail, "utf-8")
    raw = [{"replaced": how, **dataclasses.asdict(run)} for _, how, run in runs]
    for run in raw:
        if run["p99_s"] == float("inf"):
            run["p99_s"] = None
    workload = (
        f"{HONEST} honest peers, {SYBILS_EACH} Sybils each ({SYBILS_DIALLED} of them dialled by "
        f"the victim), {RATE:g} messages a second for {SECONDS} s under attack, virtual time"
    )
    report(
        "gossip_attacks",
        [],
        {"workload": workload, "attacks": ATTACKS, "figures": figures, "runs": raw},
    )


if __name__ == "__main__":
    main()
