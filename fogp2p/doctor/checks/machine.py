"""What the machine allows: open files, Bluetooth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fogp2p.doctor.context import Context
from fogp2p.doctor.findings import Finding, fault, fine
from fogp2p.limits import INBOUND_CONNECTIONS, INBOUND_HANDSHAKES, OUTBOUND_CONNECTIONS

__all__ = ["bluetooth", "limits"]

# Beside connections: listeners, mDNS sockets, API clients, database, workers' pipes, modules.
_OTHER_FILES: Final = 256


def limits(context: Context) -> Iterator[Finding]:
    """Whether every connection that the configuration allows gets a file handle."""
    inbound = INBOUND_CONNECTIONS
    if context.config is not None:
        inbound = context.config.config.network.max_inbound
    needed = inbound + INBOUND_HANDSHAKES + OUTBOUND_CONNECTIONS + _OTHER_FILES
    soft, hard = context.system.file_limit()
    if soft < 0 or soft >= needed:
        yield fine("limits", f"{'unlimited' if soft < 0 else soft} open files, {needed} needed")
        return
    can = hard < 0 or hard >= needed
    yield fault(
        "limits",
        "FOG-DOC-060",
        f"only {soft} open files are allowed, {needed} may be needed",
        evidence=f"RLIMIT_NOFILE is {soft} (hard limit {hard})",
        affects="under load: connections are refused",
        hint=(
            f"ulimit -n {needed}  in the shell that starts it; systemd: LimitNOFILE={needed}"
            if can
            else f"fogp2p config set network.max_inbound {max(1, inbound - (needed - soft))}"
        ),
    )


def bluetooth(context: Context) -> Iterator[Finding]:
    """Adapters, and switches that block them."""
    root = context.system.sys / "class" / "bluetooth"
    adapters = _children(root)
    if not adapters:
        yield fine(
            "bluetooth",
            "no adapter",
            evidence=f"{root} is empty or absent; no part of this release uses Bluetooth yet",
        )
        return
    for adapter in adapters:
        blocked = _blocked(adapter)
        if not blocked:
            yield fine(
                "bluetooth",
                f"{adapter.name} is there and not blocked",
                evidence="no part of this release uses Bluetooth yet",
                place=adapter.name,
            )
            continue
        yield fault(
            "bluetooth",
            "FOG-DOC-080",
            f"the adapter {adapter.name} is blocked by {blocked}",
            evidence=f"rfkill of {adapter.name}",
            affects="Bluetooth; no part of this release uses it yet",
            hint=(
                "rfkill unblock bluetooth"
                if blocked == "software"
                else "turn on the machine's radio switch or leave flight mode"
            ),
            place=adapter.name,
        )


def _children(path: Path) -> list[Path]:
    try:
        return sorted(path.iterdir())
    except OSError:
        return []


def _blocked(adapter: Path) -> str:
    for switch in _children(adapter):
        if switch.name.startswith("rfkill"):
            if _flag(switch / "hard"):
                return "a hardware switch"
            if _flag(switch / "soft"):
                return "software"
    return ""


def _flag(path: Path) -> bool:
    try:
        return path.read_text("ascii").strip() == "1"
    except (OSError, UnicodeDecodeError):
        return False
