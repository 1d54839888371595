"""What is not a value: clock, randomness, executors and disk, always passed in.

Nothing else in this library reads a clock, draws randomness, starts a thread or opens a file. With
the simulator's environment (`fogp2p.testing`) in place of the real one, a whole network of peers
runs in one process under a virtual clock and can be repeated from a seed.
"""

from __future__ import annotations

import errno
import math
import multiprocessing
import os
import random
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar, TypeVarTuple

import trio

from .errors import DeadlineExceeded, FogError, TransportError
from .killpoints import killpoint

__all__ = [
    "Clock",
    "Disk",
    "DiskError",
    "Environment",
    "Executor",
    "Worker",
    "deadline_of",
    "disk_error",
    "is_cut_off",
    "real_environment",
    "sync_directory",
    "within",
]

# IOV_MAX of Linux and macOS.
_PARTS_AT_ONCE: Final = 1024

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Clock(Protocol):
    """Two clocks that must not be mixed: one for waiting, one for dates."""

    def monotonic(self) -> float:
        """Seconds on trio's clock: for deadlines and intervals. Never goes back."""
        ...

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC: for expiry dates and display. May jump."""
        ...


class Worker(Protocol):
    """One thread of its own, for what belongs to a single thread, as a database connection does."""

    async def run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run `function(*args)` there, after whatever was given before.

        Cancelling does not reach it: this returns when the function has.
        """
        ...


class Executor(Protocol):
    """Runs functions that would hold up the event loop for more than 5 ms."""

    async def in_thread(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run `function(*args)` off the loop and return or raise what it does.

        A cancelled call still runs to its end; its result is dropped.
        """
        ...

    async def in_process(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """The same in a process of its own, for work that holds the interpreter's lock.

        `function`, arguments and result are pickled: a module's function, and values. Carrying
        costs about 0.1 ms and a few microseconds for each kilobyte. Raises TransportError when the
        process dies.
        """
        ...

    def worker(self, name: str) -> AbstractContextManager[Worker]:
        """A thread that lives as long as the context. Leave it when nothing runs in it."""
        ...


class DiskError(FogError):
    """The disk refused: full, read-only, damaged or without permission. The owner acts."""

    number = "FOG-DISK-001"


class Disk(Protocol):
    """Small files that must be whole or absent. Blocking: use `Executor.in_thread` on the loop."""

    def read(self, path: Path, *, max_bytes: int) -> bytes | None:
        """Return the file's bytes, or None when there is no such file.

        Raises DiskError when it is larger than `max_bytes`, no regular file or cannot be read.
        """
        ...

    def replace(self, path: Path, data: bytes, *, mode: int = 0o600, durable: bool = True) -> None:
        """Write the file so that after a crash either the old or the new content is there, whole.

        Without `durable` this holds for a crash of the process but not of the machine: for what can
        be checked and fetched again. Missing parent directories are made with mode 0700. Raises
        DiskError.
        """
        ...

    def read_at(self, path: Path, offset: int, count: int) -> bytes | None:
        """Return `count` bytes from `offset`, fewer at the end; None when there is no such file.

        Raises DiskError.
        """
        ...

    def read_at_once(self, path: Path, offset: int, count: int) -> bytes | None:
        """The same, but only of what is in memory: None when the disk would have to turn.

        The one method here for the event loop: 256 KiB take about 20 us, going to a thread eight
        times as long. Raises DiskError.
        """
        ...

    def write_at(self, path: Path, offset: int, parts: Sequence[bytes | memoryview]) -> None:
        """Write `parts` into a large file, one behind the other from `offset` on.

        It and its parents are made when missing. Not flushed, as `replace` without `durable`, and
        not at once: for what can be checked and fetched again. What was never written before the
        end reads as zeros. Raises DiskError.
        """
        ...

    def stamp(self, path: Path) -> tuple[int, int] | None:
        """Two numbers that change when the file's content does; None when there is no such file.

        For noticing a change by others, not for proving that there was none: the system's clock
        has steps.
        """
        ...

    def names(self, path: Path) -> tuple[str, ...]:
        """The names in a directory, sorted; () when there is none. Raises DiskError."""
        ...

    def remove(self, path: Path) -> None:
        """Delete the file if it is there. Raises DiskError."""
        ...

    def mode(self, path: Path) -> tuple[int, int] | None:
        """Return (permission bits, owner's uid), or None when there is no such file."""
        ...


@dataclass(frozen=True, slots=True)
class Environment:
    """The world a node runs in. `random` is a cryptographic source in the real one."""

    clock: Clock
    random: random.Random
    executor: Executor
    disk: Disk


def real_environment() -> Environment:
    """The operating system's clocks, randomness, threads and disk."""
    return Environment(
        clock=_SystemClock(),
        random=random.SystemRandom(),
        executor=_Workers(),
        disk=_SystemDisk(),
    )


def within(seconds: float) -> float:
    """The deadline `seconds` from now on trio's clock; `math.inf` for none."""
    return trio.current_time() + seconds if seconds < math.inf else math.inf


@contextmanager
def deadline_of(deadline: float, what: str) -> Iterator[None]:
    """Give the block until `deadline`; then raise DeadlineExceeded("<what> took too long").

    Use it round every wait that a caller bounded. Cancellation from outside passes through.
    """
    try:
        with trio.fail_at(deadline):
            yield
    except trio.TooSlowError as exc:
        raise DeadlineExceeded(f"{what} took too long") from exc


class _SystemClock:
    def monotonic(self) -> float:
        return trio.current_time()

    def wall(self) -> float:
        return time.time()


class _Workers:
    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    async def in_thread(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        def call() -> T:
            return function(*args)

        return await trio.to_thread.run_sync(call, abandon_on_cancel=True)

    async def in_process(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        if self._pool is None:
            # Spawned, not forked: a copy of this process would hold its keys and its sockets.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(min(4, os.cpu_count() or 1), mp_context=context)
        try:
            future = self._pool.submit(function, *args)
            await _end_of(future)
            return future.result()
        except BrokenExecutor as exc:
            self._pool = None
            raise TransportError("a worker process died") from exc

    @contextmanager
    def worker(self, name: str) -> Iterator[Worker]:
        pool = ThreadPoolExecutor(1, thread_name_prefix=f"fogp2p-{name}")
        try:
            yield _Thread(pool)
        finally:
            pool.shutdown()


class _Thread:
    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool

    async def run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        future = self._pool.submit(function, *args)
        with trio.CancelScope(shield=True):
            await _end_of(future)
        return future.result()


async def _end_of(future: Future[T]) -> None:
    """Wait for the pool. A cancelled call that has not begun is taken out of its queue."""
    done, token = trio.Event(), trio.lowlevel.current_trio_token()

    def wake(_: Future[T]) -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(done.set)

    future.add_done_callback(wake)
    try:
        await done.wait()
    finally:
        future.cancel()


class _SystemDisk:
    def read(self, path: Path, *, max_bytes: int) -> bytes | None:
        data = _with_file(path, lambda handle: _read_up_to(handle, max_bytes + 1))
        if data is not None and len(data) > max_bytes:
            raise DiskError(f"{path} is larger than {max_bytes} bytes")
        return data

    def replace(self, path: Path, data: bytes, *, mode: int = 0o600, durable: bool = True) -> None:
        temporary = path.with_name(_passing_name(path, str(os.getpid())))
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary.unlink(missing_ok=True)  # left by a crash of a process with our pid
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(temporary, flags, mode), "wb") as file:
                killpoint("disk.replace.made")
                file.write(data)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            killpoint("disk.replace.written")
            temporary.rename(path)
            killpoint("disk.replace.renamed")
            if durable:
                sync_directory(path.parent)
            killpoint("disk.replace.done")
        except OSError as exc:
            raise disk_error("write", path, exc) from exc

    def read_at(self, path: Path, offset: int, count: int) -> bytes | None:
        return _with_file(path, lambda handle: os.pread(handle, count, offset))

    def read_at_once(self, path: Path, offset: int, count: int) -> bytes | None:
        return _with_file(path, lambda handle: _read_cached(handle, offset, count))

    def write_at(self, path: Path, offset: int, parts: Sequence[bytes | memoryview]) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            try:
                handle = os.open(path, flags, 0o600)
            except FileNotFoundError:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                handle = os.open(path, flags, 0o600)
            try:
                _write_all(handle, offset, parts)
            finally:
                os.close(handle)
        except OSError as exc:
            raise disk_error("write", path, exc) from exc

    def stamp(self, path: Path) -> tuple[int, int] | None:
        info = _look_at(path)
        return (info.st_mtime_ns, info.st_size) if info is not None else None

    def names(self, path: Path) -> tuple[str, ...]:
        try:
            return tuple(sorted(os.listdir(path)))
        except FileNotFoundError:
            return ()
        except OSError as exc:
            raise disk_error("list", path, exc) from exc

    def remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as exc:
            raise disk_error("remove", path, exc) from exc

    def mode(self, path: Path) -> tuple[int, int] | None:
        info = _look_at(path)
        return (stat.S_IMODE(info.st_mode), info.st_uid) if info is not None else None


def _look_at(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise disk_error("look at", path, exc) from exc


def _with_file(path: Path, read: Callable[[int], bytes | None]) -> bytes | None:
    """What `read` finds in the regular file; None when there is none."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise disk_error("read", path, exc) from exc
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise DiskError(f"{path} is not a regular file")
        return read(handle)
    except OSError as exc:
        raise disk_error("read", path, exc) from exc
    finally:
        os.close(handle)


def _read_cached(handle: int, offset: int, count: int) -> bytes | None:
    """What the page cache has; None when something is missing there, or cannot be asked."""
    flag = getattr(os, "RWF_NOWAIT", None)  # Linux
    if flag is None:
        return None
    buffer = bytearray(count)
    try:
        found = os.preadv(handle, [buffer], offset, flag)
    except OSError as exc:
        if exc.errno in (errno.EAGAIN, errno.EOPNOTSUPP):
            return None
        raise
    return bytes(buffer) if found == count else None


def _write_all(handle: int, offset: int, parts: Sequence[bytes | memoryview]) -> None:
    """As many bytes at once as the system takes: each call lets go of the interpreter's lock."""
    views = [memoryview(part) for part in parts]
    while views:
        count = os.pwritev(handle, views[:_PARTS_AT_ONCE], offset)
        offset += count
        while views and count >= len(views[0]):
            count -= len(views.pop(0))
        if count:
            views[0] = views[0][count:]


def _read_up_to(handle: int, count: int) -> bytes:
    data = bytearray()
    while len(data) < count and (more := os.read(handle, count - len(data))):
        data += more
    return bytes(data)


def _passing_name(path: Path, pid: str) -> str:
    """What the successor of a file is called until it has the file's name."""
    return f".{path.name}.{pid}.new"


def is_cut_off(name: str, path: Path) -> bool:
    """Whether `name` is what a killed process left of a `Disk.replace` of `path`."""
    pid = name.removeprefix(f".{path.name}.").removesuffix(".new")
    return pid.isdigit() and name == _passing_name(path, pid)


def sync_directory(path: Path) -> None:
    """Make a rename in `path` survive a power cut. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def disk_error(verb: str, path: Path, exc: OSError) -> DiskError:
    """What the system said about `path`, for people."""
    return DiskError(
        f"cannot {verb} {path}: {exc.strerror or exc}",
        hint="check free space, ownership and permissions of that path",
    )
