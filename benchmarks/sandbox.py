"""The sandbox: jobs a second, cold start, replacement, and how late the event loop is meanwhile.

Beside it in the same run: the same WASI job by wasmtime in this process, without any isolation.
`python -m benchmarks.sandbox [--runs 3] [--cache DIR]`; the first time builds the Python runner.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import time
from pathlib import Path

import trio
import wasmtime

from benchmarks.report import report, rounded, summary
from fogp2p.environment import real_environment
from fogp2p.sandbox import Job, Kind, Limits, Sandbox, SandboxConfig, open_sandbox
from fogp2p.sandbox.engine import make_engine

HELLO = bytes(
    wasmtime.wat2wasm("""(module
 (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
 (memory (export "memory") 1) (data (i32.const 8) "hello\\n")
 (func (export "_start") (i32.store (i32.const 0) (i32.const 8))
  (i32.store (i32.const 4) (i32.const 6))
  (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 100)))))""")
)
FLOOD = bytes(
    wasmtime.wat2wasm("""(module
 (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
 (memory (export "memory") 2)
 (func (export "_start") (i32.store (i32.const 4) (i32.const 65536))
  (loop (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (br 0))))""")
)
WORKERS, AT_ONCE = 2, 4
WASI_JOBS, PYTHON_JOBS = 1_500, 300
DOUBLE = b"def f(x):\n    return x * 2"


async def rate(box: Sandbox, job: Job, count: int) -> float:
    async def some() -> None:
        for _ in range(count // AT_ONCE):
            assert (await box.run(job)).succeeded

    start = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(some)
    return count / (time.perf_counter() - start)


async def loop_lag(box: Sandbox) -> float:
    """How late a 5 ms timer is while two guests flood their output: 99th percentile, in ms."""
    lags: list[float] = []

    async def tick() -> None:
        while True:
            start = trio.current_time()
            await trio.sleep(0.005)
            lags.append(1e3 * (trio.current_time() - start - 0.005))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        async with trio.open_nursery() as jobs:
            for _ in range(WORKERS):
                jobs.start_soon(box.run, Job(Kind.WASI_COMMAND, FLOOD, limits=Limits(fuel=10**15)))
        nursery.cancel_scope.cancel()
    return sorted(lags)[int(len(lags) * 0.99)]


async def replacement(box: Sandbox) -> float:
    """From SIGKILL of an idle sandbox's only worker to the next job's result, in ms."""
    pid = box._idle[0].pid
    start = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    while not (await box.run(Job(Kind.WASI_COMMAND, HELLO))).succeeded:
        pass
    return 1e3 * (time.perf_counter() - start)


def in_process(count: int) -> float:
    """No isolation at all: the same engine, here."""
    engine = make_engine()
    module = wasmtime.Module(engine, HELLO)
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    start = time.perf_counter()
    for _ in range(count):
        store = wasmtime.Store(engine)
        store.set_fuel(10**9)
        store.set_epoch_deadline(1_000)
        wasi = wasmtime.WasiConfig()
        wasi.stdout_file = os.devnull
        store.set_wasi(wasi)
        started = linker.instantiate(store, module).exports(store)["_start"]
        assert isinstance(started, wasmtime.Func)
        started(store)
        store.close()
    return count / (time.perf_counter() - start)


async def measure(cache: Path) -> dict[str, float]:
    figures: dict[str, float] = {}
    config = SandboxConfig(cache, workers=WORKERS)
    start = time.perf_counter()
    async with open_sandbox(config, real_environment()) as box:
        assert (await box.run(Job(Kind.WASI_COMMAND, HELLO))).succeeded
        figures["cold_start_ms"] = 1e3 * (time.perf_counter() - start)
        await rate(box, Job(Kind.WASI_COMMAND, HELLO), 100)
        figures["wasi_jobs_per_s"] = await rate(box, Job(Kind.WASI_COMMAND, HELLO), WASI_JOBS)
        python = Job(Kind.PY_FUNC, DOUBLE, "f", [21])
        await rate(box, python, 20)
        figures["python_jobs_per_s"] = await rate(box, python, PYTHON_JOBS)
        figures["loop_lag_p99_ms_under_output_floods"] = await loop_lag(box)
    async with open_sandbox(SandboxConfig(cache, workers=1), real_environment()) as box:
        await rate(box, Job(Kind.WASI_COMMAND, HELLO), 20)
        figures["kill_to_next_result_ms"] = await replacement(box)
    figures["in_process_jobs_per_s"] = in_process(1_000)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path("build/sandbox-cache"))
    options = parser.parse_args()
    measured = [trio.run(measure, options.cache.absolute()) for _ in range(options.runs)]
    figures = {name: summary([run[name] for run in measured]) for name in measured[0]}
    ratio = statistics.median(
        run["wasi_jobs_per_s"] / run["in_process_jobs_per_s"] for run in measured
    )
    report(
        "sandbox",
        ["wasmtime", "componentize-py", "trio"],
        {
            "workload": f"{WORKERS} workers, {AT_ONCE} jobs at once; a WASI hello, x * 2 in Python",
            "ratio_two_workers_to_one_thread_without_isolation": rounded(ratio),
            "figures": figures,
        },
    )


if __name__ == "__main__":
    main()
