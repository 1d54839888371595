"""The numbers of our own messages: they rise over restarts, also when the clock was set back.

Readers that remember an author's numbers drop lower ones (GOS-007). The file says below which
number all may have been used; it is written once, at the start, ahead of what one life can use.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from fogp2p.environment import Disk, DiskError, Environment
from fogp2p.killpoints import killpoint

__all__ = ["first_number"]

_LOG = logging.getLogger(__name__)
# Messages of one life: three years of a thousand a second. As time it is 100 s, by which the
# numbers run ahead of the clock with each start.
RESERVED: Final = 10**11
_MAX_FILE_BYTES: Final = 32
_MAX_NUMBER: Final = 2**63


async def first_number(path: Path | None, environment: Environment) -> int:
    """A number above all that were used before: nanoseconds since 1970, or more.

    Without a path, and when the disk refuses, it goes by the clock alone; the latter is logged.
    """
    clock = int(environment.clock.wall() * 1_000_000_000)
    if path is None:
        return clock
    try:
        return await environment.executor.in_thread(_reserve, environment.disk, path, clock)
    except DiskError as exc:
        _LOG.warning("gossip_numbers_not_kept reason=%s", exc)
        return clock


def _reserve(disk: Disk, path: Path, clock: int) -> int:
    data = disk.read(path, max_bytes=_MAX_FILE_BYTES) or b""
    is_sound = data.isdigit() and int(data) < _MAX_NUMBER
    if data and not is_sound:
        _LOG.warning("gossip_numbers_damaged path=%s", path)
    first = max(clock, int(data)) if is_sound else clock
    killpoint("gossip.reserve.before")
    disk.replace(path, b"%d" % (first + RESERVED))
    killpoint("gossip.reserve.after")
    return first
