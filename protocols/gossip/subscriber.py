"""What waits for one subscriber of a topic."""

from __future__ import annotations

from collections import deque

import trio

from fogp2p.events import Gap
from fogp2p.host import Message

from .config import MESSAGES_AT_ONCE, SUBSCRIBER_BYTES, SUBSCRIBER_QUEUE

__all__ = ["Subscriber"]


class Subscriber:
    """The messages of a topic from now on. Slow ones lose the oldest and are told by a `Gap`.

    A busy topic brings many messages in one turn of the loop; they are handed over many at a
    time before other tasks have theirs. One message a turn, as a channel does it, would make the
    length of a turn the limit of the rate.
    """

    def __init__(self) -> None:
        self._waiting: deque[Message] = deque()
        self._bytes = 0
        self._missed = 0
        self._taken = 0
        self._news = trio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: Message) -> int:
        """Queue it; how many were lost for it."""
        self._waiting.append(message)
        self._bytes += len(message.data)
        self._news.set()
        lost = 0
        while len(self._waiting) > SUBSCRIBER_QUEUE or self._bytes > SUBSCRIBER_BYTES:
            self._bytes -= len(self._waiting.popleft().data)
            lost += 1
        self._missed += lost
        return lost

    def __aiter__(self) -> Subscriber:
        return self

    async def __anext__(self) -> Message | Gap:
        self._taken += 1
        if not self._waiting and not self._missed:
            self._news = trio.Event()
            await self._news.wait()
        elif self._taken % MESSAGES_AT_ONCE == 0:
            await trio.lowlevel.checkpoint()
        if self._missed:
            missed, self._missed = self._missed, 0
            return Gap(missed)
        message = self._waiting.popleft()
        self._bytes -= len(message.data)
        return message
