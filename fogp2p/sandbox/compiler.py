"""Compiles one module in a process of its own: `python -I -m fogp2p.sandbox.compiler ...`.

Arguments: module or component, source, target, CPU seconds, bytes of memory. Exit status 0: done;
3: no valid module, with the reason on stdout; anything else: a limit.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import wasmtime
from wasmtime import component

from .config import MAX_ARTEFACT_BYTES
from .engine import make_engine
from .walls import end_with_parent, raise_walls

_INVALID = 3


def main() -> int:
    kind, source, target, cpu, memory = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_CPU, (int(cpu), int(cpu)))
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    raise_walls(
        readable=[Path(source)],
        writable=[Path(target).parent],
        data_bytes=int(memory),
        file_bytes=MAX_ARTEFACT_BYTES,
    )
    end_with_parent()
    code = Path(source).read_bytes()
    # The runner is large and known: it may use all cores.
    engine = make_engine(parallel=kind == "component")
    try:
        if kind == "module":
            artefact = wasmtime.Module(engine, code).serialize()
        else:
            artefact = component.Component(engine, code).serialize()
    except wasmtime.WasmtimeError as exc:
        sys.stdout.write(str(exc)[:1_000])
        return _INVALID
    Path(target).write_bytes(artefact)
    return 0


if __name__ == "__main__":
    sys.exit(main())
