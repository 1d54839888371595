"""What happens, as it happens: Server-Sent Events and WebSocket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fogp2p.api.config import MAX_TYPES
from fogp2p.api.context import Context
from fogp2p.api.errors import BadRequest, Overloaded, Unauthorized
from fogp2p.api.events import EventStream, Feed
from fogp2p.api.front import slow_down
from fogp2p.api.gate import Caller
from fogp2p.api.operations import PREFIX, Call, Operation
from fogp2p.api.scopes import Scope
from fogp2p.api.websocket import EventSocket
from fogp2p.schema import about

__all__ = ["routes"]


@dataclass(frozen=True, slots=True)
class EventsQuery:
    """Which events, from where."""

    since: int | None = field(
        default=None,
        metadata=about(
            "Replay what came after this number, then go on; without it, only what comes. "
            "The header Last-Event-ID means the same and wins.",
            minimum=0,
        ),
    )
    types: tuple[str, ...] = field(
        default=(),
        metadata=about('Beginnings of types, with commas: "peer.,service.".', maxItems=MAX_TYPES),
    )


def routes(context: Context) -> Sequence[Operation]:
    """Both streams."""
    node = context.node

    def feed(since: int | None, types: tuple[str, ...]) -> Feed:
        return Feed(node.event_log, node.environment.clock, since, types)

    async def events(call: Call) -> EventStream:
        since = call.query.since
        remembered = call.headers.get("last-event-id", "")
        if remembered:
            if not (remembered.isascii() and remembered.isdecimal() and len(remembered) < 20):
                raise BadRequest("Last-Event-ID is not a number")
            since = int(remembered)
        if context.subscribers.full:
            raise context.subscribers.too_many()
        return EventStream(feed(since, call.query.types), context.subscribers, node.stopping)

    async def admit(token: str) -> Caller:
        found = context.tokens.scope_of(token, context.now())
        if found is None:
            await slow_down(context)
            raise Unauthorized("the token is wrong, expired or revoked")
        return Caller(found, "token")

    def socket(caller: Caller) -> EventSocket:
        return EventSocket(caller, context.subscribers, node.stopping, feed, admit)

    return (
        Operation(
            method="GET",
            path=f"{PREFIX}/events",
            name="events",
            summary="Events as text/event-stream, each with the envelope as its data.",
            scope=Scope.READ,
            handler=events,
            query=EventsQuery,
            media="text/event-stream",
            errors=(Overloaded,),
        ),
        Operation(
            method="GET",
            path=f"{PREFIX}/ws",
            name="events_socket",
            summary="The same events over a WebSocket; the first frame subscribes.",
            # The first frame may carry the token, so the handshake needs none.
            scope=Scope.OPEN,
            socket=socket,
            media="websocket",
            status=101,
            errors=(Overloaded,),
        ),
    )
