"""Before the application: load, Host, Origin, caller. Round it: headers, and counting."""

from __future__ import annotations

from typing import Final

import trio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .config import BAD_TOKEN_DELAY_S, MAX_DELAYED, MAX_REQUESTS
from .context import Context
from .errors import ApiError, Overloaded, TooManyBadTokens, Unauthorized
from .exchange import Exchange
from .gate import Caller, Door, Headers, identify
from .operations import UNSAFE
from .problem import problem_response

__all__ = ["CSP", "Front", "slow_down", "turned_away"]

CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)
# On every answer, the page's and the API's alike.
_HEADERS: Final = (
    (b"content-security-policy", CSP.encode("ascii")),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
# Whoever asks whether the process lives must hear it also when everybody else has to wait.
_ALWAYS: Final = frozenset({"/healthz", "/readyz"})


class Front:
    """One door's ASGI application."""

    def __init__(self, app: ASGIApp, door: Door, context: Context) -> None:
        self._app = app
        self._door = door
        self._context = context
        self._load = context.load

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange()
        exchange.put_into(scope)
        sending = _Sending(send)
        began = trio.current_time()
        try:
            await self._guarded(exchange, scope, receive, sending)
        except ApiError as exc:
            await problem_response(exc)(scope, receive, sending)
        finally:
            method = scope.get("method", "WS")
            known = method if method in UNSAFE or method in ("GET", "HEAD", "WS") else "other"
            self._context.metrics.requests.labels(known, exchange.route, sending.status).inc()
            if scope["type"] == "http" and not sending.streamed:
                self._context.metrics.seconds.observe(trio.current_time() - began)

    async def _guarded(
        self, exchange: Exchange, scope: Scope, receive: Receive, send: _Sending
    ) -> None:
        if scope["type"] == "websocket":  # long, and bounded by its own count
            exchange.caller = await self._caller(scope)
            await self._app(scope, receive, send)
            return
        if self._load.busy >= MAX_REQUESTS and scope["path"] not in _ALWAYS:
            raise _too_busy()
        self._load.busy += 1
        send.on_stream = self._not_busy
        try:
            exchange.caller = await self._caller(scope)
            await self._app(scope, receive, send)
        finally:
            if not send.streamed:
                self._not_busy()

    def _not_busy(self) -> None:
        self._load.busy -= 1

    async def _caller(self, scope: Scope) -> Caller:
        headers: Headers = scope["headers"]
        method = scope.get("method", "GET")
        host = self._door.check_host(headers)
        navigating = (
            method == "GET"
            and scope["type"] == "http"
            and not scope["path"].startswith(("/api/", "/metrics"))
            and (b"sec-fetch-mode", b"navigate") in headers
        )
        self._door.check_origin(host, headers, navigating=navigating)
        context = self._context
        try:
            return identify(
                self._door,
                headers,
                unsafe=method in UNSAFE,
                tokens=context.tokens,
                sessions=context.sessions,
                now=context.now(),
            )
        except Unauthorized:
            await slow_down(context)
            raise


async def slow_down(context: Context) -> None:
    """After a wrong token: a second's wait, if ten came in the minute before.

    Raises TooManyBadTokens when too many wait already.
    """
    load = context.load
    if not context.bad_tokens.saw_one(context.now()):
        return
    if load.delayed >= MAX_DELAYED:
        raise TooManyBadTokens(
            "too many wrong tokens", retry_after_s=60, hint="is some program's token an old one?"
        )
    load.delayed += 1
    try:
        await trio.sleep(BAD_TOKEN_DELAY_S)
    finally:
        load.delayed -= 1


def turned_away(context: Context) -> bytes:
    """A whole 503 for whoever comes while as much as we can do is under way, else nothing."""
    if context.load.busy < MAX_REQUESTS:
        return b""
    context.metrics.requests.labels("GET", "other", 503).inc()
    return _TURNED_AWAY


def _rendered() -> bytes:
    made = problem_response(_too_busy())
    headers = [*made.raw_headers, *_HEADERS]
    lines = [b"HTTP/1.1 503 ", *(b"%s: %s" % each for each in headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + bytes(made.body)


def _too_busy() -> Overloaded:
    return Overloaded(f"{MAX_REQUESTS} requests are being answered already")


_TURNED_AWAY: Final = _rendered()


class _Sending:
    """Adds our headers and remembers the status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.streamed = False
        self.on_stream = _nothing

    async def __call__(self, message: Message) -> None:
        kind = message["type"]
        if kind in ("http.response.start", "websocket.http.response.start"):
            self.status = message["status"]
            given = {name for name, _ in message.get("headers", ())}
            ours = [each for each in _HEADERS if each[0] not in given]
            message = {**message, "headers": [*message.get("headers", ()), *ours]}
            if (b"content-type", b"text/event-stream; charset=utf-8") in message["headers"]:
                self.streamed = True  # an event stream counts as such, not as a request under way
                self.on_stream()
        elif kind == "websocket.accept":
            self.status = 101
        await self._send(message)


def _nothing() -> None:
    pass
