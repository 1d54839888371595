"""Sphinx: packets built and unwrapped per second, on one core and with two worker processes.

Baseline in the same run: two bare X25519 operations, which no unwrapping can do without.
Run: `python -m benchmarks.mix_packets [RUNS]`; prints JSON.
"""

from __future__ import annotations

import multiprocessing
import sys
import time

import trio
from nacl import bindings as sodium

from benchmarks.report import report, summary
from fogp2p.environment import real_environment
from fogp2p.protocols.mix import Hop, build, pad, unwrap_batch, unwrap_in_workers
from fogp2p.protocols.mix.primitives import public_key

PRIVATE = [bytes([n]) * 32 for n in (1, 2, 3)]
HOPS = [Hop(public_key(key), bytes([n + 1]) * 94, 50) for n, key in enumerate(PRIVATE)]
MESSAGE = pad(b"benchmark")
PACKETS = [build(HOPS, MESSAGE, ephemeral=(n + 1).to_bytes(32, "big")) for n in range(64)]
BATCHES = 40
BUILDS = 300
EXECUTOR = real_environment().executor


def unwrap_one_batch(_: int) -> int:
    return len(unwrap_batch(PRIVATE[0], PACKETS))


def measure(pool: multiprocessing.pool.Pool) -> dict[str, float]:
    count = BATCHES * len(PACKETS)
    start = time.perf_counter()
    for _ in range(count):
        sodium.crypto_scalarmult(PRIVATE[0], HOPS[1].public_key)
        sodium.crypto_scalarmult(PRIVATE[0], HOPS[1].public_key)
    floor = count / (time.perf_counter() - start)
    start = time.perf_counter()
    for n in range(BUILDS):
        build(HOPS, MESSAGE, ephemeral=(n + 1).to_bytes(32, "big"))
    builds = BUILDS / (time.perf_counter() - start)
    start = time.perf_counter()
    for n in range(BATCHES):
        unwrap_one_batch(n)
    one = count / (time.perf_counter() - start)
    start = time.perf_counter()
    pool.map(unwrap_one_batch, range(BATCHES), chunksize=1)
    two = count / (time.perf_counter() - start)
    two_carried = count / trio.run(_through_the_library)
    return {
        "two_x25519_per_s": floor,
        "builds_per_s": builds,
        "unwraps_per_s_one_core": one,
        "unwraps_per_s_two_workers": two,
        "unwraps_per_s_two_workers_packets_carried": two_carried,
        "ratio_unwrap_to_floor": one / floor,
        "ratio_two_workers": two / one,
        "ratio_two_workers_packets_carried": two_carried / one,
    }


async def _through_the_library() -> float:
    """Seconds for all packets, carried to two workers and back."""
    await unwrap_in_workers(EXECUTOR, PRIVATE[0], PACKETS * 4)
    start = time.perf_counter()
    await unwrap_in_workers(EXECUTOR, PRIVATE[0], PACKETS * BATCHES)
    return time.perf_counter() - start


def main(runs: int) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(unwrap_one_batch, range(4))
        measured = [measure(pool) for _ in range(runs)]
    figures = {name: summary([run[name] for run in measured]) for name in measured[0]}
    report("mix_packets", ["pynacl", "cryptography"], {"figures": figures})


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
