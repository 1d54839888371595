"""Run all libraries in turn, several times, and print one report.

`python -m benchmarks.wire [--runs 5] [--crowd 100]` takes a few minutes. js-libp2p runs beside when
`npm ci` has been done in interop/js; without it the report says so.
Server and client are two processes over loopback TCP. The order rotates from run to run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.report import ROOT, report, rounded, summary

JS = ROOT / "interop" / "js"
NODE = JS / "node_modules" / ".bin" / "node"
# Reached, if: ours compared with js or stock, as (figure, library, factor, "at least"/"at most").
GOALS = [
    ("upload_MB_per_s", "js", 1.0, "at least"),
    ("upload_MB_per_s", "stock", 1.25, "at least"),
    ("warm_connect_p50_ms", "js", 1.0, "at most"),
    ("new_stream_p50_ms", "js", 1.0, "at most"),
    ("new_stream_p99_ms", "js", 1.0, "at most"),
    ("new_stream_p99_ms", "stock", 1.0, "at most"),
    ("round_trip_p50_ms", "js", 2.0, "at most"),
    ("round_trip_p99_ms", "js", 1.0, "at most"),
    ("messages_per_s", "js", 0.5, "at least"),
    ("rss_per_connection_kB", "stock", 1.0, "at most"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--crowd", type=int, default=100, help="inbound connections for memory")
    options = parser.parse_args()
    libraries = {
        "fog": [sys.executable, "-m", "benchmarks.wire.fog"],
        "stock": [sys.executable, "-m", "benchmarks.wire.stock"],
    }
    if NODE.exists():
        libraries["js"] = [str(NODE), str(JS / "peer.mjs")]
    figures: dict[str, dict[str, list[float]]] = {name: {} for name in libraries}
    for run in range(options.runs):
        order = list(libraries)
        for name in order[run % len(order) :] + order[: run % len(order)]:
            for figure, value in _run(libraries[name], options.crowd).items():
                figures[name].setdefault(figure, []).append(value)
            sys.stderr.write(f"run {run + 1}: {name} done\n")
    _print(figures)


def _run(command: list[str], crowd: int) -> dict[str, float]:
    with _server(command) as server:
        done = subprocess.run(
            [*command, "client", server.address],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{command} failed:\n{done.stderr[-2_000:]}")
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    with _server(command) as server:
        before = server.ask()["rss"]
        with _process([*command, "crowd", server.address, str(crowd)]) as many:
            assert many.stdout is not None
            json.loads(many.stdout.readline())
            after = server.ask()
            assert after["connections"] >= crowd, after
    found["rss_per_connection_kB"] = (after["rss"] - before) / crowd / 1e3
    return found


class _Server:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.address = str(self._hear("address"))

    def ask(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return {"rss": self._hear("rss"), "connections": self._last["connections"]}

    def _hear(self, key: str) -> Any:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            self._last = json.loads(line)
            if key in self._last:
                return self._last[key]
        raise RuntimeError("the server ended")


@contextmanager
def _process(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def _server(command: list[str]) -> Iterator[_Server]:
    with _process([*command, "serve"]) as process:
        yield _Server(process)


def _print(figures: dict[str, dict[str, list[float]]]) -> None:
    medians = {
        name: {figure: summary(values)["median"] for figure, values in found.items()}
        for name, found in figures.items()
    }
    goals = []
    for figure, other, factor, kind in GOALS:
        if other not in medians:
            continue
        ratio = medians["fog"][figure] / medians[other][figure]
        goals.append(
            {
                "goal": f"{figure} {kind} {factor} x {other}",
                "ratio": rounded(ratio),
                "reached": ratio >= factor if kind == "at least" else ratio <= factor,
            }
        )
    body: dict[str, Any] = {
        "workload": {
            "transport": "TCP over loopback, Noise, yamux; server and client in two processes",
            "upload": "100 MiB in writes of 256 KiB on one stream, counted by the receiver",
            "new_stream": "open, write 1 byte, read it back; 300 times",
            "round_trip": "100 bytes and back on one stream; 3,000 times after 200",
            "messages": "60,000 writes of 100 bytes one way, counted by the receiver",
            "warm_connect": "connect and Noise handshake; 20 times after the first",
            "rss_per_connection": "growth of the server with so many inbound connections",
        },
        "goals": goals,
        "figures": {
            name: {figure: summary(values) for figure, values in found.items()}
            for name, found in figures.items()
        },
    }
    if "js" not in figures:
        body["missing"] = "js-libp2p: run `npm ci` in interop/js"
    report("wire", ["libp2p", "trio", "cryptography", "pynacl"], body)


if __name__ == "__main__":
    main()
