"""Opens the doors and serves: the owner's unix socket, and loopback TCP when it is switched on."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import trio
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from fogp2p.config import Loaded, parse_loopback
from fogp2p.environment import DiskError
from fogp2p.errors import ConfigError
from fogp2p.killpoints import killpoint
from fogp2p.paths import Paths
from fogp2p.tasks import open_tasks

from .app import make_app
from .config import MAX_CONNECTIONS
from .connection import Connections
from .context import ApiNode, ConfigFile, Context
from .front import Front, turned_away
from .gate import Door
from .routes import all_operations
from .scopes import Scope

__all__ = ["serve_api", "serve_context"]

SOCKET_AUTHORITIES = ("localhost",)


async def serve_api(
    node: ApiNode,
    loaded: Loaded,
    path: Path,
    *,
    paths: Paths | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Sequence[str] = (),
    pages: Sequence[BaseRoute] = (),
    task_status: trio.TaskStatus[Context] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until the node is asked to stop. The socket has mode 0600 in a directory of 0700.

    With `[api] tcp` also on loopback, and a fresh token in `api.token` beside the socket while
    that lasts. `paths`: where the peer keeps its files, for the doctor; the configuration was
    loaded from there, from `environ` and from `flags`: with them it can be changed.

    The caller holds the peer's lock: a socket file that is there was left by a dead process.
    Raises DiskError when it cannot be made, ConfigError when the TCP address cannot be had.
    """
    file = None
    if paths is not None:
        file = ConfigFile(paths.config, dict(environ or {}), tuple(flags))
    context = Context(node, loaded, config_file=file, paths=paths)
    await serve_context(context, path, pages=pages, task_status=task_status)


async def serve_context(
    context: Context,
    path: Path,
    *,
    pages: Sequence[BaseRoute] = (),
    task_status: trio.TaskStatus[Context] = trio.TASK_STATUS_IGNORED,
) -> None:
    """As `serve_api`, with everything in the context."""
    app = make_app(all_operations(context), *pages)
    stopping = context.node.stopping
    async with AsyncExitStack() as stack:
        listener = _bind_socket(path)
        stack.callback(path.unlink, missing_ok=True)
        stack.callback(listener.close)
        doors = [_door(listener, Door("socket", SOCKET_AUTHORITIES, trusted=True), app, context)]
        wanted = context.loaded.config.api.tcp
        if wanted:
            sockets = _bind_tcp(wanted)
            for each in sockets:
                stack.callback(each.close)
            port = sockets[0].getsockname()[1]
            context.url = f"http://{_bracketed(sockets[0].getsockname()[0])}:{port}/"
            for each in sockets:
                door = Door("tcp", _authorities(sockets, port), trusted=False)
                doors.append(_door(each, door, app, context))
            _write_token(context, path.with_name("api.token"))
            stack.callback(path.with_name("api.token").unlink, missing_ok=True)
        tasks = await stack.enter_async_context(open_tasks())
        tasks.start_soon(context.metrics.sample_lag)
        async with open_tasks() as serving:  # ends by itself, its last answers sent
            connections = Connections(partial(turned_away, context))
            await serving.start(connections.serve, doors, stopping)
            task_status.started(context)
        tasks.cancel_scope.cancel()


def _door(
    listener: socket.socket, door: Door, app: ASGIApp, context: Context
) -> tuple[trio.SocketListener, ASGIApp]:
    listener.listen(min(MAX_CONNECTIONS, socket.SOMAXCONN))
    listener.setblocking(False)
    front = Front(app, door, context)
    return trio.SocketListener(trio.socket.from_stdlib_socket(listener)), front


def _bind_socket(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        path.unlink(missing_ok=True)
        # Nobody can connect between bind and chmod: the directory lets only its owner in. But a
        # client that waits for us to come back may look, and refuse what is not ours alone.
        if sys.platform == "linux":  # where the file gets the rights of the socket
            os.fchmod(listener.fileno(), 0o600)
        listener.bind(str(path))
        killpoint("api.bound")
        path.chmod(0o600)
        os.set_inheritable(listener.fileno(), False)
        return listener
    except OSError as exc:
        listener.close()
        raise DiskError(
            f"cannot make the socket {path}: {exc.strerror or exc}",
            hint="check ownership and permissions of its directory",
        ) from exc


def _bind_tcp(wanted: str) -> list[socket.socket]:
    """All of the setting's addresses, or none. Raises ConfigError."""
    bound: list[socket.socket] = []
    for host, port in parse_loopback(wanted):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        bound.append(listener)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
        except OSError as exc:
            for each in bound:
                each.close()
            raise ConfigError(
                f"api.tcp: cannot listen on {host} port {port}: {exc.strerror or exc}",
                hint="choose another port, or switch it off with tcp = ''",
            ) from exc
    return bound


def _authorities(sockets: Sequence[socket.socket], port: int) -> tuple[str, ...]:
    """What a client may call us: the bound addresses, and the name that means them."""
    own = [f"{_bracketed(each.getsockname()[0])}:{each.getsockname()[1]}" for each in sockets]
    return (*own, f"localhost:{port}")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _write_token(context: Context, path: Path) -> None:
    """A new token at each start, readable by the owner only, whole or absent."""
    for each in list(context.tokens):
        if each.expires_at is None:  # the one of before the API was restarted
            context.tokens.revoke(each.id)
    text, _ = context.tokens.add(
        context.secret(), name="api.token", scope=Scope.ADMIN, now=context.now(), ttl_s=None
    )
    disk = context.node.environment.disk
    disk.remove(path)
    killpoint("api.token.removed")
    disk.replace(path, f"{text}\n".encode("ascii"), mode=0o600)
    killpoint("api.token.written")
