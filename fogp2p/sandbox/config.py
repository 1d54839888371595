"""Settings and limits of the sandbox, each with its reason."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fogp2p.limits import KIB, MIB

__all__ = ["SandboxConfig"]

# The release that was measured: wasmtime breaks its interface every month.
WASMTIME: Final = "50.0.1"
# Larger modules cost minutes to compile; the Python runner is known by its hash and exempt.
MAX_MODULE_BYTES: Final = 16 * MIB
MAX_SOURCE_BYTES: Final = 256 * KIB
MAX_VALUE_BYTES: Final = 1 * MIB
# One frame between us and a worker: a source text and its arguments, or a value.
MAX_FRAME_BYTES: Final = 2 * MIB
MAX_FILES: Final = 64
# Kept of each of stdout and stderr: the head, and behind it a ring with the latest.
LOG_HEAD_BYTES: Final = 64 * KIB
LOG_RING_BYTES: Final = 256 * KIB
# Read of a guest's output altogether; a job that says more is ended.
MAX_LOG_BYTES: Final = 64 * MIB
# What a worker may hold beside the guest's memory: wasmtime, Python and compiled code.
WORKER_OVERHEAD_BYTES: Final = 512 * MIB
MAX_MEMORY_BYTES: Final = 1024 * MIB
MAX_WALL_S: Final = 3_600.0
# Between the guest's own deadline and SIGKILL: a guest inside a host call is not interruptible.
GRACE_S: Final = 0.25
# Compilation: 1.2 MB in one function takes 1 s and 300 MiB; the runner 14 s on two cores.
COMPILE_CPU_S: Final = 30
COMPILE_MEMORY_BYTES: Final = 4 * 1024 * MIB
COMPILE_WALL_S: Final = 60.0
RUNNER_COMPILE_CPU_S: Final = 240
RUNNER_COMPILE_WALL_S: Final = 300.0
MAX_ARTEFACT_BYTES: Final = 512 * MIB
CACHE_BYTES: Final = 2 * 1024 * MIB
# Folders in the cache in which something is built. One of an hour ago was left by a killed process:
# nothing takes a tenth of that.
PASSING: Final = "passing-"
PASSING_S: Final = 3_600.0
# How often the files of a running job are counted.
WATCH_S: Final = 0.02
# A worker is replaced after so many jobs, against slow leaks.
JOBS_PER_WORKER: Final = 1_000
START_TIMEOUT_S: Final = 20.0
# Guest deadlines are counted in ticks of the engine's epoch.
TICK_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """`cache`: a directory of the owner for compiled code. `workers`: jobs at the same time.

    `queue_s`: how long a job waits for a free worker.
    """

    cache: Path
    workers: int = min(8, os.cpu_count() or 1)
    queue_s: float = 30.0
