"""What a guest says: read all the time, kept in part."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from pathlib import Path

import trio

from .config import LOG_HEAD_BYTES, LOG_RING_BYTES, MAX_LOG_BYTES

__all__ = ["Log"]

_READ = 65_536


class Log:
    """The reading end of a FIFO. Keeps the first 64 KiB and the last 256 KiB of each job."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path, 0o600)
        # Opened for writing as well: else it would read as ended between two jobs.
        self._handle = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self.reset()

    def reset(self) -> None:
        """Another job begins."""
        self._head = bytearray()
        self._ring: deque[bytes] = deque()
        self._in_ring = 0
        self.total = 0

    async def follow(self, too_much: Callable[[], None]) -> None:
        """Read until cancelled; call `too_much` when a job says more than 64 MiB."""
        while True:
            await trio.lowlevel.wait_readable(self._handle)
            self._read()
            if self.is_flooded:
                too_much()
                return

    def drain(self) -> None:
        """Take what is left, without waiting."""
        while not self.is_flooded and self._read():
            pass

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._handle)

    @property
    def is_flooded(self) -> bool:
        """Whether it was too much."""
        return self.total > MAX_LOG_BYTES

    @property
    def text(self) -> bytes:
        """Head and tail."""
        return bytes(self._head) + b"".join(self._ring)

    @property
    def dropped(self) -> int:
        """Bytes missing between head and tail."""
        return self.total - len(self._head) - self._in_ring

    def _read(self) -> bool:
        try:
            data = os.read(self._handle, _READ)
        except BlockingIOError:
            return False
        self.total += len(data)
        room = max(0, LOG_HEAD_BYTES - len(self._head))
        self._head += data[:room]
        if len(data) > room:
            self._ring.append(data[room:])
            self._in_ring += len(data) - room
            while self._in_ring - len(self._ring[0]) >= LOG_RING_BYTES:
                self._in_ring -= len(self._ring.popleft())
        return True
