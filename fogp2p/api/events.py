"""Events for programs: one envelope, over Server-Sent Events and over WebSocket.

A reader remembers the last number it saw and asks for what came `since`. Whoever is slower than the
ring is told the gap; nobody is waited for, and nothing is queued for anybody.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import trio
from starlette.types import Receive, Scope, Send

from fogp2p.environment import Clock
from fogp2p.eventlog import Entry, EventLog, Missed
from fogp2p.schema import about

from .config import BEHIND_S, EVENTS_PER_WRITE, HEARTBEAT_S, MAX_SUBSCRIBERS
from .errors import Overloaded

__all__ = ["Event", "EventStream", "Feed", "Subscribers", "TooSlow", "envelope"]


@dataclass(frozen=True, slots=True)
class Event:
    """The envelope. `gap` is a type like the others: look at the state afresh."""

    id: int = field(metadata=about("Rises by one; numbers begin at 1 with the process.", minimum=0))
    at: str = field(metadata=about("RFC 3339, UTC.", format="date-time"))
    type: str = field(
        metadata=about('Noun and past participle, such as "peer.connected"; or "gap".')
    )
    v: int = field(metadata=about("Version of `data` for this type."))
    data: dict[str, Any] = field(metadata=about('For "gap": `first` and `last` missing number.'))


class TooSlow(Exception):
    """The reader missed events again and never caught up meanwhile."""


def envelope(found: Entry | Missed, clock: Clock) -> dict[str, Any]:
    """An event as JSON carries it. A gap has the number of the last event that is missing."""
    if isinstance(found, Missed):
        data = {"first": found.first, "last": found.last}
        return {"id": found.last, "at": _date(clock.wall()), "type": "gap", "v": 1, "data": data}
    return {
        "id": found.id,
        "at": _date(found.at),
        "type": found.type,
        "v": 1,
        "data": dict(found.data),
    }


def _date(seconds: float) -> str:
    shown = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return shown.replace("+00:00", "Z")


class Subscribers:
    """How many streams are open."""

    def __init__(self) -> None:
        self.count = 0

    @property
    def full(self) -> bool:
        """Whether another stream would be one too many."""
        return self.count >= MAX_SUBSCRIBERS

    def too_many(self) -> Overloaded:
        """What it is told."""
        return Overloaded(
            f"{MAX_SUBSCRIBERS} programs follow events already",
            hint="close one; several pages can share one stream",
        )

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Count a stream while it lasts. Raises Overloaded past the bound."""
        if self.full:
            raise self.too_many()
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1


class Feed:
    """What one reader gets: the wanted types after `since`, some at a time."""

    def __init__(
        self, log: EventLog, clock: Clock, since: int | None, types: Sequence[str]
    ) -> None:
        self.last = log.last if since is None else since
        self._log = log
        self._clock = clock
        self._types = tuple(types)
        self._follower = log.follow(self.last)
        self._caught_up = clock.monotonic()
        self._missed = False

    async def next(self) -> list[dict[str, Any]]:
        """Some events, at least one number later. Raises TooSlow."""
        found: list[dict[str, Any]] = []
        await trio.lowlevel.checkpoint()
        while True:
            item = await self._follower.__anext__()
            if isinstance(item, Missed):
                self._missed_some()
            self.last = item.last if isinstance(item, Missed) else item.id
            if isinstance(item, Missed) or self._wants(item.type):
                found.append(envelope(item, self._clock))
            if self.last == self._log.last:
                self._caught_up = self._clock.monotonic()
                return found
            if len(found) >= EVENTS_PER_WRITE:
                return found

    def _wants(self, type: str) -> bool:
        return not self._types or type.startswith(self._types)

    def _missed_some(self) -> None:
        # The first gap may only mean that it comes from far back.
        if self._missed and self._clock.monotonic() - self._caught_up > BEHIND_S:
            raise TooSlow
        self._missed = True


class EventStream:
    """A response that goes on: `text/event-stream` for curl and EventSource."""

    def __init__(self, feed: Feed, subscribers: Subscribers, stopping: trio.Event) -> None:
        self._feed = feed
        self._subscribers = subscribers
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._subscribers.one_more():
            headers = [
                (b"content-type", b"text/event-stream; charset=utf-8"),
                (b"x-accel-buffering", b"no"),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
                nursery.start_soon(_until, self._stopping, nursery.cancel_scope)
                nursery.start_soon(self._send_all, send, nursery.cancel_scope)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_all(self, send: Send, scope: trio.CancelScope) -> None:
        # The first bytes go out at once, so that the reader knows it is connected.
        chunk = b"retry: 1000\n\n"
        while True:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            chunk = b""
            with trio.move_on_after(HEARTBEAT_S):
                try:
                    chunk = b"".join(map(_sse, await self._feed.next()))
                except TooSlow:
                    scope.cancel()
                    return
            # An empty event has no data, so no program sees it; but it moves Last-Event-ID on past
            # events that were not wanted.
            chunk = chunk or b": still here\nid: %d\n\n" % self._feed.last


def _sse(event: dict[str, Any]) -> bytes:
    data = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    return f"id: {event['id']}\nevent: {event['type']}\ndata: {data}\n\n".encode()


async def _until_gone(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _until(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
