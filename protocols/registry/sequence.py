"""The numbers of our own descriptors: never used twice, not even after a crash.

The file says below which number all may have been used. It is written before the first number above
it is used, some ahead, so that a renewal seldom writes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import trio

from fogp2p.codec import Schema, decode, encode
from fogp2p.environment import DiskError, Environment
from fogp2p.errors import RemoteProtocolError
from fogp2p.killpoints import killpoint

from .config import MAX_FILE_BYTES, MAX_SEQUENCE, RESERVED

__all__ = ["OwnSequence"]

_FIRST: Final = 1


class OwnSequence:
    """Without a path the numbers last as long as the object."""

    def __init__(self, path: Path | None, environment: Environment) -> None:
        self._path = path
        self._environment = environment
        self._lock = trio.Lock()
        self._next = _FIRST
        self._reserved = _FIRST
        self._is_read = path is None
        self._damage = ""
        self._refusal = ""

    @property
    def problem(self) -> str:
        """What is wrong with the file, for people; empty when all is well."""
        return "; ".join(text for text in (self._damage, self._refusal) if text)

    @property
    def next(self) -> int:
        """Every number from here on is unused, as far as we know."""
        return self._next

    async def _read(self, path: Path) -> None:
        """A damaged file is set aside; peers that remember higher numbers tell us (REG-021)."""
        in_thread, disk = self._environment.executor.in_thread, self._environment.disk
        data = await in_thread(lambda: disk.read(path, max_bytes=MAX_FILE_BYTES))
        if data is None:
            return
        try:
            value = decode(data, schema=_schema(), max_bytes=MAX_FILE_BYTES)
        except RemoteProtocolError as exc:
            self._damage = f"{path} was damaged and set aside: {exc}"
            await in_thread(disk.replace, path.with_name(f"{path.name}.damaged"), data)
            killpoint("registry.aside.kept")
            await in_thread(disk.remove, path)
            killpoint("registry.aside.removed")
            return
        self._next = self._reserved = value[2]

    async def take(self, *, above: int = 0) -> int:
        """A number greater than every one before and than `above`, safely on disk as used.

        Raises DiskError, and then no number is used.
        """
        async with self._lock:
            if self._path is not None and not self._is_read:
                await self._load(self._path)
            number = max(self._next, above + 1)
            if number >= self._reserved:
                await self._reserve(min(number + RESERVED, MAX_SEQUENCE))
            self._next = number + 1
            killpoint("registry.taken")
            return number

    async def _load(self, path: Path) -> None:
        try:
            await self._read(path)
        except DiskError as exc:
            # One number too low would look like an old copy of us: none is used for now.
            self._refusal = str(exc)
            raise
        self._is_read = True

    async def _reserve(self, below: int) -> None:
        if self._path is not None:
            data = encode({1: 1, 2: below})
            killpoint("registry.reserve.before")
            try:
                await self._environment.executor.in_thread(
                    self._environment.disk.replace, self._path, data
                )
            except DiskError as exc:
                self._refusal = str(exc)
                raise
            self._refusal = ""
            killpoint("registry.reserve.after")
        self._reserved = below


def _schema() -> Schema:
    return Schema.load("registry/v1.cddl", "reservation")
