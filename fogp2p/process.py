"""What concerns the whole process: its lock on a directory, and hardening against snooping.

These touch the operating system directly: there is one process, and nothing to simulate.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .environment import DiskError
from .errors import FogError
from .killpoints import killpoint

__all__ = ["LockedError", "command_line", "harden", "hold"]

_PR_SET_DUMPABLE = 4
# Peers (640), programs at the API (1,200), files; many systems start processes with 1,024.
_OPEN_FILES = 4_096


class LockedError(FogError):
    """Another process runs on this directory. Two would spoil each other's files."""

    number = "FOG-PROC-001"


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock file while the context lasts. It ends with the process, even with kill -9.

    Raises LockedError when another process holds it, DiskError when it cannot be made.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(path, flags, 0o600)
    except OSError as exc:
        raise DiskError(
            f"cannot open {path}: {exc.strerror or exc}", hint="is the directory yours?"
        ) from exc
    try:
        killpoint("lock.opened")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
            raise LockedError(
                f"another fogp2p (pid {holder or 'unknown'}) runs on {path.parent}",
                hint="stop it with `fogp2p down`, or choose another --home",
            ) from exc
        killpoint("lock.held")
        os.ftruncate(handle, 0)
        killpoint("lock.emptied")
        os.pwrite(handle, f"{os.getpid()}\n".encode("ascii"), 0)
        killpoint("lock.named")
        yield
    finally:
        os.close(handle)


def harden() -> list[str]:
    """Keep keys out of core dumps and away from other processes; return what is not possible here.

    Call it first: before keys are read. No core dumps (RLIMIT_CORE), no ptrace and no reading of
    our memory by other processes of this user (PR_SET_DUMPABLE, Linux), new files for us alone.
    And as many open files as the limits of connections together need.
    """
    missing = []
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _OPEN_FILES:
        allowed = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        if allowed < _OPEN_FILES:
            missing.append(f"only {allowed} open files: fewer connections than the limits say")
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
            missing.append("prctl(PR_SET_DUMPABLE) is refused")
    else:
        missing.append("other processes of this user can read our memory on this system")
    return missing


def command_line(home: str | None, settings: Sequence[str], ready_fd: int | None) -> list[str]:
    """How this program starts a peer in another process.

    `-I`: neither PYTHON* variables nor modules in the current directory can change what runs.
    `ready_fd`: an inherited pipe that gets the peer id once the peer is ready.
    """
    line = [sys.executable, "-I", "-m", "fogp2p"]
    if home is not None:
        line += ["--home", home]
    line += ["--quiet", "up"]
    if ready_fd is not None:
        line += ["--ready-fd", str(ready_fd)]
    for setting in settings:
        line += ["--set", setting]
    return line
