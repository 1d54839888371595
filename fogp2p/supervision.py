"""Runs a handler for one stream, so that whatever it does harms that stream only.

This is the one place in the library that catches `Exception`: a handler may be anybody's code, and
it answers to a peer's bytes.
"""

from __future__ import annotations

import logging

from .errors import FogError
from .host import Handler, Stream

__all__ = ["serve_stream"]

_LOG = logging.getLogger(__name__)


async def serve_stream(stream: Stream, handler: Handler) -> None:
    """Serve `stream` with `handler`; close it after a return, reset it after an error.

    A FogError is logged in one line, anything else with its traceback; neither leaves this
    function. Cancellation does.
    """
    try:
        await handler(stream)
        await stream.aclose()
    except FogError as exc:
        _log_refusal(stream, exc)
        stream.reset()
    except Exception as exc:  # noqa: BLE001 - see the module's docstring
        stream.reset()
        known, unknown = _sort(exc)
        for error in known:
            _log_refusal(stream, error)
        if unknown is not None:
            _LOG.error(
                "handler_failed protocol=%s peer=%s",
                stream.protocol,
                stream.remote_peer.short,
                exc_info=unknown,
            )
    except BaseException:
        stream.reset()
        raise


def _sort(exc: Exception) -> tuple[tuple[FogError, ...], Exception | None]:
    """Take the FogErrors out of what may be a group (nurseries raise groups)."""
    if not isinstance(exc, ExceptionGroup):
        return (), exc
    ours, others = exc.split(FogError)
    return _leaves(ours) if ours is not None else (), others


def _leaves(group: ExceptionGroup[FogError]) -> tuple[FogError, ...]:
    found: list[FogError] = []
    for member in group.exceptions:
        found.extend(_leaves(member) if isinstance(member, ExceptionGroup) else (member,))
    return tuple(found)


def _log_refusal(stream: Stream, exc: FogError) -> None:
    _LOG.info(
        "stream_ended protocol=%s peer=%s error=%s reason=%s",
        stream.protocol,
        stream.remote_peer.short,
        type(exc).__name__,
        exc,
    )
