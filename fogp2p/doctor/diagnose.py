"""Runs the checks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from fogp2p.config import load_config
from fogp2p.environment import real_environment
from fogp2p.errors import FogError
from fogp2p.paths import Paths

from .checks import clock, files, install, machine, network, peer
from .context import Context, PeerView
from .findings import Diagnosis, Finding, Severity
from .system import System, real_system

__all__ = ["CHECKS", "diagnose", "look"]

_WORST_FIRST: Final = (Severity.FAIL, Severity.WARN, Severity.OK)

CHECKS: Final[Mapping[str, Callable[[Context], Iterable[Finding]]]] = {
    "python": install.python,
    "packages": install.packages,
    "sandbox": install.sandbox,
    "config": files.config,
    "keys": files.keys,
    "directories": files.directories,
    "disk": files.disk,
    "log": files.log,
    "clock": clock.clock,
    "limits": machine.limits,
    "ports": network.ports,
    "multicast": network.multicast,
    "bluetooth": machine.bluetooth,
    "peer": peer.process,
    "services": peer.services,
}


def look(
    paths: Paths,
    *,
    peer: PeerView | None,
    system: System | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Sequence[str] = (),
) -> Context:
    """Everything the checks need. A wrong configuration is a finding, not an error."""
    loaded, wrong = None, None
    try:
        loaded = load_config(
            paths.config,
            disk=real_environment().disk,
            environ=os.environ if environ is None else environ,
            flags=flags,
        )
    except FogError as exc:
        wrong = exc
    return Context(system or real_system(), paths, loaded, wrong, peer)


def diagnose(context: Context, *, only: Sequence[str] = ()) -> Diagnosis:
    """Run all checks, or those named in `only`. Blocks for some seconds: call it off the loop.

    Changes nothing and asks nobody: its only packets are multicast to the local link, which come
    back to itself.
    """
    found = tuple(_findings(context, only or tuple(CHECKS)))
    severities = {finding.severity for finding in found}
    verdict = next((each for each in _WORST_FIRST if each in severities), Severity.OK)
    return Diagnosis(verdict, "down" if context.peer is None else "running", found)


def _findings(context: Context, names: Sequence[str]) -> Iterator[Finding]:
    for name in names:
        yield from CHECKS[name](context)
