"""A computer as a page's reader has it: a shell, a home of its own, and fogp2p installed."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

# No command of a page takes longer, also where three other things are running.
LINE_S = 60.0
# A shell forgets everything else of ours; these it needs.
_KEPT = ("LANG", "LC_ALL", "TZ")


class PageFailed(Exception):
    """A line did not do what its page says."""


class Machine:
    """Runs lines in one bash, so that variables and `cd` last as they do for a person."""

    def __init__(self, home: Path, variables: Mapping[str, str]) -> None:
        home.mkdir(mode=0o700)
        self.home = home
        self.transcript = ""
        """Everything that was printed here."""
        self.running: dict[str, _Running] = {}
        environ = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environ |= {
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
            # A browser that is content with every link.
            "BROWSER": "true",
            "EDITOR": "true",
            **variables,
        }
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=home,
            env=environ,
            start_new_session=True,
        )
        # Job control: without it what runs in the background does not hear SIGINT.
        self._ask("set -m")

    def run(self, line: str) -> tuple[int, str]:
        """Run a line (or a command of several lines); return its exit code and what it printed."""
        # It reads nothing: our next line is not meant for it.
        code, printed = self._ask(f"{{ {line}\n}} </dev/null")
        self.transcript += printed
        return code, printed

    def start(self, line: str) -> None:
        """Start what runs until it is interrupted."""
        log = self.home / f".run-{len(self.running)}"
        _, pid = self._ask(f"{{ {line}\n}} </dev/null >{log} 2>&1 &\necho $!")
        self.running[line] = _Running(int(pid), log)

    def printed_by(self, line: str) -> str:
        """What a line that runs until it is interrupted has printed so far."""
        log = self.running[line].log
        # Its shell makes the file, in its own time.
        return log.read_text("utf-8", "replace") if log.exists() else ""

    def wait_for(self, line: str, pattern: str) -> str:
        """Wait until `line` has printed `pattern`; return all it printed."""
        end = time.monotonic() + LINE_S
        while not re.search(pattern, printed := self.printed_by(line), re.S):
            if time.monotonic() > end or not self._goes_on(line):
                # It may have printed its last words in between.
                if re.search(pattern, printed := self.printed_by(line), re.S):
                    break
                raise PageFailed(f"{line}\nnever printed {pattern!r}, but:\n{printed}")
            time.sleep(0.05)
        return printed

    def _goes_on(self, line: str) -> bool:
        try:
            os.kill(self.running[line].pid, 0)
        except ProcessLookupError:
            return False
        return True

    def interrupt(self, line: str) -> None:
        """Ctrl+C, by the group that the shell made for the line; it has to end then."""
        one = self.running.pop(line)
        with suppress(ProcessLookupError):  # it may have done what it was for
            os.killpg(one.pid, signal.SIGINT)
        code, _ = self._ask(f"wait {one.pid}")
        self.transcript += one.log.read_text("utf-8", "replace")
        if code not in (0, 130):
            raise PageFailed(f"{line}\nended with {code} after Ctrl+C")

    def close(self) -> None:
        """End the shell and whatever a page that failed left behind."""
        for one in self.running.values():
            _end(one.pid, group=True)
        assert self._shell.stdin is not None and self._shell.stdout is not None
        self._shell.kill()
        self._shell.wait()
        self._shell.stdin.close()
        self._shell.stdout.close()
        for lock in self.home.rglob("lock"):
            if _is_held(lock):
                _end(int(lock.read_text("ascii")), group=False)

    def _ask(self, script: str) -> tuple[int, str]:
        assert self._shell.stdin is not None and self._shell.stdout is not None
        mark = f"end-{secrets.token_hex(8)}"
        self._shell.stdin.write(f"{script}\nprintf '%s %d.' {mark} $?\n".encode())
        self._shell.stdin.flush()
        end = re.compile(rf"{mark} (\d+)\.")
        printed = b""
        limit = time.monotonic() + LINE_S
        while (found := end.search(printed.decode("utf-8", "replace"))) is None:
            ready, _, _ = select.select([self._shell.stdout], [], [], limit - time.monotonic())
            part = os.read(self._shell.stdout.fileno(), 65536) if ready else b""
            if not part:
                raise PageFailed(f"{script}\ndid not end; it printed:\n{printed.decode()}")
            printed += part
        return int(found[1]), printed.decode("utf-8", "replace")[: found.start()]


class _Running:
    def __init__(self, pid: int, log: Path) -> None:
        self.pid = pid
        self.log = log


def _is_held(lock: Path) -> bool:
    """Whether its peer still runs; the number alone may belong to another process by now."""
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _end(pid: int, *, group: bool) -> None:
    try:
        (os.killpg if group else os.kill)(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
