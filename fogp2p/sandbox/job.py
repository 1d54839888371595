"""What is run, within which limits, and what came of it: values."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fogp2p.errors import FogError, LocalProtocolError, RemoteProtocolError
from fogp2p.limits import MIB

from .config import (
    MAX_FILES,
    MAX_MEMORY_BYTES,
    MAX_MODULE_BYTES,
    MAX_SOURCE_BYTES,
    MAX_WALL_S,
)

__all__ = ["Ending", "Job", "Kind", "Limits", "Result", "SandboxUnavailable", "Usage"]

_FILE: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_WASM: Final = b"\0asm"


class SandboxUnavailable(FogError):
    """Jobs cannot be run on this machine as it is installed."""

    number = "FOG-JOB-001"


class Kind(enum.Enum):
    """`component` and `py-func` export or name a function; `wasi-command` has `_start`."""

    WASI_COMMAND = "wasi-command"
    COMPONENT = "component"
    PY_FUNC = "py-func"


class Ending(enum.Enum):
    """How an attempt ended."""

    EXIT = "exit"  # the command ended; see exit_code
    RESULT = "result"  # the function returned; see value
    RAISED = "raised"  # the function raised; see message
    TRAP = "trap"
    FUEL = "fuel"
    WALL = "wall"
    MEMORY = "memory"
    OUTPUT = "output"  # too much said, or too many or too large files
    REFUSED = "refused"  # not a module that can be run here
    COMPILE_LIMIT = "compile-limit"
    LOST = "lost"  # the worker died or spoke nonsense


@dataclass(frozen=True, slots=True)
class Limits:
    """`fuel`: about one unit for each WebAssembly instruction; exact and repeatable. `memory`: of
    the guest, in bytes, up to 1 GiB. `wall_s`: seconds, up to an hour. `files`, `file_bytes`:
    outputs, together."""

    fuel: int = 10_000_000_000
    memory: int = 128 * MIB
    wall_s: float = 10.0
    files: int = 16
    file_bytes: int = 16 * MIB

    def __post_init__(self) -> None:
        fits = 0 < self.fuel < 2**63 and 0 < self.memory <= MAX_MEMORY_BYTES
        fits = fits and 0 < self.wall_s <= MAX_WALL_S
        if not fits or not 0 <= self.files <= MAX_FILES or not 0 < self.file_bytes <= 256 * MIB:
            raise LocalProtocolError("a limit is out of its range", code="job-limits")


@dataclass(frozen=True, slots=True)
class Job:
    """`module`: WebAssembly, or Python source for `py-func`, whose function is `entry`.

    `args`: a command's arguments; a component gets the first one; a Python function all of them,
    each any JSON value. `inputs` appear read-only in /in; what the job writes into /out under the
    names of `outputs` comes back. `strict`: same job, same result and same fuel: clocks stand
    still, randomness comes from `seed` (32 bytes), sleeping is refused.
    """

    kind: Kind
    module: bytes
    entry: str = "run"
    args: Sequence[Any] = ()
    stdin: bytes = b""
    env: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, bytes] = field(default_factory=dict)
    outputs: Sequence[str] = ()
    limits: Limits = field(default_factory=Limits)
    strict: bool = False
    seed: bytes = bytes(32)

    def __post_init__(self) -> None:
        python = self.kind is Kind.PY_FUNC
        if len(self.module) > (MAX_SOURCE_BYTES if python else MAX_MODULE_BYTES):
            raise _refused("the module is too large")
        if not python and not self.module.startswith(_WASM):
            # Serialized native code, pickles, archives: refused by what they are not.
            raise _refused("the module is no WebAssembly")
        if python and not self.entry.isidentifier():
            raise _refused("the entry is no function name")
        if len(self.seed) != 32 or len(self.outputs) > self.limits.files:
            raise _refused("a seed of 32 bytes, and no more outputs than files are allowed")
        names = [*self.inputs, *self.outputs]
        if len(self.inputs) > MAX_FILES or not all(map(_FILE.fullmatch, names)):
            raise _refused("file names have 1-64 letters, digits, dots, lines; at most 64 files")

    def arguments(self) -> list[str]:
        """What the worker gets. Raises LocalProtocolError for what JSON cannot carry."""
        if self.kind is not Kind.PY_FUNC:
            return [str(each) for each in self.args]
        try:
            source, args = self.module.decode("utf-8"), json.dumps(list(self.args))
        except (UnicodeDecodeError, TypeError, ValueError) as exc:
            raise _refused("source is UTF-8, and arguments are JSON") from exc
        return [source, self.entry, args]


@dataclass(frozen=True, slots=True)
class Usage:
    """`resident`: the worker's memory at the end of the job, in bytes; an upper bound."""

    fuel: int = 0
    wall_s: float = 0.0
    resident: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """`value`: what a function returned (for Python: JSON). `stdout`, `stderr`: head and, where
    `dropped` bytes are missing in between, tail. Guest text is untrusted: escape it for display."""

    ending: Ending
    exit_code: int = 0
    value: str = ""
    message: str = ""
    stdout: bytes = b""
    stderr: bytes = b""
    dropped: int = 0
    outputs: Mapping[str, bytes] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    runtime: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether the job did what it was asked."""
        return self.ending is Ending.RESULT or (self.ending is Ending.EXIT and not self.exit_code)

    def json(self) -> Any:
        """What a Python function returned; None when it returned nothing.

        The job wrote the text itself, so it may be anything: raises RemoteProtocolError
        ("job-value") when it is no JSON or nests too deeply. Up to 1 MiB: some milliseconds.
        """
        try:
            return json.loads(self.value) if self.value else None
        except (ValueError, RecursionError) as exc:
            raise RemoteProtocolError("the job's value is no JSON", code="job-value") from exc


def _refused(what: str) -> LocalProtocolError:
    return LocalProtocolError(what, code="job")
