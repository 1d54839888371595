"""A sequence is never used twice, whenever the process is killed."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fogp2p.environment import real_environment
from fogp2p.killpoints import KILLPOINTS
from fogp2p.protocols.registry import OwnSequence
from fogp2p.protocols.registry.config import RESERVED

pytestmark = pytest.mark.process

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


def _of(prefix: str) -> list[str]:
    return [name for name in KILLPOINTS if name.startswith(prefix)]


@pytest.mark.spec("REG-020")
@pytest.mark.parametrize("skip", [0, 1])
@pytest.mark.parametrize("name", [*_of("registry.reserve."), *_of("registry.taken")])
async def test_no_number_is_used_twice_whatever_step_was_the_last(
    tmp_path: Path, killer: Any, name: str, skip: int
) -> None:
    said = killer.kill("numbers", tmp_path, name, skip)
    used = [int(number) for _, number in said]
    if name == "registry.taken":
        used.append(len(used) + 1)  # given to somebody, who never said so
    assert used == [*range(1, len(used) + 1)]
    # A crash skips the rest of what was reserved, no more.
    number = await OwnSequence(tmp_path / "registry", real_environment()).take()
    assert len(used) < number <= len(used) + 1 + RESERVED
    assert number == len(used) + 1 or name != "registry.reserve.before"


@pytest.mark.parametrize("name", _of("registry.aside."))
async def test_a_damaged_file_is_kept_whatever_happens(
    tmp_path: Path, killer: Any, name: str
) -> None:
    path = tmp_path / "registry"
    path.write_bytes(b"what was it")
    assert killer.kill("numbers", tmp_path, name) == []
    sequence = OwnSequence(path, real_environment())
    assert await sequence.take() == 1
    assert ("set aside" in sequence.problem) == (name == "registry.aside.kept")
    assert (tmp_path / "registry.damaged").read_bytes() == b"what was it"
