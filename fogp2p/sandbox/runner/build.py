"""Builds the Python runner with componentize-py, once for each machine.

Two builds of the same source differ (the interpreter's heap is part of the component), so a hash
can only be recorded for a file that is handed on: `runner.sha256` beside the component says what
was built here, and it is checked before every use. Runs in a process of its own:
`python -m fogp2p.sandbox.runner.build TARGET`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Final

from fogp2p.killpoints import killpoint
from fogp2p.sandbox.config import PASSING
from fogp2p.sandbox.job import SandboxUnavailable

__all__ = ["build_runner", "runner_path"]

_TIMEOUT_S: Final = 180
_SOURCES: Final = ("app.py", "fog-job.wit")


def runner_path(cache: Path) -> Path:
    """Where the component of this version of the source is kept."""
    source = b"".join(files(__package__).joinpath(name).read_bytes() for name in _SOURCES)
    return cache / f"python-{hashlib.sha256(source).hexdigest()[:16]}.wasm"


def build_runner(cache: Path) -> Path:
    """Return the runner, building it first if need be (12 s, 20 MB). Blocking.

    Raises SandboxUnavailable when componentize-py is missing or fails, or when the file is not the
    one that was built.
    """
    target = runner_path(cache)
    record = target.with_suffix(".sha256")
    if target.is_file() and record.is_file():
        if _digest(target) != record.read_text("ascii").strip():
            raise SandboxUnavailable(
                f"{target} was altered", hint=f"rm {target}; it will be built again"
            )
        return target
    if importlib.util.find_spec("componentize_py") is None:
        raise SandboxUnavailable(
            "Python jobs need componentize-py, which is not installed",
            hint="pip install 'fogp2p[compute]'",
        )
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=PASSING, dir=cache) as folder:
        made = _componentize(Path(folder))
        record.write_text(_digest(made) + "\n", "ascii")
        killpoint("runner.recorded")
        made.rename(target)
        killpoint("runner.placed")
    return target


def _componentize(folder: Path) -> Path:
    for name in _SOURCES:
        (folder / name).write_bytes(files(__package__).joinpath(name).read_bytes())
    line = [sys.executable, "-I", "-c", "from componentize_py import script; script()"]
    line += ["-d", "fog-job.wit", "-w", "runner", "componentize", "app", "-o", "runner.wasm"]
    done = subprocess.run(  # noqa: S603 - our own program with our own words
        line, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise SandboxUnavailable(f"the Python runner could not be built: {done.stderr[-300:]}")
    return folder / "runner.wasm"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
