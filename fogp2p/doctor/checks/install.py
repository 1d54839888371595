"""Python, packages, and the sandbox."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import requires
from typing import Final

from fogp2p.doctor.context import Context
from fogp2p.doctor.findings import Finding, fault, fine
from fogp2p.sandbox.config import WASMTIME

__all__ = ["packages", "python", "sandbox"]

# As in pyproject.toml: tests run on these.
_OLDEST, _NEWEST = (3, 11), (3, 13)
_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+)\s*([^;]*)(;.*)?")
_BOUND: Final = re.compile(r"(==|>=|<|!=|<=|>)\s*([0-9][0-9.]*)")


def python(context: Context) -> Iterator[Finding]:
    """The interpreter."""
    major, minor = found = context.system.python
    shown = f"Python {major}.{minor}"
    if _OLDEST <= found <= _NEWEST:
        yield fine("python", f"{shown} is supported")
        return
    yield fault(
        "python",
        "FOG-DOC-001",
        f"{shown} is not supported",
        evidence="supported are 3.11, 3.12 and 3.13",
        affects="everything: nothing was tested with it",
        hint="uv tool install --python 3.13 fogp2p",
    )


def packages(context: Context) -> Iterator[Finding]:
    """What fogp2p needs, in the versions it needs."""
    wrong = 0
    needed = requires("fogp2p") or []
    for line in needed:
        found = _REQUIREMENT.fullmatch(line)
        if found is None or (found[3] and "extra" in found[3]):
            continue
        name, bounds = found[1], found[2].strip()
        installed = context.system.version(name)
        if installed is None:
            wrong += 1
            yield fault(
                "packages",
                "FOG-DOC-003",
                f"{name} is missing",
                evidence=f"fogp2p needs {name}{bounds}",
                affects="whatever imports it",
                hint=f"pip install '{name}{bounds}'",
                place=name,
            )
        elif not _fits(installed, bounds):
            wrong += 1
            yield fault(
                "packages",
                "FOG-DOC-002",
                f"{name} has version {installed}, {bounds} is needed",
                evidence=f"installed: {name} {installed}",
                affects=_AFFECTED.get(name, "whatever uses it: it was not tested so"),
                hint=f"pip install '{name}{bounds}'",
                place=name,
            )
    if not wrong:
        yield fine("packages", f"{len(needed)} requirements are met, libp2p exactly as pinned")


_AFFECTED: Final = {
    "libp2p": "all connections: the adapter relies on measured behaviour of one release",
}


def _fits(installed: str, bounds: str) -> bool:
    have = _numbers(installed)
    return all(_holds(have, sign, _numbers(text)) for sign, text in _BOUND.findall(bounds))


def _numbers(text: str) -> tuple[int, ...]:
    # "2.1.0rc1" counts as 2.1.0: what follows the digits decides nothing here.
    parts = re.match(r"[0-9]+(?:\.[0-9]+)*", text)
    numbers = [int(part) for part in (parts[0] if parts else "0").split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _holds(have: tuple[int, ...], sign: str, want: tuple[int, ...]) -> bool:
    return {
        "==": have == want,
        "!=": have != want,
        ">=": have >= want,
        "<=": have <= want,
        ">": have > want,
        "<": have < want,
    }[sign]


def sandbox(context: Context) -> Iterator[Finding]:
    """Running jobs for others: an extra that may be absent."""
    installed = context.system.version("wasmtime")
    if installed is None:
        yield fine(
            "sandbox",
            "not installed: this peer runs no jobs for others",
            evidence="to add it: pip install 'fogp2p[compute]'",
        )
        return
    if installed != WASMTIME:
        yield fault(
            "sandbox",
            "FOG-DOC-004",
            f"wasmtime has version {installed}, {WASMTIME} was measured",
            affects="jobs: the sandbox refuses to start",
            hint=f"pip install 'wasmtime=={WASMTIME}'",
            place="wasmtime",
        )
        return
    walls = context.system.walls()
    down = {name: why for name, why in walls.items() if why}
    if not down:
        yield fine("sandbox", f"wasmtime {installed}, all {len(walls)} walls stand")
    for name, why in sorted(down.items()):
        yield fault(
            "sandbox",
            "FOG-DOC-005",
            f"the wall {name} does not stand",
            evidence=why,
            affects="jobs of strangers: one wall less behind wasmtime",
            hint="fogp2p sandbox walls  (a newer kernel, or a container that allows it, has them)",
            place=name,
        )
