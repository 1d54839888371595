"""Untrusted WebAssembly and Python, in worker processes that can be killed. Knows no network.

    async with open_sandbox(SandboxConfig(cache), real_environment()) as box:
        result = await box.run(Job(Kind.PY_FUNC, b"def f(x): return x * 2", "f", [21]))

Names are imported when they are used: a worker starts in this package and needs none of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .config import SandboxConfig
    from .job import Ending, Job, Kind, Limits, Result, SandboxUnavailable, Usage
    from .sandbox import Sandbox, open_sandbox

__all__ = [
    "Ending",
    "Job",
    "Kind",
    "Limits",
    "Result",
    "Sandbox",
    "SandboxConfig",
    "SandboxUnavailable",
    "Usage",
    "open_sandbox",
]

_ROOMS: Final = {"SandboxConfig": "config", "Sandbox": "sandbox", "open_sandbox": "sandbox"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_ROOMS.get(name, 'job')}", __name__), name)
