"""The clock, without asking another one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from fogp2p.doctor.context import Context
from fogp2p.doctor.findings import Finding, fault, fine

__all__ = ["clock"]

# This program did not exist before 2026, and nobody runs it after 2100.
_EARLIEST: Final = 1_767_225_600.0
_LATEST: Final = 4_102_444_800.0
# Another machine may have written the file over a network disk; clocks differ by seconds there.
_FUTURE_S: Final = 120.0
# Two readings that belong together are taken milliseconds apart; a second of drift is none.
_JUMP_S: Final = 5.0
_NOT_KNOWABLE: Final = (
    "how far it is off nobody can tell without another clock, and the doctor asks none"
)


def clock(context: Context) -> Iterator[Finding]:
    """Impossible dates, files from the future, and jumps while the peer ran."""
    now = context.system.wall()
    shown = _date(now)
    wrong = False
    if not _EARLIEST <= now <= _LATEST:
        wrong = True
        yield fault(
            "clock",
            "FOG-DOC-040",
            "the clock shows an impossible date",
            evidence=f"it is {shown} here",
            affects="others refuse our messages, and we refuse theirs as expired",
            hint="timedatectl set-ntp true  (or: date -s 'YYYY-MM-DD hh:mm' as root)",
        )
    for path in context.files():
        info = context.system.stat(path)
        if info is not None and info.st_mtime > now + _FUTURE_S:
            wrong = True
            yield fault(
                "clock",
                "FOG-DOC-041",
                "a file is from the future: the clock went back, or was ahead",
                evidence=f"{path} was written at {_date(info.st_mtime)}, it is {shown} here",
                affects="what was stored then counts as fresh for too long",
                hint="timedatectl  shows whether the clock is set; once it is: touch the file",
                place=str(path),
            )
    jump = _jump(context, now)
    if abs(jump) > _JUMP_S:
        wrong = True
        ahead = "forward" if jump > 0 else "back"
        yield fault(
            "clock",
            "FOG-DOC-042",
            "the clock was set while the peer ran",
            evidence=f"{abs(jump):.0f} s {ahead} since its start",
            affects="dates in what the peer signed before are off by as much",
            hint="fogp2p down; fogp2p up -d  once the clock is right",
        )
    if not wrong:
        yield fine("clock", f"nothing speaks against {shown}", evidence=_NOT_KNOWABLE)


def _jump(context: Context, now: float) -> float:
    """Seconds the wall clock moved more than the peer's own clock, which does not run in sleep."""
    if context.peer is None:
        return 0.0
    status = context.peer.status
    jump: float = now - (status["started_at"] + status["uptime_s"])
    # Asleep since then, or before the peer's start: only what sleep cannot explain counts.
    return jump if jump < 0 else max(0.0, jump - context.system.asleep())


def _date(seconds: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return f"{seconds:g} s after 1970"
