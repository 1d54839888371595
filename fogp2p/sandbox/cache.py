"""Compiled code, by what it was compiled from. Each module is compiled in a throw-away process."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import trio

from fogp2p.killpoints import killpoint

from .config import (
    CACHE_BYTES,
    COMPILE_CPU_S,
    COMPILE_MEMORY_BYTES,
    COMPILE_WALL_S,
    PASSING,
    PASSING_S,
    RUNNER_COMPILE_CPU_S,
    RUNNER_COMPILE_WALL_S,
    WASMTIME,
)
from .job import Ending

__all__ = ["Cache", "CompileFailed"]

_INVALID = 3


class CompileFailed(Exception):
    """Inside this room only: why there is no compiled code."""

    def __init__(self, ending: Ending, message: str) -> None:
        super().__init__(message)
        self.ending, self.message = ending, message


class Cache:
    """A directory of the owner. What is in it is native code: nobody else may write there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._busy: dict[str, trio.Event] = {}

    def prepare(self) -> None:
        """Make the directory, or take it over if it is ours alone. Blocking."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)

    async def compiled(self, module: bytes, kind: str, *, trusted: bool = False) -> Path:
        """The compiled form of `module` (`kind`: module or component). Raises CompileFailed."""
        name = f"{hashlib.sha256(module).hexdigest()}-{WASMTIME}-{kind}"
        target = self.folder / f"{name}.cwasm"
        while name in self._busy:
            await self._busy[name].wait()
        if target.is_file():
            os.utime(target)
            return target
        done = self._busy[name] = trio.Event()
        try:
            await self._compile(module, kind, target, trusted=trusted)
        finally:
            del self._busy[name]
            done.set()
        return target

    async def _compile(self, module: bytes, kind: str, target: Path, *, trusted: bool) -> None:
        cpu = RUNNER_COMPILE_CPU_S if trusted else COMPILE_CPU_S
        wall = RUNNER_COMPILE_WALL_S if trusted else COMPILE_WALL_S
        with tempfile.TemporaryDirectory(prefix=PASSING, dir=self.folder) as folder:
            source, made = Path(folder) / "in.wasm", Path(folder) / "out.cwasm"
            source.write_bytes(module)
            line = [sys.executable, "-I", "-m", "fogp2p.sandbox.compiler", kind]
            line += [str(source), str(made), str(cpu), str(COMPILE_MEMORY_BYTES)]
            process = await trio.lowlevel.open_process(
                line,
                env={},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            said = b""
            try:
                with trio.move_on_after(wall):
                    assert process.stdout is not None
                    while len(said) < 4_096 and (part := await process.stdout.receive_some(4_096)):
                        said += part
                    await process.wait()
            finally:
                process.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()
                    assert process.stdout is not None
                    await process.stdout.aclose()
            if process.returncode == _INVALID:
                raise CompileFailed(Ending.REFUSED, said.decode("utf-8", "replace"))
            if process.returncode != 0 or not made.is_file():
                raise CompileFailed(
                    Ending.COMPILE_LIMIT,
                    f"compiling it took more than is allowed (status {process.returncode})",
                )
            made.chmod(0o600)
            killpoint("sandbox.compiled")
            made.rename(target)
            killpoint("sandbox.kept")
        self._shrink(target)

    def _shrink(self, newest: Path) -> None:
        """What killed processes left goes; the least recently used, when the whole is too large."""
        now = newest.stat().st_mtime
        for folder in self.folder.glob(f"{PASSING}*"):
            with suppress(FileNotFoundError):  # its process was just done
                if folder.stat().st_mtime < now - PASSING_S:
                    shutil.rmtree(folder, ignore_errors=True)
        found = sorted(self.folder.glob("*.cwasm"), key=lambda path: -path.stat().st_mtime)
        total = 0
        for path in found:
            total += path.stat().st_size
            if total > CACHE_BYTES:
                path.unlink(missing_ok=True)
