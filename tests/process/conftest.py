"""What the crash tests share: a process that forks children which are killed."""

from __future__ import annotations

import importlib.util
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

_STORE = Path(__file__).with_name("store_child.py")
_KILL = Path(__file__).with_name("kill_child.py")


class Server:
    """Forks the children; see store_child.py and kill_child.py."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._in, self._out = process.stdin, process.stdout

    def start(self, *words: object) -> int:
        """Start a child; return its pid."""
        self._in.write(" ".join(map(str, words)) + "\n")
        self._in.flush()
        return int(self._out.readline())

    def ends_within(self, timeout_s: float) -> bool:
        """Whether the child ends by itself in time."""
        return bool(select.select([self._out], [], [], timeout_s)[0])

    def ended(self) -> int:
        """Wait for the child's end; return its exit code."""
        return int(self._out.readline())

    def kill(self, work: str, directory: Path, name: str, skip: int = 0) -> list[tuple[str, str]]:
        """Let a child work until it kills itself at the place; return what it said before."""
        self.start(work, directory, name, skip)
        assert self.ended() == -signal.SIGKILL, f"{work} never passes {name}"
        said = []
        for line in (directory / "said").read_text().splitlines():
            word, _, what = line.partition(" ")
            said.append((word, what))
        return said


@pytest.fixture(scope="session")
def store_child() -> ModuleType:
    """The child's module: what it writes, and how."""
    return _loaded(_STORE)


@pytest.fixture(scope="session")
def kill_child() -> ModuleType:
    """The same for the children of every other room."""
    return _loaded(_KILL)


def _loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of its own for each file."""
    with _serving(_STORE) as server:
        yield server


@pytest.fixture(scope="module")
def killer() -> Iterator[Server]:
    """The same for the children of every other room."""
    with _serving(_KILL) as server:
        yield server


@contextmanager
def _serving(child: Path) -> Iterator[Server]:
    line = [sys.executable, str(child)]
    with subprocess.Popen(
        line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        yield Server(process)
        assert process.stdin is not None
        process.stdin.close()
