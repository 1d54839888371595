"""Runs untrusted jobs in killable worker processes."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import trio

from fogp2p.environment import Environment, deadline_of, within
from fogp2p.errors import DeadlineExceeded, LimitExceeded, RemoteProtocolError, TransportError
from fogp2p.tasks import open_tasks

from .cache import Cache, CompileFailed
from .config import (
    GRACE_S,
    JOBS_PER_WORKER,
    WASMTIME,
    WATCH_S,
    SandboxConfig,
)
from .job import Ending, Job, Kind, Limits, Result, SandboxUnavailable, Usage
from .process import Worker, start_worker
from .runner import build_runner, runner_path

__all__ = ["Sandbox", "open_sandbox"]


@asynccontextmanager
async def open_sandbox(
    config: SandboxConfig, environment: Environment, *, command: Sequence[str] | None = None
) -> AsyncIterator[Sandbox]:
    """Keep workers ready while the context lasts. `command` replaces their program, for tests.

    Raises SandboxUnavailable when wasmtime is missing or of another version, or no worker starts.
    """
    _check_installed()
    scratch = Path(tempfile.mkdtemp(prefix="fogp2p-jobs-"))
    box = Sandbox(config, environment, scratch, command)
    try:
        async with open_tasks() as nursery:
            await box.start(nursery)
            try:
                yield box
            finally:
                await box.stop()
                nursery.cancel_scope.cancel()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _check_installed() -> None:
    try:
        found = version("wasmtime")
    except PackageNotFoundError:
        found = ""
    if found != WASMTIME:
        raise SandboxUnavailable(
            f"jobs need wasmtime {WASMTIME}, and {found or 'none'} is installed",
            hint="pip install 'fogp2p[compute]'",
        )


class Sandbox:
    """Made by `open_sandbox`."""

    def __init__(
        self,
        config: SandboxConfig,
        environment: Environment,
        scratch: Path,
        command: Sequence[str] | None,
    ) -> None:
        self.config = config
        self.walls: Mapping[str, str] = {}
        """Each wall of the workers with why it does not stand; empty when it does."""
        self.runtime = ""
        self._environment = environment
        self._cache = Cache(config.cache)
        self._scratch = scratch
        self._command = command
        self._runner: Path | None = None
        self._idle: deque[Worker] = deque()
        self._slots = trio.CapacityLimiter(config.workers)
        self._count = 0
        self._stopping = False

    @property
    def is_python_ready(self) -> bool:
        """Whether the Python runner has been built on this machine."""
        return runner_path(self._cache.folder).is_file()

    # --- workers ---------------------------------------------------------------------------------

    async def start(self, nursery: trio.Nursery) -> None:
        """Start the first worker, whose failure is told; the others follow on demand."""
        self._nursery = nursery
        await self._environment.executor.in_thread(self._cache.prepare)
        await self._spawn()

    async def stop(self) -> None:
        """End all workers."""
        self._stopping = True
        while self._idle:
            await self._idle.popleft().kill()

    async def _spawn(self) -> None:
        self._count += 1
        worker = await start_worker(
            self._nursery,
            self._cache.folder,
            self._scratch / str(self._count),
            self._command,
        )
        self.walls, self.runtime = worker.walls, worker.runtime
        if self._stopping:
            await worker.kill()
        else:
            self._idle.append(worker)

    async def _take(self) -> Worker:
        while True:
            if not self._idle:
                await self._spawn()
            if self._idle:
                return self._idle.popleft()

    async def _replace(self, worker: Worker) -> None:
        """End a worker, and have another ready before somebody asks."""
        await worker.kill()
        if not self._stopping and not self._idle:
            self._nursery.start_soon(self._spawn)

    # --- jobs ------------------------------------------------------------------------------------

    async def run(self, job: Job) -> Result:
        """Run a job; whatever it does is a Result, never an exception.

        Raises LocalProtocolError for a job that cannot be written down, LimitExceeded when no
        worker gets free in `queue_s`, SandboxUnavailable when Python jobs need a runner.
        """
        arguments = job.arguments()
        try:
            artefact = await self._artefact(job)
        except CompileFailed as exc:
            return Result(exc.ending, message=exc.message, runtime=self.runtime)
        ticket = object()
        with trio.move_on_after(self.config.queue_s) as queue:
            await self._slots.acquire_on_behalf_of(ticket)
        if queue.cancelled_caught:
            raise LimitExceeded(f"no worker was free for {self.config.queue_s:.0f} s")
        try:
            result = await self._on_a_worker(job, arguments, artefact)
        finally:
            self._slots.release_on_behalf_of(ticket)
        return replace(result, runtime=self.runtime)

    async def _artefact(self, job: Job) -> Path:
        if job.kind is Kind.PY_FUNC:
            if self._runner is None:
                self._runner = await self._compiled_runner()
            return self._runner
        kind = "module" if job.kind is Kind.WASI_COMMAND else "component"
        return await self._cache.compiled(job.module, kind)

    async def _compiled_runner(self) -> Path:
        path = await self._environment.executor.in_thread(build_runner, self._cache.folder)
        module = await self._environment.executor.in_thread(path.read_bytes)
        return await self._cache.compiled(module, "component", trusted=True)

    async def _on_a_worker(self, job: Job, arguments: list[str], artefact: Path) -> Result:
        worker = await self._take()
        run = _Run(job, worker)
        try:
            run.prepare()
            result = await run.go(_request(job, arguments, artefact, worker.folder))
        finally:
            good = run.is_clean and worker.jobs < JOBS_PER_WORKER and not self._stopping
            if good and run.has_files:
                with trio.CancelScope(shield=True):
                    await self._environment.executor.in_thread(run.clear)
            if good:
                self._idle.append(worker)
            else:
                await self._replace(worker)
        return result


class _Run:
    """One attempt on one worker."""

    def __init__(self, job: Job, worker: Worker) -> None:
        self.is_clean = False
        """Whether the worker ended the job by itself and can be used again."""
        self.has_files = bool(job.inputs or job.outputs or job.stdin)
        self._job = job
        self._worker = worker
        self._over = ""

    def prepare(self) -> None:
        """Lay out what the guest sees. A few small files."""
        folder = self._worker.folder
        for log in self._worker.logs:
            log.reset()
        if self._job.stdin:
            (folder / "stdin").write_bytes(self._job.stdin)
        if self._job.inputs:
            (folder / "in").mkdir()
            for name, data in self._job.inputs.items():
                (folder / "in" / name).write_bytes(data)
        if self._job.outputs:
            (folder / "out").mkdir()

    def clear(self) -> None:
        """Take the files away again. Blocking."""
        (self._worker.folder / "stdin").write_bytes(b"")
        for name in ("in", "out"):
            shutil.rmtree(self._worker.folder / name, ignore_errors=True)

    async def go(self, request: Mapping[int, Any]) -> Result:
        """Ask the worker, watch the guest, and say what came of it."""
        start = trio.current_time()
        outcome, ending, message = await self._watched(request)
        for log in self._worker.logs:
            log.drain()
        if outcome is None:
            wall = trio.current_time() - start
            if self._too_much():
                ending, message = Ending.OUTPUT, self._too_much()
            return self._result(ending, message, Usage(0, wall, 0))
        self.is_clean = True
        usage = Usage(outcome[3], outcome[4] / 1e6, outcome[5])
        return self._result(Ending(outcome[1]), outcome[7], usage, outcome)

    async def _watched(
        self, request: Mapping[int, Any]
    ) -> tuple[dict[int, Any] | None, Ending, str]:
        if not self._job.outputs:
            return await self._ask(request)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            answer = await self._ask(request)
            nursery.cancel_scope.cancel()
        return answer

    async def _ask(self, request: Mapping[int, Any]) -> tuple[dict[int, Any] | None, Ending, str]:
        try:
            with deadline_of(within(self._job.limits.wall_s + GRACE_S), "the job"):
                return await self._worker.ask(request), Ending.EXIT, ""
        except RemoteProtocolError as exc:
            return None, Ending.LOST, f"the worker spoke nonsense: {exc}"
        except DeadlineExceeded:
            return None, Ending.WALL, "it did not end in time and was killed"
        except TransportError:
            return None, Ending.LOST, "the worker died"

    def _result(
        self, ending: Ending, message: str, usage: Usage, outcome: Mapping[int, Any] | None = None
    ) -> Result:
        outputs: dict[str, bytes] = {}
        if outcome is not None and self._job.outputs:
            try:
                folder = self._worker.folder / "out"
                outputs = _collect(folder, self._job.outputs, self._job.limits)
            except LimitExceeded as exc:
                ending, message = Ending.OUTPUT, str(exc)
        out, err = self._worker.logs
        return Result(
            ending,
            outcome[2] if outcome is not None else 0,
            outcome[6] if outcome is not None else "",
            message,
            out.text,
            err.text,
            out.dropped + err.dropped,
            outputs,
            usage,
        )

    def _too_much(self) -> str:
        if self._over:
            return self._over
        flooded = any(log.is_flooded for log in self._worker.logs)
        return "it said more than 64 MiB" if flooded else ""

    async def _watch(self) -> None:
        """Count the guest's files while it runs: a directory has no quota of its own."""
        while True:
            await trio.sleep(WATCH_S)
            try:
                _measure(self._worker.folder / "out", self._job.limits)
            except LimitExceeded as exc:
                self._over = str(exc)
                self._worker.strike()
                return


def _request(job: Job, arguments: list[str], artefact: Path, folder: Path) -> dict[int, Any]:
    return {
        1: job.kind.value,
        2: str(artefact),
        3: str(folder),
        4: arguments,
        5: dict(job.env),
        6: job.limits.fuel,
        7: job.limits.memory,
        8: int(job.limits.wall_s * 1000),
        9: job.strict,
        10: job.seed,
    }


def _measure(folder: Path, limits: Limits) -> None:
    """Raises LimitExceeded for too many files or bytes. Directories count as files."""
    count = total = 0
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                count += 1
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                else:
                    total += entry.stat(follow_symlinks=False).st_size
                if count > limits.files or total > limits.file_bytes:
                    raise LimitExceeded(
                        f"more than {limits.files} files or {limits.file_bytes} bytes of output"
                    )


def _collect(folder: Path, names: Sequence[str], limits: Limits) -> dict[str, bytes]:
    """The named regular files; a link that a guest left is not followed."""
    _measure(folder, limits)
    found = {}
    for name in names:
        try:
            handle = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue
        with os.fdopen(handle, "rb") as file:
            if stat.S_ISREG(os.fstat(handle).st_mode):
                found[name] = file.read(limits.file_bytes)
    return found
