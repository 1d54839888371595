"""Keeps the book on disk, and the time that counts.

Spec: specs/invite/invite-v1.md sections 8 and 10.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import trio

from fogp2p.environment import Clock, DiskError, Environment
from fogp2p.errors import RemoteProtocolError
from fogp2p.killpoints import killpoint

from .book import Book, decode_book
from .config import MAX_FILE_BYTES

__all__ = ["Dates", "Store"]

_MODE: Final = 0o600


class Dates:
    """Milliseconds since 1970 that never go back: not with the wall clock, not over a restart."""

    def __init__(self, clock: Clock, latest_ms: int = 0) -> None:
        self._clock = clock
        self._latest = latest_ms
        self._at = clock.monotonic()

    def now_ms(self) -> int:
        """The wall clock, or what has passed since the latest time seen, whichever is later."""
        monotonic = self._clock.monotonic()
        passed = int((monotonic - self._at) * 1000)
        wall = int(self._clock.wall() * 1000)
        if wall > self._latest + passed:
            self._latest, self._at = wall, monotonic
            return wall
        return self._latest + passed


class Store:
    """One book and its file. `save` returns when the book is on the disk, whole."""

    def __init__(self, path: Path, environment: Environment) -> None:
        self.book = Book()
        self.dates = Dates(environment.clock)
        self.problem = ""
        """Why the file is not as it should be, for people."""
        self._path = path
        self._environment = environment
        self._lock = trio.Lock()

    async def load(self) -> None:
        """Read the file if there is one. A damaged one is set aside as `<name>.damaged`.

        Raises DiskError when it cannot be read: going on would write over it.
        """
        disk, executor = self._environment.disk, self._environment.executor
        data = await executor.in_thread(self._read)
        if data is None:
            return
        try:
            self.book = decode_book(data)
        except RemoteProtocolError as exc:
            self.problem = f"{self._path} was damaged and set aside: {exc}"
            aside = self._path.with_name(f"{self._path.name}.damaged")
            await executor.in_thread(disk.replace, aside, data)
            killpoint("invites.aside.kept")
            await executor.in_thread(disk.remove, self._path)
            killpoint("invites.aside.removed")
        self.dates = Dates(self._environment.clock, self.book.latest_ms)

    def _read(self) -> bytes | None:
        return self._environment.disk.read(self._path, max_bytes=MAX_FILE_BYTES)

    async def save(self) -> None:
        """Write the book as it is now. Raises DiskError; the book in memory is kept as it is."""
        # A write that was begun is never abandoned: a later one would race with it, and win or
        # lose by chance. The disk bounds the wait.
        with trio.CancelScope(shield=True):
            async with self._lock:
                self.book.latest_ms = self.dates.now_ms()
                await self._environment.executor.in_thread(self._write, self.book.encode())

    def _write(self, data: bytes) -> None:
        killpoint("invites.save.before")
        try:
            self._environment.disk.replace(self._path, data, mode=_MODE)
        except DiskError as exc:
            self.problem = str(exc)
            raise
