"""A child process as (part of) a service: its death is a failure, and it never outlives it."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from fogp2p.errors import TransportError
from fogp2p.tasks import open_tasks

__all__ = ["open_child"]


@asynccontextmanager
async def open_child(command: Sequence[str]) -> AsyncIterator[trio.Process]:
    """Run a program while the context lasts, its standard input and output piped.

    It is killed at the end, also when it is stopped or ignores signals. Raises TransportError when
    it cannot be started, or ends before that.
    """
    try:
        process = await trio.lowlevel.open_process(
            list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
    except OSError as exc:
        raise TransportError(f"cannot start {command[0]}: {exc.strerror or exc}") from exc
    try:
        async with open_tasks() as nursery:
            nursery.start_soon(_notice_end, process)
            yield process
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    await pipe.aclose()


async def _notice_end(process: trio.Process) -> None:
    code = await process.wait()
    how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
    raise TransportError(f"the child process {process.pid} {how}")
