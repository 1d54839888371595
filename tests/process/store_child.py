"""Run by the crash tests: processes that write, say what was acknowledged, and are killed.

It reads lines from standard input, forks for each, and prints the child's pid, then its exit code:

    kill DIR NAME SKIP    one workload, armed; ends by SIGKILL at the place
    forever DIR SEED      writes until somebody kills it
    save DIR NAME SKIP    a backup of DIR/home into DIR/backup, armed
    restore DIR NAME SKIP that backup over DIR/other, armed

The children append to DIR/said, one acknowledgement a line: `acked NUMBER KEY`, `sent NUMBER KEY`.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from pathlib import Path

import trio

from fogp2p.backup import restore, save
from fogp2p.environment import real_environment
from fogp2p.killpoints import arm
from fogp2p.paths import home_paths
from fogp2p.store import (
    Entry,
    Eviction,
    Outbox,
    Part,
    Quota,
    Store,
    StoreConfig,
    Transaction,
    open_store,
)

FIRST = ("CREATE TABLE pair (id INTEGER PRIMARY KEY, left TEXT, right TEXT) STRICT;",)
SECOND = (
    "ALTER TABLE pair ADD COLUMN at INTEGER; UPDATE pair SET at = 1;"
    " CREATE INDEX pair_at ON pair (at); INSERT INTO pair VALUES (-1, 'mark', 'mark', 2);",
)
BEFORE = Part("pair", FIRST)
AFTER = Part("pair", FIRST + SECOND)
QUOTA = Quota(1_000_000, 10**9)
RING = Quota(8, 10_000)


def payload_of(key: str) -> bytes:
    """What belongs to a key: half of it, or another's, would show."""
    return hashlib.sha256(key.encode()).digest() * (1 + len(key) % 40)


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def _append(store: Store, key: str) -> None:
    number = await store.journal("chat", QUOTA).append("text", payload_of(key), key=key)
    say("acked", number, key)


async def _pair(store: Store, key: str) -> None:
    """Two changes that belong together."""

    def both(transaction: Transaction) -> None:
        if transaction.row("SELECT 1 FROM pair WHERE left = ?", (key,)) is None:
            transaction.run("INSERT INTO pair (left) VALUES (?)", (key,))
        transaction.run("UPDATE pair SET right = ? WHERE left = ?", (key, key))

    await store.write(both)
    say("paired", 0, key)


async def _fails(store: Store) -> None:
    def half(transaction: Transaction) -> None:
        transaction.run("INSERT INTO pair (left) VALUES ('never')")
        raise KeyError("undone")

    try:
        await store.write(half)
    except KeyError:
        return
    raise AssertionError("it did not fail")


async def _send(entry: Entry) -> None:
    say("sent", entry.number, entry.key)


async def workload(directory: Path) -> None:
    """Passes every kill point of the store at least once."""
    config = StoreConfig(checkpoint_bytes=60_000)
    environment = real_environment()
    async with open_store(
        directory / "store.db", environment, parts=[AFTER], config=config
    ) as store:
        assert store.status().state == "ok", store.status()
        say("opened", 0, "-")
        for turn in range(3):
            async with trio.open_nursery() as nursery:
                for each in range(4):
                    nursery.start_soon(_append, store, f"turn-{turn}-{each}")
                nursery.start_soon(_fails, store)
                nursery.start_soon(_pair, store, f"pair-{turn}")
            outbox = Outbox(store.journal("out", QUOTA))
            for each in range(2):
                key = f"out-{turn}-{each}"
                say("acked-out", await outbox.put("text", payload_of(key), key=key), key)
            await outbox.publish(_send)
            ring = store.journal("ring", RING, Eviction.OLDEST)
            for each in range(5):
                await ring.append("text", payload_of(f"ring-{turn}-{each}"))
            await ring.done(*range(1, 100))
            await ring.trim(turn * 5 + 1)
            filler = store.journal("filler", Quota(50, 10**6), Eviction.OLDEST)
            for _ in range(6):
                await filler.append("text", bytes(10_000))
    say("closed", 0, "-")


async def forever(directory: Path, seed: str) -> None:
    """Writers side by side, until the end."""

    async def writer(store: Store, name: str) -> None:
        count = 0
        while True:
            count += 1
            key = f"{seed}-{name}-{count}"
            say("tried", 0, key)
            if count % 5:
                await _append(store, key)
            else:
                await _pair(store, key)

    config = StoreConfig(checkpoint_bytes=300_000)
    async with open_store(
        directory / "store.db", real_environment(), parts=[AFTER], config=config
    ) as store:
        assert store.status().state == "ok", store.status()
        async with trio.open_nursery() as nursery:
            for name in "abcd":
                nursery.start_soon(writer, store, name)


def run(mode: str, directory: Path, *rest: str) -> None:
    """One child's life."""
    os.dup2(os.open(directory / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
    if mode == "forever":
        trio.run(forever, directory, rest[0])
    environment = real_environment()
    with arm(rest[0], lambda: os.kill(os.getpid(), signal.SIGKILL), skip=int(rest[1])):
        if mode == "save":
            paths = home_paths(directory / "home")
            save(paths, directory / "backup", environment, program="test", passphrase=None)
        elif mode == "restore":
            paths = home_paths(directory / "other")
            restore(paths, directory / "backup", environment, passphrase=None, force=True)
        else:
            trio.run(workload, directory)


def main() -> None:
    """Fork before anything runs, so that a child costs no start of Python."""
    for line in sys.stdin:
        mode, directory, *rest = line.split()
        pid = os.fork()
        if pid == 0:
            run(mode, Path(directory), *rest)
            sys.exit(0)
        print(pid, flush=True)  # noqa: T201
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
