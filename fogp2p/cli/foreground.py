"""A peer in this process, from its keys to Ctrl+C."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import trio

from fogp2p import __version__
from fogp2p.api import ConfigFile, Context, page_routes, serve_context
from fogp2p.api.service import api_service
from fogp2p.config import Loaded
from fogp2p.environment import real_environment
from fogp2p.errors import KeystoreError
from fogp2p.node import Node, open_peer
from fogp2p.paths import Paths
from fogp2p.process import harden
from fogp2p.systemd import Notifier
from fogp2p.tasks import open_tasks
from fogp2p.web import page_folder

from .logs import start_logging
from .output import Output

__all__ = ["run_peer"]

# A passphrase is a line that somebody typed.
_MAX_CREDENTIAL_BYTES = 4_096


def run_peer(output: Output, loaded: Loaded, ready_fd: int | None, flags: tuple[str, ...]) -> None:
    """Run the peer until a signal or the API stops it.

    `ready_fd`: a pipe that gets one line, the peer id, once all parts run. `flags`: the settings of
    the command line, which hold over the file also when that is read again.
    """
    missing = harden()
    passphrase = _passphrase()
    start_logging(loaded.config.log.level)
    for problem in missing:
        output.say(f"! {problem}")
    trio.run(_run, output, output.paths, loaded, passphrase, ready_fd, flags)


def _passphrase() -> str | None:
    """From the environment, or from a credential that systemd hands over in a file."""
    given = os.environ.pop("FOGP2P_PASSPHRASE", None)
    folder = os.environ.pop("CREDENTIALS_DIRECTORY", "")
    if given is not None or not folder:
        return given
    credential = Path(folder) / "fogp2p.passphrase"
    data = real_environment().disk.read(credential, max_bytes=_MAX_CREDENTIAL_BYTES)
    try:
        return data.decode("utf-8").rstrip("\n") if data is not None else None
    except UnicodeDecodeError as exc:
        raise KeystoreError(f"{credential} is not UTF-8", hint="encrypt it again") from exc


async def _run(
    output: Output,
    paths: Paths,
    loaded: Loaded,
    passphrase: str | None,
    ready_fd: int | None,
    flags: tuple[str, ...],
) -> None:
    new = not paths.keystore.exists()
    started = trio.current_time()
    manager = Notifier(os.environ)
    async with (
        open_peer(paths, config=loaded.config, passphrase=passphrase) as node,
        open_tasks() as signals,
    ):
        signals.start_soon(_stop_on_signal, node)
        # It outlives restarts of the API: tokens and logged-in browsers stay good.
        config_file = ConfigFile(paths.config, dict(os.environ), flags)
        context = Context(node, loaded, config_file=config_file, paths=paths)
        pages = page_routes(page_folder()) if loaded.config.api.tcp else ()
        serve = partial(serve_context, context, paths.socket, pages=pages)
        api = await node.add_service(api_service(serve, node.stopping, paths.socket))
        _greet(output, node, paths, new, trio.current_time() - started, api.url)
        _tell_ready(ready_fd, node)
        manager.ready(f"{node.rooms.name} {node.peer_id}")
        signals.start_soon(manager.feed_watchdog)
        await node.stopping.wait()
        manager.stopping()
        signals.cancel_scope.cancel()
    output.say("stopped")


def _tell_ready(ready_fd: int | None, node: Node) -> None:
    if ready_fd is not None:
        with os.fdopen(ready_fd, "w", encoding="ascii") as pipe:
            pipe.write(f"{node.peer_id}\n")


async def _stop_on_signal(node: Node) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            node.stop()


def _greet(output: Output, node: Node, paths: Paths, new: bool, took_s: float, url: str) -> None:
    status = node.status()
    output.say(f"fogp2p {__version__}{'  new peer' if new else ''}")
    output.say(f"  you        {status.name}  {node.peer_id}")
    locked = "with a passphrase" if status.key_encrypted else "NOT encrypted; see FOGP2P_PASSPHRASE"
    output.say(f"  keys       {paths.keystore} (0600, {locked})")
    for address in status.addresses:
        output.say(f"  listening  {address}")
    for each in status.discovery:
        output.say(f"  {each.source:<10} {each.problem or 'on'}")
    output.say(f"  api        unix:{paths.socket}{f'  {url}' if url else ''}")
    output.say(f"ready in {took_s:.1f} s. Ctrl+C stops it; `fogp2p status` shows what it does.")
