"""A sequence is never used twice, whenever the process is killed."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

ROUNDS = 6
WRITER = """
import sys
from pathlib import Path
import trio
from fogp2p.environment import real_environment
from fogp2p.protocols.registry.sequence import OwnSequence

async def main():
    sequence = OwnSequence(Path(sys.argv[1]), real_environment())
    while True:
        print(await sequence.take(), flush=True)

trio.run(main)
"""


@pytest.mark.attack(95)
@pytest.mark.spec("REG-020")
def test_no_number_is_used_twice_over_kills(tmp_path: Path) -> None:
    used: list[int] = []
    for moment in range(ROUNDS):
        with subprocess.Popen(
            [sys.executable, "-I", "-c", WRITER, str(tmp_path / "registry")],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            # Somewhere within the first few reservations; numbers may be used after the last line.
            for _ in range(random.Random(moment).randrange(1, 150)):
                used.append(int(process.stdout.readline()))
            process.kill()
            used.extend(int(line) for line in process.stdout if line.endswith("\n"))
    assert used == sorted(set(used))
    assert len(used) > ROUNDS
