"""Starting a peer that outlives the command."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from typing import Final

from fogp2p.environment import DiskError
from fogp2p.errors import FogError
from fogp2p.process import command_line

from .answers import Up
from .output import Output

__all__ = ["START_S", "NotStarted", "start_in_background"]

# Keys with a passphrase take half a second, and a loaded machine ten times as long.
START_S: Final = 30.0


class NotStarted(FogError):
    """The peer in the background did not come up; the message has the end of its log."""

    number = "FOG-PROC-002"


def start_in_background(output: Output, settings: tuple[str, ...]) -> Up:
    """Start `fogp2p up` in a session of its own and wait until it is ready. Raises NotStarted."""
    log = output.paths.log
    try:
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise DiskError(f"cannot write {log}: {exc.strerror or exc}") from exc
    os.utime(handle)  # `fogp2p logs` tells by it whether the running peer writes here
    begin = os.fstat(handle).st_size
    read_end, write_end = os.pipe()
    try:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command_line(output.home, settings, write_end),
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=handle,
            pass_fds=(write_end,),
            start_new_session=True,
        )
    except OSError as exc:
        os.close(read_end)
        raise NotStarted(
            f"cannot run {sys.executable}: {exc.strerror or exc}",
            hint="is it installed as a whole?",
        ) from exc
    finally:
        os.close(handle)
        os.close(write_end)
    with os.fdopen(read_end, "r", encoding="ascii") as pipe:
        ready, _, _ = select.select([pipe], [], [], START_S)
        name = pipe.readline().strip() if ready else ""
    if not name:
        process.kill()
        process.wait()
        with log.open("rb") as file:
            file.seek(begin)
            said = file.read(4096).decode("utf-8", "replace").strip()
        raise NotStarted(f"the peer did not start:\n{said}", hint=f"its log is {log}")
    return Up(name, process.pid, str(log))
