"""The WebSocket: the first frame says what is wanted, and may carry the token; then events come."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import trio
from starlette.types import Receive, Scope, Send

from fogp2p.schema import about

from . import scopes
from .config import MAX_FRAME_BYTES, MAX_TYPES, SUBSCRIBE_S
from .errors import ApiError, BadRequest, Overloaded
from .events import Feed, Subscribers, TooSlow
from .gate import Caller, permit
from .members import parse_json, read_members

__all__ = ["EventSocket", "Subscribe"]

GOING_AWAY: Final = 1001
POLICY: Final = 1008
TRY_LATER: Final = 1013


@dataclass(frozen=True, slots=True)
class Subscribe:
    """The first frame."""

    subscribe: tuple[str, ...] = field(
        default=(),
        metadata=about('Beginnings of types, such as "peer."; none: all.', maxItems=MAX_TYPES),
    )
    since: int | None = field(
        default=None, metadata=about("Replay what came after this number.", minimum=0)
    )
    token: str = field(
        default="", metadata=about("For a client that cannot send the header.", maxLength=200)
    )


@dataclass(frozen=True, slots=True)
class EventSocket:
    """Serves one connection, whose handshake has passed the gate already.

    `admit` makes a caller of a token, and raises Unauthorized for a wrong one.
    """

    caller: Caller
    subscribers: Subscribers
    stopping: trio.Event
    feed: Callable[[int | None, tuple[str, ...]], Feed]
    admit: Any

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.subscribers.full:
            raise self.subscribers.too_many()
        await receive()  # websocket.connect
        await send({"type": "websocket.accept"})
        asked: Subscribe | None = None
        try:
            with trio.move_on_after(SUBSCRIBE_S):
                asked = await self._first_frame(receive)
            if asked is None:
                await _close(send, POLICY, "no first frame came, or the client left")
                return
            # Counted from here on: who has shown no token takes nobody's place.
            with self.subscribers.one_more():
                await self._serve(asked, receive, send)
        except Overloaded as exc:
            await _close(send, TRY_LATER, f"{exc.number} {exc}")
        except ApiError as exc:
            await _close(send, POLICY, f"{exc.number} {exc}")

    async def _first_frame(self, receive: Receive) -> Subscribe | None:
        message = await receive()
        if message["type"] != "websocket.receive":
            return None
        text = message.get("text")
        if text is None or len(text) > MAX_FRAME_BYTES:
            raise BadRequest(f"the first frame is a text of at most {MAX_FRAME_BYTES} bytes")
        asked = read_members(Subscribe, parse_json(text.encode("utf-8", "surrogatepass")))
        caller = await self.admit(asked.token) if asked.token else self.caller
        permit(caller, scopes.Scope.READ)
        return asked

    async def _serve(self, asked: Subscribe, receive: Receive, send: Send) -> None:
        close: tuple[int, str] | None = None
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                nonlocal close
                message = await receive()
                if message["type"] == "websocket.receive":
                    close = POLICY, "one frame only; connect again to subscribe to something else"
                nursery.cancel_scope.cancel()

            async def tell() -> None:
                nonlocal close
                feed = self.feed(asked.since, asked.subscribe)
                try:
                    while True:
                        for event in await feed.next():
                            text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
                            await send({"type": "websocket.send", "text": text})
                except TooSlow:
                    close = TRY_LATER, "too slow: events were missed for 30 s"
                nursery.cancel_scope.cancel()

            async def stop() -> None:
                nonlocal close
                await self.stopping.wait()
                close = GOING_AWAY, "the peer stops"
                nursery.cancel_scope.cancel()

            for task in (listen, tell, stop):
                nursery.start_soon(task)
        if close is not None:
            await _close(send, *close)


async def _close(send: Send, code: int, reason: str) -> None:
    # A close frame has room for 123 bytes of reason.
    short = reason.encode("utf-8")[:120].decode("utf-8", "ignore")
    await send({"type": "websocket.close", "code": code, "reason": short})
