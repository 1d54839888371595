"""The store as the rest of the peer sees it: await a write, and it is durable."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import trio

from fogp2p.environment import Clock, Environment, Worker, deadline_of
from fogp2p.killpoints import killpoint
from fogp2p.tasks import open_tasks

from .config import GROUP_WRITES, WAITING_CALLS, StoreConfig
from .database import Call, Database, State
from .engine import Engine, FileEngine
from .errors import StoreUnavailable
from .journal import Journal
from .parts import Eviction, Part, Quota, Transaction
from .status import StoreStatus, Usage

__all__ = ["Store", "open_store"]

T = TypeVar("T")


@asynccontextmanager
async def open_store(
    path: Path,
    environment: Environment,
    *,
    parts: Sequence[Part] = (),
    config: StoreConfig | None = None,
    engine: Engine | None = None,
) -> AsyncIterator[Store]:
    """The database at `path` and its files beside it, while the context lasts; made if need be.

    Look at `store.status()` after it: a disk that cannot be written, a damaged file and one of a
    newer version are states, so that the peer can start and say so. `engine`: None for real files.

    Raises LockedError when another process has it.
    """
    database = Database(path, parts, config or StoreConfig(), engine or FileEngine())
    with environment.executor.worker("store") as worker:
        await worker.run(database.open)
        try:
            async with open_tasks() as tasks:
                store = Store(database, worker, environment.clock)
                tasks.start_soon(store._serve)
                try:
                    yield store
                finally:
                    store._close()
                    tasks.cancel_scope.cancel()
        finally:
            await worker.run(database.close)


class Store:
    """Made by `open_store`. Use it from one trio run."""

    def __init__(self, database: Database, worker: Worker, clock: Clock) -> None:
        self._database = database
        self._worker = worker
        self._clock = clock
        self._queue: deque[tuple[Call, trio.Event]] = deque()
        self._room = trio.Semaphore(WAITING_CALLS)
        self._more = trio.Event()
        self._is_closed = False
        self._last_commit_s = 0.0
        self._since = None if database.state is State.OK else clock.wall()
        self._quotas: Final[dict[str, tuple[Quota, Eviction]]] = {
            table: rule for part in database.parts for table, rule in part.quotas.items()
        }

    async def write(self, function: Callable[[Transaction], T], *, deadline: float = math.inf) -> T:
        """Run `function` in the store's thread; when this returns, what it wrote is durable.

        It runs in one transaction with other callers' functions; when it raises, its own writes are
        undone and this raises the same. It must be quick, and do nothing but database work.

        Raises StoreReadOnly, StoreDamaged, StoreNewer, StoreUnavailable, StoreBusy, StoreFull: it
        was not acknowledged. After DeadlineExceeded or cancellation it may be durable or not.
        """
        result: T = await self._call(Call(function, is_write=True), deadline)
        return result

    async def read(self, function: Callable[[Transaction], T], *, deadline: float = math.inf) -> T:
        """Run `function` in the store's thread on what is durable. It cannot write.

        Works in the states ok, read-only and, as far as possible, damaged. Raises as `write`.
        """
        result: T = await self._call(Call(function, is_write=False), deadline)
        return result

    def journal(self, name: str, quota: Quota, eviction: Eviction = Eviction.DONE_FIRST) -> Journal:
        """A journal of that name: `[a-z][a-z0-9_]*`. The quota holds from the next append."""
        journal = Journal(self, name, quota, eviction)
        self._quotas[name] = (quota, eviction)
        return journal

    def status(self) -> StoreStatus:
        """The state now; sizes as of the last commit. Never waits."""
        database = self._database
        file_bytes, log_bytes = database.sizes()
        usage = []
        for name, rows, size, evicted in database.usage:
            quota, eviction = self._quotas.get(name, (None, None))
            usage.append(
                Usage(
                    name=name,
                    rows=rows,
                    bytes=size,
                    quota_rows=quota.rows if quota is not None else 0,
                    quota_bytes=quota.bytes if quota is not None else 0,
                    eviction=eviction.value if eviction is not None else "",
                    evicted=evicted,
                )
            )
        return StoreStatus(
            state=database.state.value,
            why=database.why,
            hint=database.hint,
            since=self._since,
            path=str(database.path),
            file_bytes=file_bytes,
            log_bytes=log_bytes,
            commits=database.commits,
            waiting=len(self._queue),
            last_commit_s=self._last_commit_s,
            usage=tuple(usage),
        )

    async def _call(self, call: Call, deadline: float) -> Any:
        with deadline_of(deadline, "the store"):
            async with self._room:
                if self._is_closed:
                    raise _closed(self._database.path)
                answered = trio.Event()
                self._queue.append((call, answered))
                self._more.set()
                try:
                    await answered.wait()
                except trio.Cancelled:
                    self._forget(call)
                    raise
        if call.error is not None:
            raise call.error
        return call.result

    def _forget(self, call: Call) -> None:
        """Take a call that nobody waits for out of the queue, if it has not begun."""
        for waiting in self._queue:
            if waiting[0] is call:
                self._queue.remove(waiting)
                return

    async def _serve(self) -> None:
        while True:
            await self._more.wait()
            self._more = trio.Event()
            while self._queue:
                count = min(GROUP_WRITES, len(self._queue))
                group = [self._queue.popleft() for _ in range(count)]
                await self._do(group)

    async def _do(self, group: Sequence[tuple[Call, trio.Event]]) -> None:
        calls = [call for call, _ in group]
        start = self._clock.monotonic()
        # To its end, whatever is cancelled meanwhile: nobody may be left without an answer.
        await self._worker.run(self._database.run, calls)
        if any(call.is_write for call in calls):
            self._last_commit_s = self._clock.monotonic() - start
        if self._since is None and self._database.state is not State.OK:
            self._since = self._clock.wall()
        for _, answered in group:
            answered.set()
        killpoint("store.ack.after")
        if self._database.is_checkpoint_due:
            await self._worker.run(self._database.checkpoint)

    def _close(self) -> None:
        self._is_closed = True
        while self._queue:
            call, answered = self._queue.popleft()
            call.error = _closed(self._database.path)
            answered.set()


def _closed(path: Path) -> StoreUnavailable:
    return StoreUnavailable(f"the store {path} is closed")
