"""What a worker process gives up before it touches a guest. Runs in the worker, at its start.

wasmtime is the first wall. These are for the day it has a hole: whatever runs in the worker then
has no network, no files but its scratch directory, no other processes, and dies with us.
Linux only; what the kernel does not offer is reported, not hidden.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ["end_with_parent", "raise_walls"]

_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 4, 22, 38
_CLONE_NEWIPC, _CLONE_NEWUSER, _CLONE_NEWNET = 0x08000000, 0x10000000, 0x40000000
_CLONE_THREAD: Final = 0x00010000
_SECCOMP_MODE_FILTER: Final = 2
# seccomp(2) results, and the offsets in struct seccomp_data.
_KILL, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _FIRST_ARGUMENT = 0, 4, 16
# Audit architecture, clone, clone3, and what is refused: sockets, other processes, new programs,
# namespaces, mounts, keys, kernel attack surface. (Numbers: the kernel's unistd tables.)
_X86_64: Final = (
    0xC000003E,
    56,
    435,
    "41 42 43 49 50 53 57 58 59 62 101 155 161 165 166 175 176 246 248 249 250 272 298 304 308 310 "
    "311 313 321 322 323 424 425 434",
)
_AARCH64: Final = (
    0xC00000B7,
    220,
    435,
    "39 40 41 51 97 104 105 106 117 129 198 199 200 201 202 203 217 218 219 221 241 265 268 270 "
    "271 273 280 281 282 424 425 434",
)
_ARCHES: Final = {"x86_64": _X86_64, "aarch64": _AARCH64}
# landlock(7): the same numbers everywhere; accesses by the version that brought them.
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_FS_ALL: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_WRITE: Final = (1 << 1) | (1 << 4) | (1 << 5) | (1 << 7) | (1 << 8) | (1 << 14)

_WATCH_S: Final = 0.2

_libc = ctypes.CDLL(None, use_errno=True)


def raise_walls(
    *, readable: Sequence[Path], writable: Sequence[Path], data_bytes: int, file_bytes: int
) -> dict[str, str]:
    """Raise every wall; return each with why it does not stand (empty when it does).

    Call it before any thread is started and after everything is imported.
    """
    return {
        "own-session": "" if os.getsid(0) == os.getpid() else "not started in its own session",
        "no-new-privileges": _prctl(_PR_SET_NO_NEW_PRIVS, 1),
        "not-dumpable": _prctl(_PR_SET_DUMPABLE, 0),
        "limits": _limits(data_bytes, file_bytes),
        "no-network": _namespaces(),
        "landlock": _landlock(readable, writable),
        "seccomp": _seccomp(),
    }


def end_with_parent() -> None:
    """Watch that whoever started us is still there, in a thread: call it behind `raise_walls`.

    Not the kernel's parent-death signal: that comes when the *thread* ends that started us, and
    trio starts processes in threads that end when they are idle.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _prctl(option: int, value: int) -> str:
    done = _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0)
    return "" if done == 0 else _why()


def _why() -> str:
    return os.strerror(ctypes.get_errno())


def _limits(data_bytes: int, file_bytes: int) -> str:
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_FSIZE: file_bytes,
        # Writable memory, which is what a guest can fill; address space alone costs nothing.
        resource.RLIMIT_DATA: data_bytes,
    }
    try:
        for name, value in wanted.items():
            resource.setrlimit(name, (value, value))
    except (OSError, ValueError) as exc:
        return str(exc)
    return ""


def _namespaces() -> str:
    """A network of our own with nothing in it."""
    flags = _CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC
    return "" if _libc.unshare(flags) == 0 else _why()


def _landlock(readable: Sequence[Path], writable: Sequence[Path]) -> str:
    version = _libc.syscall(_LANDLOCK_CREATE, None, 0, 1)
    if version < 1:
        return _why()
    handled = max(access for since, access in _FS_ALL.items() if since <= version)
    attributes = struct.pack("=Q", handled)
    if version >= 4:  # TCP bind and connect, of which nothing is allowed
        attributes += struct.pack("=Q", 3)
    if version >= 6:  # abstract sockets and signals outside
        attributes += struct.pack("=Q", 3)
    ruleset = _libc.syscall(_LANDLOCK_CREATE, attributes, len(attributes), 0)
    if ruleset < 0:
        return _why()
    try:
        for path in readable:
            _landlock_allow(ruleset, path, (_READ_FILE | _READ_DIR) & handled)
        for path in writable:
            _landlock_allow(ruleset, path, (_READ_FILE | _READ_DIR | _WRITE) & handled)
        return "" if _libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0) == 0 else _why()
    except OSError as exc:
        return str(exc)
    finally:
        os.close(ruleset)


def _landlock_allow(ruleset: int, path: Path, access: int) -> None:
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", access, handle)
        if _libc.syscall(_LANDLOCK_ADD, ruleset, 1, rule, 0) != 0:
            raise OSError(ctypes.get_errno(), _why())
    finally:
        os.close(handle)


def _seccomp() -> str:
    machine = platform.machine()
    if machine not in _ARCHES:
        return f"no table of system calls for {machine}"
    program = _program(*_ARCHES[machine])
    array = ctypes.create_string_buffer(program)
    header = struct.pack("HP", len(program) // 8, ctypes.addressof(array))
    done = _libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), header, 0, 0)
    return "" if done == 0 else _why()


def _program(arch: int, clone: int, clone3: int, refused: str) -> bytes:
    """Classic BPF: each test skips the return behind it."""
    out = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, arch), (_RETURN, 0, 0, _KILL)]
    out.append((_LOAD, 0, 0, _NUMBER))
    if arch == _X86_64[0]:  # the x32 numbers would pass by the table
        out += [(_AT_LEAST, 0, 1, 0x40000000), (_RETURN, 0, 0, _KILL)]
    for number in map(int, refused.split()):
        out += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | errno.EPERM)]
    # The flags of clone3 lie in memory: libc falls back to clone, whose flags can be seen.
    out += [(_EQUAL, 0, 1, clone3), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
    out += [(_EQUAL, 1, 0, clone), (_RETURN, 0, 0, _ALLOW)]
    out += [(_LOAD, 0, 0, _FIRST_ARGUMENT), (_ANY_BIT, 1, 0, _CLONE_THREAD)]
    out += [(_RETURN, 0, 0, _ERRNO | errno.EPERM), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("HBBI", *each) for each in out)
