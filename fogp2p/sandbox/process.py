"""One worker process, from our side. Whatever it says is checked; it may have been taken over."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import trio

from fogp2p.codec import Schema, decode, encode
from fogp2p.environment import deadline_of, within
from fogp2p.errors import RemoteProtocolError, TransportError
from fogp2p.framing import FrameDecoder, encode_frame, read_frame
from fogp2p.limits import MIB

from .config import MAX_FRAME_BYTES, MAX_MEMORY_BYTES, START_TIMEOUT_S, WORKER_OVERHEAD_BYTES
from .job import SandboxUnavailable
from .output import Log

__all__ = ["Worker", "start_worker"]

# The largest file a limit can allow; the exact one is watched.
_FILE_BYTES = 256 * MIB


class _Pipe:
    """The worker's stdout as what `read_frame` reads."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream

    async def read_some(self, max_bytes: int = 65_536) -> bytes:
        try:
            return bytes(await self._stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""


class Worker:
    """Made by `start_worker`. After any error: `kill` it and start another."""

    def __init__(self, process: trio.Process, folder: Path) -> None:
        assert process.stdin is not None and process.stdout is not None
        self.folder = folder
        """Its scratch directory: the only one it can write to."""
        self.jobs = 0
        self.logs: tuple[Log, Log] = (Log(folder / "stdout"), Log(folder / "stderr"))
        self.walls: Mapping[str, str] = {}
        self.runtime = ""
        self._process = process
        self._stdin, self._stdout = process.stdin, process.stdout
        self._pipe = _Pipe(process.stdout)
        self._decoder = FrameDecoder(max_bytes=MAX_FRAME_BYTES)
        self._followers = trio.CancelScope()
        self._following = False

    @property
    def pid(self) -> int:
        """For tests that kill it."""
        return self._process.pid

    async def hear(self, rule: str) -> dict[int, Any]:
        """The next message. Raises RemoteProtocolError, or TransportError when the worker ended."""
        frame = await read_frame(self._pipe, self._decoder)
        if frame is None:
            raise TransportError("the worker ended")
        schema = Schema.load("sandbox/v1.cddl", rule)
        message: dict[int, Any] = decode(frame, schema=schema, max_bytes=MAX_FRAME_BYTES)
        return message

    async def ask(self, request: Mapping[int, Any]) -> dict[int, Any]:
        """Run a request. Raises as `hear`."""
        self.jobs += 1
        frame = encode_frame(encode(dict(request)), max_bytes=MAX_FRAME_BYTES)
        try:
            await self._stdin.send_all(frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise TransportError("the worker ended") from exc
        return await self.hear("outcome")

    def strike(self) -> None:
        """Kill it and everything in its session; `kill` cleans up."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def kill(self) -> None:
        """End it, now, and take away what it had."""
        with trio.CancelScope(shield=True):
            self.strike()
            await self._process.wait()
            await self._stdin.aclose()
            await self._stdout.aclose()
            self._followers.cancel()
            while self._following:
                await trio.lowlevel.checkpoint()
            for log in self.logs:
                log.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    async def follow(self) -> None:
        """Read what the guests say, until `kill`."""
        self._following = True
        try:
            with self._followers:
                async with trio.open_nursery() as nursery:
                    for log in self.logs:
                        nursery.start_soon(log.follow, self.strike)
        finally:
            self._following = False


def _furnish(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / "stdin").write_bytes(b"")


async def start_worker(
    nursery: trio.Nursery, cache: Path, folder: Path, command: Sequence[str] | None = None
) -> Worker:
    """Start a worker and hear its hello. `command` replaces the program, for tests.

    Raises SandboxUnavailable when it does not come up.
    """
    line = command or (sys.executable, "-I", "-m", "fogp2p.sandbox.worker")
    data_bytes = MAX_MEMORY_BYTES + WORKER_OVERHEAD_BYTES
    _furnish(folder)
    process = await trio.lowlevel.open_process(
        [*line, str(cache), str(folder), str(data_bytes), str(_FILE_BYTES)],
        env={},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    worker = Worker(process, folder)
    nursery.start_soon(worker.follow)
    try:
        with deadline_of(within(START_TIMEOUT_S), "starting a worker"):
            hello = await worker.hear("hello")
    except (RemoteProtocolError, TransportError) as exc:
        await worker.kill()
        raise SandboxUnavailable(
            f"a sandbox worker did not start: {exc}", hint="pip install 'fogp2p[compute]'"
        ) from exc
    except BaseException:
        await worker.kill()
        raise
    worker.walls, worker.runtime = hello[1], hello[2]
    return worker
