"""Runs a handler for one stream, so that whatever it does harms that stream only.

This is the one place in the library that catches `Exception`: a handler may be anybody's code, and
it answers to a peer's bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from .errors import FogError, RemoteProtocolError
from .host import Handler, Stream
from .ids import PeerId

__all__ = ["Disconnect", "contained", "end_distrusted", "serve_stream"]

_LOG = logging.getLogger(__name__)

Disconnect = Callable[[PeerId], Awaitable[None]]
"""`Host.disconnect`."""


async def contained(operation: Callable[[], Awaitable[None]]) -> Exception | None:
    """Run `operation`; return what it raised instead of raising it. Cancellation passes."""
    try:
        await operation()
    except Exception as exc:  # noqa: BLE001 - see the module's docstring
        return exc
    return None


async def serve_stream(stream: Stream, handler: Handler, disconnect: Disconnect) -> None:
    """Serve `stream` with `handler`; close it after a return, reset it after an error.

    An error that says so (`close_hint`) ends the whole connection. A FogError is logged in one
    line, anything else with its traceback; neither leaves this function. Cancellation does.
    """

    async def serve() -> None:
        await handler(stream)
        await stream.aclose()

    try:
        failure = await contained(serve)
    except BaseException:
        stream.reset()
        raise
    if failure is not None:
        stream.reset()
        _report(stream, failure)
        await end_distrusted(failure, stream.remote_peer, disconnect)


async def end_distrusted(failure: Exception, peer: PeerId, disconnect: Disconnect) -> None:
    """Disconnect `peer` if it broke a rule without which no stream of it can be trusted.

    For whoever opened a stream; `serve_stream` does it for those that a peer opened.
    """
    known, _ = _sort(failure)
    if any(isinstance(e, RemoteProtocolError) and e.close_hint == "disconnect" for e in known):
        _LOG.info("disconnecting_distrusted peer=%s", peer.short)
        await disconnect(peer)


def _report(stream: Stream, failure: Exception) -> None:
    known, unknown = _sort(failure)
    for error in known:
        _LOG.info(
            "stream_ended protocol=%s peer=%s error=%s reason=%s",
            stream.protocol,
            stream.remote_peer.short,
            type(error).__name__,
            error,
        )
    if unknown is not None:
        _LOG.error(
            "handler_failed protocol=%s peer=%s",
            stream.protocol,
            stream.remote_peer.short,
            exc_info=unknown,
        )


def _sort(exc: Exception) -> tuple[tuple[FogError, ...], Exception | None]:
    """Take the FogErrors out of what may be a group (nurseries raise groups)."""
    if isinstance(exc, FogError):
        return (exc,), None
    if not isinstance(exc, ExceptionGroup):
        return (), exc
    ours, others = exc.split(FogError)
    return _leaves(ours) if ours is not None else (), others


def _leaves(group: ExceptionGroup[FogError]) -> tuple[FogError, ...]:
    found: list[FogError] = []
    for member in group.exceptions:
        found.extend(_leaves(member) if isinstance(member, ExceptionGroup) else (member,))
    return tuple(found)
