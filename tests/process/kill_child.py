"""Run by the crash tests: processes that work on files until they are killed at a kill point.

It reads lines from standard input, forks for each, and prints the child's pid, then its exit code:

    WORK DIR NAME SKIP    the work, armed; ends by SIGKILL at the place

What a child acknowledged is in DIR/said, one line each: a word, and what it is about.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import trio

from fogp2p.cli.config_file import rollback, set_value
from fogp2p.cli.main import cli
from fogp2p.environment import real_environment, within
from fogp2p.host import Host
from fogp2p.identity import Identity, Keystore, ephemeral
from fogp2p.killpoints import arm
from fogp2p.paths import home_paths
from fogp2p.process import hold
from fogp2p.protocols.blob import CHUNK_BYTES, BlobStore, make_manifest
from fogp2p.protocols.gossip.numbers import first_number
from fogp2p.protocols.invite import Code, Invites, Words, WrongWords, open_invites
from fogp2p.protocols.log import Group, Logs, open_logs
from fogp2p.protocols.log.durable import LOG_PART, StoreStorage
from fogp2p.protocols.registry.config import RESERVED
from fogp2p.protocols.registry.sequence import OwnSequence
from fogp2p.store import open_store
from fogp2p.testing import run_simulation, sim_environment
from fogp2p.transports.memory import LinkSettings, MemoryNetwork
from fogp2p.transports.peerbook import open_known_peers

OLD, NEW = b"old " * 20_000, b"new " * 20_000
# WebAssembly with nothing in it.
MODULE = b"\0asm\1\0\0\0"
# Seconds since 1970.
NOON = 1_790_000_000.0
EDITOR = "sed -i s/info/debug/"
FIRST_BLOB = random.Random(1).randbytes(3 * CHUNK_BYTES + 7)
SECOND_BLOB = random.Random(2).randbytes(5 * CHUNK_BYTES)
BLOBS_QUOTA = 20 * CHUNK_BYTES
T = TypeVar("T")
KEYS = [ephemeral(random.Random(number)) for number in range(3)]


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


def begin_home(directory: Path) -> None:
    paths = home_paths(directory)
    Keystore(paths.keystore, real_environment()).create()
    say("made")


def take_numbers(directory: Path) -> None:
    async def main() -> None:
        sequence = OwnSequence(directory / "registry", real_environment())
        for _ in range(2 * RESERVED):
            say("number", await sequence.take())

    trio.run(main)


class Noon:
    """A clock that was set to some date."""

    def __init__(self, at: float) -> None:
        self.at = at

    def monotonic(self) -> float:
        return trio.current_time()

    def wall(self) -> float:
        return self.at


async def begin_life(directory: Path, at: float) -> int:
    """The number of the first message of a life that begins then."""
    environment = replace(real_environment(), clock=Noon(at))
    return await first_number(directory / "gossip-numbers", environment)


def number_messages(directory: Path) -> None:
    async def main() -> None:
        for at in (NOON, NOON - 86_400):
            say("number", await begin_life(directory, at))

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


# --- what is slow to import ----------------------------------------------------------------------


def serve_api(directory: Path) -> None:
    async def main() -> None:
        async with open_api(directory):
            say("serving")

    trio.run(main)


@asynccontextmanager
async def open_api(directory: Path) -> AsyncIterator[Any]:
    """The API of a stand-in on its socket and on loopback; yields its context."""
    from fogp2p.api import Context, serve_context
    from fogp2p.config import Config, Loaded
    from fogp2p.testing.api import StandInNode

    node = StandInNode(real_environment())
    config = replace(Config(), api=replace(Config().api, tcp="127.0.0.1:0"))
    context = Context(node, Loaded(config, dict.fromkeys(dict(config.items()), "default")))
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_context, context, directory / "api.sock")
        yield context
        node.stop()


class Shelf:
    """In the place of a peer's client: it has one blob."""

    def download(self, path: str, take: Callable[[bytes], None]) -> int:
        take(NEW)
        return len(NEW)


def fetch_file(directory: Path) -> None:
    from fogp2p.cli.commands.get import _write
    from fogp2p.protocols.blob import make_manifest

    cid = make_manifest(len(NEW), [hashlib.sha256(NEW).digest()])[0]
    shelf: Any = Shelf()
    _write(shelf, cid, {"size_bytes": len(NEW)}, None, directory / "fetched", force=False)
    say("fetched")


def compile_code(directory: Path) -> None:
    from fogp2p.sandbox.cache import Cache

    async def main() -> None:
        cache = Cache(directory / "cache")
        cache.prepare()
        say("compiled", await cache.compiled(MODULE, "module"))

    trio.run(main)


def build_runner(directory: Path) -> None:
    from fogp2p.sandbox.runner import build

    def stand_in(folder: Path) -> Path:
        """Two builds differ, as the real ones do, which take 12 s."""
        (folder / "runner.wasm").write_bytes(os.urandom(32))
        return folder / "runner.wasm"

    build._componentize = stand_in
    say("built", build.build_runner(directory / "cache"))


# --- invites: two peers in one process, on files of their own ------------------------------------


@asynccontextmanager
async def two_sides(
    opened: Callable[[Host, Identity, str], AbstractAsyncContextManager[T]],
) -> AsyncIterator[tuple[T, T]]:
    """The same room of two peers that are connected, under a virtual clock."""
    network = MemoryNetwork(seed=1, default=LinkSettings(latency_s=0.01))
    async with AsyncExitStack() as stack:
        hosts, sides = [], []
        for keys, name in zip(KEYS, ("ada", "ben"), strict=False):
            host = await stack.enter_async_context(network.open_host(keys))
            sides.append(await stack.enter_async_context(opened(host, keys, name)))
            hosts.append(host)
        await hosts[1].connect(hosts[0].peer_id, hosts[0].addresses, deadline=within(10))
        yield sides[0], sides[1]


def open_pair(directory: Path) -> AbstractAsyncContextManager[tuple[Invites, Invites]]:
    """An inviter and a joiner."""

    def opened(host: Host, _: Identity, name: str) -> AbstractAsyncContextManager[Invites]:
        environment = replace(sim_environment(1, name), disk=real_environment().disk)
        return open_invites(host, [], environment, directory / name, name=name)

    return two_sides(opened)


def other_words(code: Code) -> str:
    """The same number with words that are not the invite's."""
    assert isinstance(code, Words)
    words = ("abandon", "zoo") if code.words != ("abandon", "zoo") else ("zoo", "abandon")
    return str(Words(code.nameplate, words))


async def pair(directory: Path) -> None:
    """Passes every kill point of an invite, those of a book that is damaged aside."""
    async with open_pair(directory) as (ada, ben):
        invite = await ada.invite()
        assert invite.code is not None
        say("invite", invite.code)
        try:
            await ben.join(other_words(invite.code), deadline=within(30))
        except WrongWords:
            say("wrong")
        await ben.join(str(invite.code), deadline=within(30))
        say("joined")
        await trio.sleep(1)  # the joiner's last word
        other = await ada.invite(name="other")
        await ada.cancel(other.record.id)
        say("cancelled", other.record.id)
        await ada.invite(ttl_s=10, name="short")
        await trio.sleep(11)
        say("expired")
        await ben.forget(KEYS[0].peer_id)
        say("forgotten")


def pair_up(directory: Path) -> None:
    run_simulation(1, lambda trace: pair(directory))


# --- a group: two peers in one process, each with a store of its own -----------------------------


def open_circle(directory: Path) -> AbstractAsyncContextManager[tuple[Logs, Logs]]:
    """Two peers with group logs."""

    @asynccontextmanager
    async def opened(host: Host, keys: Identity, name: str) -> AsyncIterator[Logs]:
        environment = sim_environment(1, name)
        async with open_store(directory / f"{name}.db", environment, parts=[LOG_PART]) as store:
            assert store.status().state == "ok", store.status()
            async with open_logs(host, keys, StoreStorage(store), environment) as logs:
                yield logs

    return two_sides(opened)


async def level(*groups: Group) -> None:
    """Wait until all have the same entries."""
    with trio.fail_after(300):
        while len({group.replica.fingerprint for group in groups}) > 1:  # noqa: ASYNC110
            await trio.sleep(0.1)


async def converse(directory: Path) -> None:
    """Passes every kill point of a group."""
    async with open_circle(directory) as (adas, bens):
        mine = await adas.create("boat trip")
        say("group", mine.id.hex())
        await mine.append(b"one")
        say("wrote", "one")
        await mine.admit(KEYS[1].peer_id)
        await mine.admit(KEYS[2].peer_id)  # who never comes
        say("admitted")
        his = await bens.open(mine.id)
        say("opened")
        await level(mine, his)
        say("level")
        await his.append(b"two")
        say("wrote", "two")
        await level(mine, his)
        await mine.mark("screen", mine.last)
        say("marked", mine.last)
        await mine.remove(KEYS[1].peer_id)
        say("removed")
        await mine.append(b"three")
        say("wrote", "three")
        await level(mine, his)
        say("level")


def talk(directory: Path) -> None:
    run_simulation(1, lambda trace: converse(directory))


# --- blobs ---------------------------------------------------------------------------------------


def chunks_of(content: bytes) -> list[bytes]:
    return [content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES)]


def keep_blobs(directory: Path) -> None:
    """Add one, begin another and fill it, remove the first."""

    async def main() -> None:
        store = await BlobStore.open(directory / "blobs", real_environment(), BLOBS_QUOTA)
        first = await store.add_bytes(FIRST_BLOB, name="first")
        say("added", first)
        chunks = chunks_of(SECOND_BLOB)
        hashes = [hashlib.sha256(chunk).digest() for chunk in chunks]
        cid, encoded, _ = make_manifest(len(SECOND_BLOB), hashes)
        await store.add_manifest(cid, encoded, name="second", pinned=False)
        say("begun", cid)
        for indices in ((4, 1), (0,), (3, 2)):
            await store.put(cid, [(index, chunks[index]) for index in indices])
            for index in indices:
                say("put", index)
        await store.remove(first)
        say("removed", first)

    trio.run(main)


WORKS: dict[str, Callable[[Path], None]] = {
    "file": replace_file,
    "lock": take_lock,
    "keys": make_and_change_keys,
    "home": begin_home,
    "messages": number_messages,
    "numbers": take_numbers,
    "peerbook": open_peerbook,
    "settings": change_settings,
    "api": serve_api,
    "fetch": fetch_file,
    "compile": compile_code,
    "runner": build_runner,
    "pair": pair_up,
    "talk": talk,
    "editor": edit_settings,
    "blobs": keep_blobs,
}

# What a work imports, and its children need not import again.
SLOW = {
    "api": "fogp2p.testing.api",
    "fetch": "fogp2p.cli.commands.get",
    "compile": "fogp2p.sandbox.cache",
    "runner": "fogp2p.sandbox.runner",
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
        if work in SLOW:
            importlib.import_module(SLOW[work])
        pid = os.fork()
        if pid == 0:
            run(work, Path(directory), name, skip)
            sys.exit(0)
        print(pid, flush=True)  # noqa: T201
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
