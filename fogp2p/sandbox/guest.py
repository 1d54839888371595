"""Runs one request in this process with wasmtime. Only workers import it."""

from __future__ import annotations

import hashlib
import math
import os
import resource
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import wasmtime
from wasmtime import component

from .config import MAX_VALUE_BYTES, TICK_S

__all__ = ["Machine", "Request"]

_WASI: Final = "wasi_snapshot_preview1"
# 2024-01-01: a date that certificates and calendars accept.
STRICT_EPOCH_S: Final = 1_704_067_200
_REFUSED_ERRNO: Final = 58  # ENOTSUP of WASI
_I32, _I64 = wasmtime.ValType.i32, wasmtime.ValType.i64
# Components raise their traps without a code, so that the text has to tell; the first that fits.
_ENDINGS: Final = (
    ("all fuel consumed", "fuel"),
    ("wasm trap: interrupt", "wall"),
    ("wasm trap: ", "trap"),
    ("exceeds memory limits", "memory"),
    ("memory minimum size", "memory"),
)


@dataclass(frozen=True, slots=True)
class Request:
    """As `request` in specs/sandbox/v1.cddl."""

    kind: str
    artefact: str
    scratch: Path
    args: list[str]
    env: dict[str, str]
    fuel: int
    memory: int
    wall_ms: int
    strict: bool
    seed: bytes

    @classmethod
    def of(cls, fields: dict[int, Any]) -> Request:
        """From the decoded message."""
        return cls(fields[1], fields[2], Path(fields[3]), *(fields[n] for n in range(4, 11)))


class Machine:
    """Compiled code that was used before stays loaded."""

    def __init__(self, engine: wasmtime.Engine) -> None:
        self._engine = engine
        self._modules: dict[str, Any] = {}
        # Opened before the walls: afterwards there is no /proc.
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        # Defining WASI costs as much as a small job: what is the same for all is made once.
        self._linker = self._make_linker()
        self._component_linker = self._make_component_linker()

    def _make_linker(self) -> wasmtime.Linker:
        linker = wasmtime.Linker(self._engine)
        linker.allow_shadowing = True
        linker.define_wasi()
        return linker

    def _make_component_linker(self) -> component.Linker:
        linker = component.Linker(self._engine)
        linker.allow_shadowing = True
        linker.add_wasip2()
        return linker

    def run(self, request: Request) -> dict[int, Any]:
        """Returns an `outcome` of specs/sandbox/v1.cddl."""
        start = time.perf_counter()
        store = wasmtime.Store(self._engine)
        try:
            store.set_fuel(request.fuel)
            # The tick that is under way may be nearly over: nobody has less time than it was given.
            store.set_epoch_deadline(math.ceil(request.wall_ms / 1000 / TICK_S) + 1)
            store.set_limits(
                memory_size=request.memory,
                table_elements=100_000,
                instances=64,
                tables=64,
                memories=8,
            )
            store.set_wasi(_wasi(request))
            ending, code, value, message = self._attempt(store, request)
            fuel = request.fuel - store.get_fuel()
            # While the guest's memory is still there. (The kernel's peak counts what we were before
            # the program was started, too.)
            resident = self._resident()
        finally:
            store.close()
        elapsed = int((time.perf_counter() - start) * 1e6)
        # Guest text is cut as bytes, for the frame, and made valid again.
        return {
            1: ending,
            2: code,
            3: fuel,
            4: elapsed,
            5: resident,
            6: value,
            7: message.encode()[-4_000:].decode("utf-8", "ignore"),
        }

    def _resident(self) -> int:
        return int(os.pread(self._statm, 100, 0).split()[1]) * resource.getpagesize()

    def _attempt(self, store: wasmtime.Store, request: Request) -> tuple[str, int, str, str]:
        try:
            if request.kind == "wasi-command":
                self._command(store, request)
                return "exit", 0, "", ""
            return self._function(store, request)
        except wasmtime.ExitTrap as exc:
            return "exit", int(exc.code), "", ""
        except (wasmtime.Trap, wasmtime.WasmtimeError) as exc:
            return _ending(str(exc)), 0, "", str(exc)

    def _load(self, request: Request, kind: Any) -> Any:
        if request.artefact not in self._modules:
            loaded = kind.deserialize_file(self._engine, request.artefact)
            if len(self._modules) >= 16:
                self._modules.pop(next(iter(self._modules)))
            self._modules[request.artefact] = loaded
        return self._modules[request.artefact]

    def _command(self, store: wasmtime.Store, request: Request) -> None:
        module = self._load(request, wasmtime.Module)
        linker = self._linker
        if request.strict:
            linker = self._make_linker()
            _stand_still(linker, request.seed)
        start = linker.instantiate(store, module).exports(store).get("_start")
        if not isinstance(start, wasmtime.Func):
            raise wasmtime.WasmtimeError("the module exports no _start")
        start(store)

    def _function(self, store: wasmtime.Store, request: Request) -> tuple[str, int, str, str]:
        linker = self._component_linker
        loaded = self._load(request, component.Component)
        if request.strict:
            linker = self._make_component_linker()
            _stand_still_component(linker, loaded, self._engine, request.seed)
        run = linker.instantiate(store, loaded).get_func(store, "run")
        if run is None:
            raise wasmtime.WasmtimeError("the component exports no function run")
        found = run(store, *request.args)
        text = str(found.payload)
        if len(text.encode("utf-8", "replace")) > MAX_VALUE_BYTES:
            return "raised", 1, "", "the value is larger than 1 MiB"
        return ("result", 0, text, "") if found.tag == "ok" else ("raised", 1, "", text)


def _wasi(request: Request) -> wasmtime.WasiConfig:
    scratch = request.scratch
    wasi = wasmtime.WasiConfig()
    if request.kind == "wasi-command":
        wasi.argv = ["job", *request.args]
    wasi.env = list(request.env.items())
    stdin = scratch / "stdin"
    if stdin.stat().st_size:
        wasi.stdin_file = str(stdin)
    wasi.stdout_file = str(scratch / "stdout")
    wasi.stderr_file = str(scratch / "stderr")
    if (scratch / "in").is_dir():
        wasi.preopen_dir(str(scratch / "in"), "/in", False)
    if (scratch / "out").is_dir():
        wasi.preopen_dir(str(scratch / "out"), "/out", True)
    return wasi


class _Seeded:
    """An endless stream of bytes from a seed."""

    def __init__(self, seed: bytes) -> None:
        self._seed, self._count = seed, 0

    def take(self, count: int) -> bytes:
        self._count += 1
        return hashlib.shake_256(self._seed + self._count.to_bytes(8)).digest(count)


def _ending(message: str) -> str:
    """What is none of these was never started: a missing import, another world, no such export."""
    return next((ending for text, ending in _ENDINGS if text in message), "refused")


def _memory(caller: wasmtime.Caller) -> wasmtime.Memory:
    memory = caller["memory"]
    if not isinstance(memory, wasmtime.Memory):
        raise wasmtime.WasmtimeError("the module exports no memory")
    return memory


def _stand_still(linker: wasmtime.Linker, seed: bytes) -> None:
    """Seeded randomness, a clock that advances a microsecond a look, and no sleeping."""
    source, looks = _Seeded(seed), 0

    def random_get(caller: wasmtime.Caller, pointer: int, length: int) -> int:
        memory = _memory(caller)
        size = memory.data_len(caller)
        start, count = pointer & 0xFFFFFFFF, length & 0xFFFFFFFF
        if start + count > size:
            return 21  # EFAULT
        memory.write(caller, source.take(count), start)
        return 0

    def clock_time_get(caller: wasmtime.Caller, clock: int, _: int, pointer: int) -> int:
        nonlocal looks
        looks += 1
        now = (STRICT_EPOCH_S * 1_000_000_000 if clock == 0 else 0) + looks * 1_000
        memory, start = _memory(caller), pointer & 0xFFFFFFFF
        if start + 8 > memory.data_len(caller):
            return 21
        memory.write(caller, struct.pack("<Q", now), start)
        return 0

    def poll_oneoff(*_: Any) -> int:
        return _REFUSED_ERRNO

    i32, i64 = _I32(), _I64()
    for name, parameters, function in (
        ("random_get", [i32, i32], random_get),
        ("clock_time_get", [i32, i64, i32], clock_time_get),
    ):
        kind = wasmtime.FuncType(parameters, [i32])
        linker.define_func(_WASI, name, kind, function, access_caller=True)
    kind = wasmtime.FuncType([i32] * 4, [i32])
    linker.define_func(_WASI, "poll_oneoff", kind, poll_oneoff)


def _stand_still_component(
    linker: component.Linker, loaded: Any, engine: wasmtime.Engine, seed: bytes
) -> None:
    """As above for WASI 0.2. The monotonic clock hands out host resources and cannot be replaced
    alone; the Python runner replaces time.monotonic itself."""
    source = _Seeded(seed)
    imports = list(loaded.type.imports(engine))

    def now(_: Any) -> Any:
        moment = component.Record()
        vars(moment).update(seconds=STRICT_EPOCH_S, nanoseconds=0)
        return moment

    functions: dict[str, dict[str, Any]] = {
        "wasi:random/random": {
            "get-random-bytes": lambda _, count: source.take(int(count)),
            "get-random-u64": lambda _: int.from_bytes(source.take(8), "little"),
        },
        "wasi:random/insecure-seed": {"insecure-seed": lambda _: (1, 2)},
        "wasi:clocks/wall-clock": {"now": now, "resolution": now},
    }
    with linker.root() as root:
        for name in imports:
            for function, body in functions.get(name.partition("@")[0], {}).items():
                with root.add_instance(name) as instance:
                    instance.add_func(function, body)
