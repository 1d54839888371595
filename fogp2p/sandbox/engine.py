"""The one configuration of wasmtime. Imported in workers and compilers only, never by a peer."""

from __future__ import annotations

from typing import Final

import wasmtime

from .config import WASMTIME

__all__ = ["CONFIG_TAG", "RUNTIME", "make_engine"]

# Changes with every setting below: compiled code fits one configuration only.
CONFIG_TAG: Final = "fog-1"
RUNTIME: Final = f"wasmtime-{WASMTIME}/{CONFIG_TAG}"


def make_engine(*, parallel: bool = False) -> wasmtime.Engine:
    """Metered, interruptible, deterministic: no threads, canonical NaNs, deterministic SIMD."""
    config = wasmtime.Config()
    config.consume_fuel = True
    config.epoch_interruption = True
    config.cranelift_nan_canonicalization = True
    config.wasm_component_model = True
    config.wasm_relaxed_simd_deterministic = True
    config.wasm_threads = False
    config.wasm_memory64 = False
    config.parallel_compilation = parallel
    return wasmtime.Engine(config)
