"""Lottery: proofs made and checked per second, and verifiable draws per second.

Baseline in the same run: an Ed25519 verification by libsodium, the cheapest signature check here.
Run: `python -m benchmarks.lottery [RUNS]`; prints JSON.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from nacl.signing import SigningKey

from benchmarks.report import report, summary
from fogp2p.protocols.lottery import (
    Candidate,
    Candidates,
    Suite,
    derive_public_key,
    draw,
    prove,
    verify,
)

SECRET = bytes(range(32))
PUBLIC = derive_public_key(SECRET)
SEED = bytes(64)


def rate(work: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


def main(runs: int) -> None:
    key = SigningKey(SECRET)
    signed = key.sign(b"x" * 100)
    results: dict[str, list[float]] = {}
    for _ in range(runs):
        proofs = {suite: prove(SECRET, b"bench", suite=suite) for suite in Suite}
        work: dict[str, tuple[Callable[[], object], int]] = {
            "ed25519_verify_per_s": (
                lambda: [key.verify_key.verify(signed) for _ in range(500)],
                500,
            ),
        }
        for suite in Suite:
            proof = proofs[suite]
            work[f"{suite.name.lower()}_prove_per_s"] = (
                lambda suite=suite: [prove(SECRET, b"bench", suite=suite) for _ in range(200)],
                200,
            )
            work[f"{suite.name.lower()}_verify_per_s"] = (
                lambda suite=suite, proof=proof: [
                    verify(PUBLIC, b"bench", proof, suite=suite) for _ in range(200)
                ],
                200,
            )
        for size in (3, 100, 1000):
            pool = Candidates(Candidate(b"n%d" % i, i % 10 + 1) for i in range(size))
            work[f"draws_per_s_of_{size}"] = (
                lambda pool=pool: draw(SEED, "bench", pool, 2**20),
                2**20,
            )
        for name, (function, count) in work.items():
            results.setdefault(name, []).append(rate(function, count))
    report(
        "lottery", ["pynacl"], {"figures": {name: summary(each) for name, each in results.items()}}
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
