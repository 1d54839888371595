"""The operating system as the doctor sees it. Tests replace single answers to plant a fault."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import psutil

__all__ = ["Interface", "System", "real_system"]

# The group of multicast DNS: what the peer itself joins. The port is one the system chooses.
_GROUP: Final = "224.0.0.251"
# Our own packet comes back within a millisecond; a loaded machine may need a hundred.
_HEAR_S: Final = 1.0
# Importing the walls takes half a second; a loaded machine may need ten times as long.
_WALLS_S: Final = 15.0
_WALLS: Final = """
import json
from pathlib import Path
from fogp2p.sandbox.walls import raise_walls
walls = raise_walls(readable=[Path("/usr")], writable=[], data_bytes=1 << 29, file_bytes=1 << 20)
print(json.dumps(walls))
"""


@dataclass(frozen=True, slots=True)
class Interface:
    """One IPv4 address of a network interface that is up."""

    name: str
    address: str
    is_loopback: bool


@dataclass(frozen=True, slots=True)
class System:
    """What the checks ask. Nothing here sends a packet further than the local link."""

    python: tuple[int, int]
    version: Callable[[str], str | None]
    """The installed version of a distribution, or None."""
    wall: Callable[[], float]
    asleep: Callable[[], float]
    """Seconds that this machine slept since it started."""
    uid: int
    stat: Callable[[Path], os.stat_result | None]
    """As `Path.lstat`; None when there is no such file or it may not be looked at."""
    free: Callable[[Path], tuple[int, int]]
    """(bytes, files) that may still be written below a directory. Raises OSError."""
    write: Callable[[Path], str]
    """Why no file can be made in a directory; empty when one was made and removed."""
    file_limit: Callable[[], tuple[int, int]]
    """(soft, hard) limit of open files."""
    bind: Callable[[str, int], str]
    """Why a TCP address cannot be listened on: "taken", another reason, or empty."""
    holder: Callable[[int], str]
    """Who listens on a TCP port, as "name (pid 7)"; empty when that may not be known."""
    interfaces: Callable[[], tuple[Interface, ...]]
    multicast: Callable[[Interface], str]
    """Why a multicast packet does not come back on an interface; empty when it does."""
    locked: Callable[[Path], str]
    """The pid that holds a lock file, or empty."""
    answers: Callable[[Path], bool]
    """Whether somebody accepts connections on a unix socket."""
    walls: Callable[[], dict[str, str]]
    """Each wall of the sandbox with why it does not stand (empty when it does)."""
    sys: Path
    """Where the kernel's device tree is."""


def real_system() -> System:
    """This machine."""
    return System(
        python=sys.version_info[:2],
        version=_version,
        wall=time.time,
        asleep=_asleep,
        uid=os.geteuid(),
        stat=_stat,
        free=_free,
        write=_write,
        file_limit=lambda: resource.getrlimit(resource.RLIMIT_NOFILE),
        bind=_bind,
        holder=_holder,
        interfaces=_interfaces,
        multicast=_multicast,
        locked=_locked,
        answers=_answers,
        walls=_walls,
        sys=Path("/sys"),
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _asleep() -> float:
    if sys.platform != "linux":
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None


def _free(path: Path) -> tuple[int, int]:
    info = os.statvfs(path)
    # File systems that make inodes as needed report none at all.
    return info.f_bavail * info.f_frsize, info.f_favail if info.f_files else sys.maxsize


def _write(path: Path) -> str:
    try:
        with tempfile.NamedTemporaryFile(dir=path, prefix=".doctor-") as file:
            file.write(b"x")
            file.flush()
    except OSError as exc:
        return exc.strerror or str(exc)
    return ""


def _bind(address: str, port: int) -> str:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address, port))
    except OSError as exc:
        return "taken" if exc.errno == errno.EADDRINUSE else exc.strerror or str(exc)
    return ""


def _holder(port: int) -> str:
    try:
        found = psutil.net_connections("tcp")
    except (psutil.AccessDenied, OSError):
        return ""
    for each in found:
        if each.status != psutil.CONN_LISTEN or not each.laddr or not each.pid:
            continue
        if each.laddr.port == port:
            try:
                return f"{psutil.Process(each.pid).name()} (pid {each.pid})"
            except psutil.Error:
                return f"pid {each.pid}"
    return ""


def _interfaces() -> tuple[Interface, ...]:
    up = {name for name, stats in psutil.net_if_stats().items() if stats.isup}
    return tuple(
        Interface(name, each.address, each.address.startswith("127."))
        for name, addresses in psutil.net_if_addrs().items()
        for each in addresses
        if name in up and each.family == socket.AF_INET
    )


def _multicast(interface: Interface) -> str:
    """Join, send, hear ourselves. The packet has a TTL of 1: no router passes it on."""
    own = socket.inet_aton(interface.address)
    token = b"fogp2p doctor " + secrets.token_bytes(16)
    end = time.monotonic() + _HEAR_S
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("", 0))
            sock.setsockopt(
                socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(_GROUP) + own
            )
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
            sock.sendto(token, (_GROUP, sock.getsockname()[1]))
            while (left := end - time.monotonic()) > 0:
                sock.settimeout(left)
                if sock.recv(256) == token:
                    return ""
    except TimeoutError:
        pass
    except OSError as exc:
        return exc.strerror or str(exc)
    return "our own packet did not come back"


def _locked(path: Path) -> str:
    """Takes the lock for an instant, shared: a start in that very instant would be refused."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
    finally:
        os.close(handle)
    return ""


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(1.0)
        try:
            sock.connect(str(path))
        except OSError:
            return False
        return True


def _walls() -> dict[str, str]:
    line = [sys.executable, "-I", "-c", _WALLS]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            line,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_WALLS_S,
            start_new_session=True,
            check=True,
        )
        found: dict[str, str] = json.loads(done.stdout)
    except subprocess.CalledProcessError as exc:
        return {"worker": exc.stderr.decode("utf-8", "replace").strip()[-200:] or str(exc)}
    except (subprocess.TimeoutExpired, OSError, ValueError) as exc:
        return {"worker": str(exc)}
    return found
