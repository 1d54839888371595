"""Run by the crash tests: processes that work on files until they are killed at a kill point.

It reads lines from standard input, forks for each, and prints the child's pid, then its exit code:

    WORK DIR NAME SKIP    the work, armed; ends by SIGKILL at the place

What a child acknowledged is in DIR/said, one line each: a word, and what it is about.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import trio

from fogp2p.cli.config_file import rollback, set_value
from fogp2p.cli.main import cli
from fogp2p.environment import real_environment
from fogp2p.identity import Keystore
from fogp2p.killpoints import arm
from fogp2p.process import hold
from fogp2p.protocols.registry.config import RESERVED
from fogp2p.protocols.registry.sequence import OwnSequence
from fogp2p.transports.peerbook import open_known_peers

OLD, NEW = b"old " * 20_000, b"new " * 20_000
EDITOR = "sed -i s/info/debug/"


def say(word: str, what: object = "-") -> None:
    os.write(1, f"{word} {what}\n".encode())


def replace_file(directory: Path) -> None:
    real_environment().disk.replace(directory / "file", NEW)
    say("replaced")


def take_lock(directory: Path) -> None:
    with hold(directory / "lock"):
        say("held", os.getpid())


def make_and_change_keys(directory: Path) -> None:
    environment = real_environment()
    store = Keystore(directory / "identity", environment)
    identity = store.create()
    say("made", identity.peer_id)
    store.save(identity.rotated(1, environment.random), passphrase=None)
    say("rotated", 1)


def take_numbers(directory: Path) -> None:
    async def main() -> None:
        sequence = OwnSequence(directory / "registry", real_environment())
        for _ in range(2 * RESERVED):
            say("number", await sequence.take())

    trio.run(main)


def open_peerbook(directory: Path) -> None:
    async def main() -> None:
        async with open_known_peers(directory / "known-peers", real_environment()) as book:
            say("problem", book.problem())

    trio.run(main)


def change_settings(directory: Path) -> None:
    disk = real_environment().disk
    set_value(directory / "config.toml", disk, "log.level", "debug")
    say("set")
    rollback(directory / "config.toml", disk)
    say("back")


def edit_settings(directory: Path) -> None:
    os.environ["EDITOR"] = EDITOR
    cli.main(["--home", str(directory), "config", "edit"], standalone_mode=False)
    say("edited")


WORKS: dict[str, Callable[[Path], None]] = {
    "file": replace_file,
    "lock": take_lock,
    "keys": make_and_change_keys,
    "numbers": take_numbers,
    "peerbook": open_peerbook,
    "settings": change_settings,
    "editor": edit_settings,
}


def run(work: str, directory: Path, name: str, skip: str) -> None:
    """One child's life."""
    os.dup2(os.open(directory / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
    with arm(name, lambda: os.kill(os.getpid(), signal.SIGKILL), skip=int(skip)):
        WORKS[work](directory)


def main() -> None:
    """Fork before anything runs, so that a child costs no start of Python."""
    for line in sys.stdin:
        work, directory, name, skip = line.split()
        pid = os.fork()
        if pid == 0:
            run(work, Path(directory), name, skip)
            sys.exit(0)
        print(pid, flush=True)  # noqa: T201
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
