"""The API as a part of the peer: it starts last, ends first, and is asked whether it answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from fogp2p.errors import TransportError
from fogp2p.supervisor import Probe, Service
from fogp2p.tasks import open_tasks

__all__ = ["api_service"]

# A hang is noticed within 5 s; each probe is a whole request.
_PROBE_INTERVAL_S: Final = 2.0
_PROBE_DEADLINE_S: Final = 1.5
# With what these need and want, all parts of a node: the API tells of each of them.
_AFTER: Final = ("ping", "echo", "gossip", "handlers", "connector")
# The status line is all that counts.
_MAX_BYTES: Final = 64
_REQUEST: Final = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def api_service(
    serve: Callable[..., Awaitable[None]], stopping: trio.Event, socket: Path
) -> Service:
    """`serve(task_status)` answers on the unix socket at `socket` until `stopping` is set.

    Its value is what `serve` passes to `started`. Without it a peer goes on, and answers no one.
    """

    @asynccontextmanager
    async def opened() -> AsyncIterator[Any]:
        async with open_tasks() as nursery:
            yield await nursery.start(serve)
            if not stopping.is_set():
                nursery.cancel_scope.cancel()
            # Otherwise it ends by itself, its last answers sent.

    check = partial(_answers, socket)
    probe = Probe(check, _PROBE_INTERVAL_S, _PROBE_DEADLINE_S)
    return Service("api", opened, wants=_AFTER, probe=probe)


async def _answers(socket: Path, _: object) -> None:
    """Ask for the health as any client would. Any answer will do, also that it is busy."""
    try:
        async with await trio.open_unix_socket(socket) as stream:
            await stream.send_all(_REQUEST)
            answer = await stream.receive_some(_MAX_BYTES)
    except (OSError, trio.BrokenResourceError) as exc:
        raise TransportError(f"the API's socket does not answer: {exc}") from exc
    if not answer.startswith(b"HTTP/1.1 "):
        raise TransportError("the API's socket does not answer in HTTP")
