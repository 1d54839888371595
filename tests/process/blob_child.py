"""Run by test_blob_crash.py: for each kill point a forked child that works with blobs until there.

Arguments: the directory, then NAME:SKIP for each child. A child works in DIR/NAME:SKIP and appends
what was acknowledged to the file `said` there.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sys
from pathlib import Path

import trio

from fogp2p.environment import real_environment
from fogp2p.killpoints import arm
from fogp2p.protocols.blob import CHUNK_BYTES, BlobStore, make_manifest

FIRST = random.Random(1).randbytes(3 * CHUNK_BYTES + 7)
SECOND = random.Random(2).randbytes(5 * CHUNK_BYTES)
QUOTA = 20 * CHUNK_BYTES


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def second_chunks() -> list[bytes]:
    return [SECOND[at : at + CHUNK_BYTES] for at in range(0, len(SECOND), CHUNK_BYTES)]


async def workload(directory: Path) -> None:
    """Passes every kill point of blobs, some more than once."""
    store = await BlobStore.open(directory / "blobs", real_environment(), QUOTA)
    first = await store.add_bytes(FIRST, name="first")
    say("added", first)
    chunks = second_chunks()
    cid, encoded, _ = make_manifest(
        len(SECOND), [hashlib.sha256(chunk).digest() for chunk in chunks]
    )
    await store.add_manifest(cid, encoded, name="second", pinned=False)
    say("begun", cid)
    for indices in ((4, 1), (0,), (3, 2)):
        await store.put(cid, [(index, chunks[index]) for index in indices])
        say("put", cid, *indices)
    await store.remove(first)
    say("removed", first)


def run(directory: Path, name: str, skip: int) -> None:
    """One child's life."""
    directory.mkdir()
    os.dup2(os.open(directory / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
    with arm(name, lambda: os.kill(os.getpid(), signal.SIGKILL), skip=skip):
        trio.run(workload, directory)


def main() -> None:
    """Fork before anything runs, so that a child costs no start of Python."""
    root = Path(sys.argv[1])
    for each in sys.argv[2:]:
        pid = os.fork()
        if pid == 0:
            name, skip = each.split(":")
            run(root / each, name, int(skip))
            sys.exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
