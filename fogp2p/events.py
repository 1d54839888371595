"""Telling several listeners what happened, without ever waiting for a slow one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import trio

from .limits import EVENT_QUEUE

__all__ = ["EventHub", "Gap"]

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Gap:
    """`missed` events were dropped here because this listener lagged: look at the state afresh."""

    missed: int


class EventHub(Generic[E]):
    """Hands each published event to every listener, in order."""

    def __init__(self, *, queue: int = EVENT_QUEUE) -> None:
        self._queue = queue
        self._listeners: set[_Listener[E]] = set()

    def publish(self, event: E) -> None:
        """Queue `event` for all listeners. Never blocks; a full queue loses its oldest event."""
        for listener in self._listeners:
            listener.put(event)

    @contextmanager
    def listen(self, first: Iterable[E] = ()) -> Iterator[AsyncIterator[E | Gap]]:
        """Yield an endless iterator over `first` and then the events published from now on.

        Where events were lost, it yields one `Gap` with their number before the next event.
        """
        listener = _Listener[E](self._queue)
        for event in first:
            listener.put(event)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)


class _Listener(Generic[E]):
    def __init__(self, queue: int) -> None:
        self._send, self._receive = trio.open_memory_channel[E](queue)
        self._missed = 0

    def put(self, event: E) -> None:
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            self._receive.receive_nowait()
            self._missed += 1
            self._send.send_nowait(event)

    def __aiter__(self) -> _Listener[E]:
        return self

    async def __anext__(self) -> E | Gap:
        if self._missed:
            missed, self._missed = self._missed, 0
            return Gap(missed)
        return await self._receive.receive()
