"""Run by test_kill_points.py: for each kill point a forked child that works until there.

Arguments: the directory, then WORK/NAME:SKIP for each child. A child works in DIR/WORK/NAME:SKIP
and appends what was acknowledged to the file `said` there. `WORK/count` kills nobody: it writes
into the file `passed` how often each point was passed.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import trio

from fogp2p import killpoints
from fogp2p.cli.commands.get import _write as write_content
from fogp2p.client import Client
from fogp2p.config_edit import edit_config
from fogp2p.environment import Environment, real_environment, within
from fogp2p.identity import Keystore, ephemeral
from fogp2p.protocols.blob import CHUNK_BYTES, BlobStore, Cid, make_manifest
from fogp2p.protocols.gossip.numbers import first_number
from fogp2p.protocols.invite import Invites, Kind, open_invites
from fogp2p.protocols.log import Logs, open_logs
from fogp2p.protocols.log.durable import LOG_PART, StoreStorage
from fogp2p.protocols.registry.sequence import OwnSequence
from fogp2p.store import open_store
from fogp2p.transports.memory import MemoryNetwork

FIRST = random.Random(1).randbytes(3 * CHUNK_BYTES + 7)
SECOND = random.Random(2).randbytes(5 * CHUNK_BYTES)
QUOTA = 20 * CHUNK_BYTES
ADA, BOB = (ephemeral(random.Random(n)) for n in (1, 2))


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def chunks_of(content: bytes) -> list[bytes]:
    return [content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES)]


def cid_of(content: bytes) -> tuple[Cid, bytes]:
    hashes = [hashlib.sha256(chunk).digest() for chunk in chunks_of(content)]
    cid, encoded, _ = make_manifest(len(content), hashes)
    return cid, encoded


async def blobs(directory: Path) -> None:
    """Add one, begin another and fill it, remove the first."""
    store = await BlobStore.open(directory / "blobs", real_environment(), QUOTA)
    first = await store.add_bytes(FIRST, name="first")
    say("added", first)
    cid, encoded = cid_of(SECOND)
    await store.add_manifest(cid, encoded, name="second", pinned=False)
    say("begun", cid)
    chunks = chunks_of(SECOND)
    for indices in ((4, 1), (0,), (3, 2)):
        await store.put(cid, [(index, chunks[index]) for index in indices])
        say("put", cid, *indices)
    await store.remove(first)
    say("removed", first)


async def files(directory: Path) -> None:
    """The small files of a peer, one after the other."""
    environment = real_environment()
    keystore = Keystore(directory / "data" / "keystore", environment)
    identity = keystore.create()
    say("key", identity.peer_id)
    keystore.save(identity.rotated(1, environment.random), passphrase=None)
    say("rotated", 1)
    for number in (1, 2, 3):
        edit_config(
            directory / "config.toml",
            {"network.target_peers": number},
            disk=environment.disk,
            environ={},
        )
        say("config", number)
    sequence = OwnSequence(directory / "registry", environment)
    for _ in range(2):
        say("sequence", await sequence.take())
    for _ in range(2):
        say("gossip", await first_number(directory / "gossip", environment))


@asynccontextmanager
async def opened_logs(directory: Path, environment: Environment) -> AsyncIterator[Logs]:
    """Logs in the durable store of a directory."""
    async with (
        open_store(directory / "store.db", environment, parts=[LOG_PART]) as store,
        MemoryNetwork(seed=1).open_host(ADA) as host,
        open_logs(host, ADA, StoreStorage(store), environment) as logs,
    ):
        yield logs


async def log(directory: Path) -> None:
    """A group of one's own: written, read, and how far it was read."""
    async with opened_logs(directory, real_environment()) as logs:
        group = await logs.create("g")
        say("group", group.id.hex())
        for number in range(3):
            say("wrote", (await group.append(b"%d" % number)).hex())
            last = len(group.replica)
            await group.mark("screen", last)
            say("marked", last)


@asynccontextmanager
async def opened_invites(directory: Path) -> AsyncIterator[tuple[Invites, Invites]]:
    """Two peers with a book each, on a network of their own."""
    network, environment = MemoryNetwork(seed=1), real_environment()
    async with (
        network.open_host(ADA) as ada,
        network.open_host(BOB) as bob,
        open_invites(ada, [], environment, directory / "ada", name="ada") as hers,
        open_invites(bob, [], environment, directory / "bob", name="bob") as his,
    ):
        await bob.connect(ada.peer_id, ada.addresses, deadline=within(10))
        yield hers, his


async def invite(directory: Path) -> None:
    """Ada invites Bob, who joins."""
    async with opened_invites(directory) as (hers, his):
        made = await hers.invite(Kind.LINK)
        say("invited", made.code)
        await his.join(str(made.code), deadline=within(20))
        say("joined")


class Peer:
    """Stands for the local API: gives out the first content."""

    def download(self, path: str, take: Callable[[bytes], None]) -> None:
        for chunk in chunks_of(FIRST):
            take(chunk)


def get(directory: Path) -> None:
    """What `fogp2p get` does once the blob is here."""
    kept = {"size_bytes": len(FIRST)}
    peer = cast(Client, Peer())
    write_content(peer, cid_of(FIRST)[0], kept, None, directory / "got", False)
    say("got")


WORK: dict[str, Callable[[Path], None]] = {
    "blob": lambda directory: trio.run(blobs, directory),
    "file": lambda directory: trio.run(files, directory),
    "log": lambda directory: trio.run(log, directory),
    "invite": lambda directory: trio.run(invite, directory),
    "get": get,
}


def run(directory: Path, work: str, place: str) -> None:
    """One child's life."""
    directory.mkdir(parents=True)
    os.dup2(os.open(directory / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
    if place == "count":
        count(directory, work)
        return
    name, skip = place.split(":")
    with killpoints.arm(name, lambda: os.kill(os.getpid(), signal.SIGKILL), skip=int(skip)):
        WORK[work](directory)


def count(directory: Path, work: str) -> None:
    """Pass every point and count."""
    passed: Counter[str] = Counter()
    killpoints._armed = lambda name: passed.update((name,))
    WORK[work](directory)
    (directory / "passed").write_text(json.dumps(passed))


def main() -> None:
    """Fork before anything runs, so that a child costs no start of Python."""
    root = Path(sys.argv[1])
    for each in sys.argv[2:]:
        pid = os.fork()
        if pid == 0:
            work, place = each.split("/")
            run(root / each, work, place)
            sys.exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
