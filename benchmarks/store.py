"""Store: durable appends per second and how long one takes, alone and with 64 writers at once.

Baseline in the same run and on the same disk: plain sqlite3 in WAL mode, one row and one commit at
a time, at the same `synchronous`. Ratios come first. Also: what a checked opening costs.
Run: `python -m benchmarks.store [RUNS]`; prints JSON.
"""

from __future__ import annotations

import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import trio

from benchmarks.report import report, summary
from fogp2p.environment import real_environment
from fogp2p.store import Quota, StoreConfig, open_store

PAYLOAD: Final = bytes(200)
ALONE: Final = 400
WRITERS: Final = 64
EACH: Final = 40
OPENED_WITH: Final = 100_000
BIG: Final = Quota(1_000_000, 10**9)
Synchronous = Literal["FULL", "NORMAL"]


def plain(path: Path, synchronous: Synchronous) -> list[float]:
    """Seconds of each commit of the baseline."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    connection.execute("CREATE TABLE entry (number INTEGER PRIMARY KEY, payload BLOB) STRICT")
    took = []
    for _ in range(ALONE):
        start = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO entry (payload) VALUES (?)", (PAYLOAD,))
        connection.execute("COMMIT")
        took.append(time.perf_counter() - start)
    connection.close()
    return took


async def ours(
    path: Path, synchronous: Synchronous, writers: int, each: int
) -> tuple[list[float], float]:
    """Seconds of each append, and of all."""
    took: list[float] = []
    config = StoreConfig(synchronous=synchronous)
    async with open_store(path, real_environment(), config=config) as store:
        journal = store.journal("bench", BIG)

        async def write() -> None:
            for _ in range(each):
                start = time.perf_counter()
                await journal.append("bench", PAYLOAD)
                took.append(time.perf_counter() - start)

        start = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for _ in range(writers):
                nursery.start_soon(write)
        return took, time.perf_counter() - start


async def opening(path: Path) -> float:
    """Seconds to open, check and close a store of OPENED_WITH entries."""
    async with open_store(path, real_environment()) as store:
        journal = store.journal("bench", BIG)
        for _ in range(OPENED_WITH // 1_000):
            await store.write(lambda t: [journal.add(t, "bench", PAYLOAD) for _ in range(1_000)])
    start = time.perf_counter()
    async with open_store(path, real_environment()) as store:
        took = time.perf_counter() - start
        assert store.status().state == "ok"
    return took


def once(add: Callable[[str, float], None], folder: Path) -> None:
    """One run of everything, interleaved so that the machine's moods hit all alike."""
    modes: tuple[Synchronous, ...] = ("FULL", "NORMAL")
    for mode in modes:
        base = plain(folder / f"plain-{mode}.db", mode)
        alone, alone_s = trio.run(ours, folder / f"alone-{mode}.db", mode, 1, ALONE)
        group, group_s = trio.run(ours, folder / f"group-{mode}.db", mode, WRITERS, EACH)
        name, base_rate = mode.lower(), len(base) / sum(base)
        add(f"{name}_{WRITERS}_writers_to_plain", len(group) / group_s / base_rate)
        add(f"{name}_one_writer_to_plain", len(alone) / alone_s / base_rate)
        for label, each, all_s in (
            ("plain", base, sum(base)),
            ("one_writer", alone, alone_s),
            (f"{WRITERS}_writers", group, group_s),
        ):
            add(f"{name}_{label}_per_s", len(each) / all_s)
            add(f"{name}_{label}_p50_ms", statistics.median(each) * 1000)
            add(f"{name}_{label}_p99_ms", statistics.quantiles(each, n=100)[98] * 1000)
    add("open_and_check_100000_entries_s", trio.run(opening, folder / "large.db"))


def main(runs: int) -> None:
    results: dict[str, list[float]] = {}
    for _ in range(runs):
        with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
            once(lambda name, value: results.setdefault(name, []).append(value), Path(folder))
    figures = {name: summary(each) for name, each in sorted(results.items(), key=_ratios_first)}
    report("store", ["trio"], {"sqlite": sqlite3.sqlite_version, "figures": figures})


def _ratios_first(item: tuple[str, list[float]]) -> bool:
    return not item[0].endswith("_to_plain")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
