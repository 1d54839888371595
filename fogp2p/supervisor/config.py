"""When to restart, how long to wait, when to give up; each number with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["CANCEL_S", "LATE_S", "MAX_SERVICES", "MISSES", "SupervisorConfig"]

# A peer has about 15 parts; a program built on it adds some of its own.
MAX_SERVICES: Final = 100
# What a cancelled service may still need for its goodbyes (limits.SHUTDOWN_GRACE_S) before it is
# reported as one that ignores cancellation. Others go on without it then.
CANCEL_S: Final = 2.5
# Probes missed in a row that make a hang: one may be lost to a busy moment.
MISSES: Final = 2
# A probe's deadline that fires this late says that the whole process stood still, not the service.
LATE_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class SupervisorConfig:
    """Seconds and counts of the back-off, for all services of a tree.

    The first restart comes within `first_s`, at random, so that peers that fail together do not
    come back together; the next ones after `again_s`, twice that, ... up to `most_s`, each with up
    to half on top. A service that was ready for `steady_s` begins anew.

    More than `loop_failures` failures within `loop_window_s` are a crash loop: the service is
    given up, and tried again every `retry_s` if the peer can do without it. A group gets
    `group_restarts` fresh starts in the same window before it is given up itself.
    """

    first_s: float = 0.1  # at once, for a person
    again_s: float = 0.1  # two failures in a row are still no reason to be away for long
    most_s: float = 30.0  # somebody who mends the cause need not wait longer
    steady_s: float = 10.0  # what fails at once or at its first work has failed by then
    loop_failures: int = 8  # with their pauses 13-19 s: what was in the way is gone by then
    loop_window_s: float = 60.0
    retry_s: float = 300.0  # cheap enough for ever, and a full disk does get room
    group_restarts: int = 1
