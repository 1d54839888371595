"""Noise: whole handshakes per second (both sides) and transport throughput, one process.

Baseline in the same run: the `noiseprotocol` package, the one libp2p uses.
Run: `python -m benchmarks.noise_sessions [RUNS]`; prints JSON.
"""

from __future__ import annotations

import sys
import time

from noise.connection import Keypair, NoiseConnection

from benchmarks.report import report, summary
from fogp2p.protocols.noise import Handshake, KeyPair, OrderedTransport, Pattern

NAME = b"Noise_XX_25519_ChaChaPoly_SHA256"
HANDSHAKES = 200
CHUNK = 65_519
CHUNKS = 400


def ours() -> list[OrderedTransport]:
    sides = [
        Handshake(
            Pattern.XX,
            initiator=initiator,
            ephemeral=KeyPair(bytes([1 + initiator]) * 32),
            static=KeyPair(bytes([3 + initiator]) * 32),
        )
        for initiator in (True, False)
    ]
    for number in range(3):
        sides[1 - number % 2].read_message(sides[number % 2].write_message())
    return [side.ordered_transport() for side in sides]


def baseline() -> list[NoiseConnection]:
    sides = []
    for initiator in (True, False):
        side = NoiseConnection.from_name(NAME)
        side.set_as_initiator() if initiator else side.set_as_responder()
        side.set_keypair_from_private_bytes(Keypair.STATIC, bytes([3 + initiator]) * 32)
        side.start_handshake()
        sides.append(side)
    for number in range(3):
        sides[1 - number % 2].read_message(sides[number % 2].write_message())
    return sides


def measure() -> dict[str, float]:
    figures = {}
    data = bytes(CHUNK)
    for name, make in (("fogp2p", ours), ("noiseprotocol", baseline)):
        start = time.perf_counter()
        for _ in range(HANDSHAKES):
            sides = make()
        figures[f"{name}_handshakes_per_s"] = HANDSHAKES / (time.perf_counter() - start)
        start = time.perf_counter()
        for _ in range(CHUNKS):
            assert len(sides[1].decrypt(sides[0].encrypt(data))) == CHUNK
        seconds = time.perf_counter() - start
        figures[f"{name}_transport_mb_per_s"] = CHUNK * CHUNKS / 1e6 / seconds
    for unit in ("handshakes_per_s", "transport_mb_per_s"):
        figures[f"ratio_{unit}"] = figures[f"fogp2p_{unit}"] / figures[f"noiseprotocol_{unit}"]
    return figures


def main(runs: int) -> None:
    measured = [measure() for _ in range(runs)]
    figures = {name: summary([run[name] for run in measured]) for name in measured[0]}
    report("noise_sessions", ["noiseprotocol", "cryptography"], {"figures": figures})


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
