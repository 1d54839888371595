"""BitChat frames decoded, and decoded with their signature verified, per second.

Baseline in the same run: a bare Ed25519 verification of the same preimage.
Run: `python -m benchmarks.bitchat_frames [RUNS]`; prints JSON.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from nacl.signing import SigningKey

from benchmarks.report import report, summary
from fogp2p.protocols.bitchat import Packet, PacketType, decode_packet

KEY = SigningKey(bytes(32))
PUBLIC = bytes(KEY.verify_key)
FRAMES = [
    Packet.create(PacketType.MESSAGE, b"message number %d" % n, sender=bytes(8), timestamp_ms=n)
    .signed(lambda data: bytes(KEY.sign(data).signature))
    .encode()
    for n in range(500)
]


def rate(work: Callable[[bytes], object]) -> float:
    start = time.perf_counter()
    for frame in FRAMES:
        work(frame)
    return len(FRAMES) / (time.perf_counter() - start)


def decode_and_verify(frame: bytes) -> None:
    assert decode_packet(frame).is_signed_by(PUBLIC)


def measure() -> dict[str, float]:
    sample = decode_packet(FRAMES[0])
    preimage, signature = sample.signing_preimage(), sample.signature
    figures = {
        "decoded_per_s": rate(decode_packet),
        "decoded_and_verified_per_s": rate(decode_and_verify),
        "bare_verify_per_s": rate(lambda _: KEY.verify_key.verify(preimage, signature)),
    }
    figures["ratio_to_bare_verify"] = (
        figures["decoded_and_verified_per_s"] / figures["bare_verify_per_s"]
    )
    return figures


def main(runs: int) -> None:
    measured = [measure() for _ in range(runs)]
    figures = {name: summary([run[name] for run in measured]) for name in measured[0]}
    report("bitchat_frames", ["pynacl"], {"figures": figures})


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
