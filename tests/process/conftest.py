"""What the crash tests share: a process that forks children which are killed."""

from __future__ import annotations

import importlib.util
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

_CHILD = Path(__file__).with_name("store_child.py")


class Server:
    """Forks the children; see store_child.py."""

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


@pytest.fixture(scope="session")
def store_child() -> ModuleType:
    """The child's module: what it writes, and how."""
    spec = importlib.util.spec_from_file_location("store_child", _CHILD)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of its own for each file."""
    line = [sys.executable, str(_CHILD)]
    with subprocess.Popen(
        line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        yield Server(process)
        assert process.stdin is not None
        process.stdin.close()
