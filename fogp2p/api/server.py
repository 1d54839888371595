"""Serves the application on the peer's unix socket, by hypercorn's trio worker."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio import serve

from fogp2p.config import Loaded
from fogp2p.environment import DiskError
from fogp2p.node import Node

from .app import make_app
from .config import GRACE_S, KEEP_ALIVE_S, MAX_CONNECTIONS

__all__ = ["serve_api"]


async def serve_api(
    node: Node,
    loaded: Loaded,
    path: Path,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until the node is asked to stop. The socket has mode 0600 in a directory of 0700.

    The caller holds the peer's lock: a socket file that is there was left by a dead process.
    Raises DiskError when it cannot be made.
    """
    listener = _bind(path)
    try:
        settings = HypercornConfig()
        settings.bind = [f"fd://{listener.detach()}"]  # it is closed there
        settings.accesslog = None
        settings.errorlog = None
        settings.graceful_timeout = GRACE_S
        settings.keep_alive_timeout = KEEP_ALIVE_S
        settings.h11_max_incomplete_size = 16 * 1024
        settings.include_server_header = False
        app: Any = _Bounded(make_app(node, loaded))
        async with trio.open_nursery() as nursery:

            async def run(
                *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
            ) -> None:
                await serve(
                    app,
                    settings,
                    shutdown_trigger=node.stopping.wait,
                    task_status=task_status,
                    mode="asgi",
                )

            await nursery.start(run)
            task_status.started()
    finally:
        _forget(path)


class _Bounded:
    """Answers 503 when too many requests are under way."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._busy = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._busy >= MAX_CONNECTIONS:
            headers = [(b"retry-after", b"1"), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        self._busy += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._busy -= 1


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)


def _bind(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        path.unlink(missing_ok=True)
        # Nobody can connect between bind and chmod: the directory lets only its owner in.
        listener.bind(str(path))
        path.chmod(0o600)
        os.set_inheritable(listener.fileno(), False)
        return listener
    except OSError as exc:
        listener.close()
        raise DiskError(
            f"cannot make the socket {path}: {exc.strerror or exc}",
            hint="check ownership and permissions of its directory",
        ) from exc
