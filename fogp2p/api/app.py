"""From the table of operations to a Starlette application that answers only what is in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from fogp2p.errors import FogError
from fogp2p.schema import answer

from . import members
from .config import BODY_TIMEOUT_S, MAX_BODY_BYTES
from .errors import (
    BadRequest,
    BodyTooLarge,
    BodyTooSlow,
    InternalError,
    MethodNotAllowed,
    NotFound,
    NotJson,
)
from .exchange import exchange_of
from .gate import permit
from .operations import UNSAFE, Call, Operation, Reply
from .problem import problem_response

__all__ = ["make_app"]


def make_app(operations: Sequence[Operation], *pages: BaseRoute) -> Starlette:
    """The application behind the doors. `pages` come after the operations."""
    by_path: dict[str, dict[str, Operation]] = {}
    routes: list[BaseRoute] = []
    for each in operations:
        if each.socket is not None:
            routes.append(WebSocketRoute(each.path, _Socket(each)))
        by_path.setdefault(each.path, {})[each.method] = each
    routes += [Route(path, _Address(here)) for path, here in by_path.items()]
    handlers: Mapping[Any, Any] = {
        FogError: _on_fog_error,
        HTTPException: _on_http_error,
        500: _on_crash,
    }
    app = Starlette(routes=[*routes, *pages], exception_handlers=handlers)
    app.router.redirect_slashes = False
    return app


class _Address:
    """Everything that one path offers."""

    def __init__(self, operations: Mapping[str, Operation]) -> None:
        self._operations = operations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        operation = self._operations.get(method)
        exchange = exchange_of(scope)
        exchange.route = next(iter(self._operations.values())).path
        endless = operation is not None and operation.media == "text/event-stream"
        if operation is None or (endless and scope["method"] == "HEAD"):
            allowed = tuple(sorted(self._operations))
            raise MethodNotAllowed(f"{scope['method']} does not work here", allowed=allowed)
        permit(exchange.caller, operation.scope)
        if operation.handler is None:
            raise BadRequest("this is a WebSocket: ask for an upgrade, version 13, with a key")
        request = Request(scope, receive)
        response = _response(operation, await operation.handler(await _call(operation, request)))
        await response(scope, receive, send)
        if operation.after is not None:
            await operation.after()


class _Socket:
    def __init__(self, operation: Operation) -> None:
        self._operation = operation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        exchange.route = self._operation.path
        assert self._operation.socket is not None
        await self._operation.socket(exchange.caller)(scope, receive, send)


async def _call(operation: Operation, request: Request) -> Call:
    asked = query = None
    if operation.method in UNSAFE:
        data = await _body(request)
        # Without a declared body only an empty object is none.
        fields = members.parse_json(data)
        if operation.request is not None:
            asked = members.read_members(operation.request, fields)
        elif fields:
            raise BadRequest(f"unknown member {next(iter(fields))!r}; this takes none")
    if operation.query is not None:
        query = members.read_query(operation.query, _query(request))
    path = dict(request.path_params)
    return Call(exchange_of(request.scope).caller, path, asked, query, request.headers)


def _query(request: Request) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in found:
            raise BadRequest(f"{name[:40]!r} is given twice")
        found[name] = value
    return found


async def _body(request: Request) -> bytes:
    """At most 256 KiB within 10 s. Raises NotJson, BodyTooLarge, BodyTooSlow, BadRequest."""
    length = request.headers.get("content-length", "")
    if length and "transfer-encoding" in request.headers:
        raise BadRequest("the body has two lengths")
    if length.isascii() and length.isdecimal() and int(length[:20]) > MAX_BODY_BYTES:
        raise BodyTooLarge(f"at most {MAX_BODY_BYTES} bytes are read")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    data = bytearray()
    with trio.move_on_after(BODY_TIMEOUT_S) as waiting:
        while True:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise BadRequest("the client left before its request was whole")
            data += message.get("body", b"")
            if len(data) > MAX_BODY_BYTES:
                raise BodyTooLarge(f"at most {MAX_BODY_BYTES} bytes are read")
            # Forms, and texts that pages can send without asking first, are refused as such.
            if data and kind != "application/json":
                raise NotJson(
                    f"this API does not read {kind[:60] or 'a body without a type'!r}",
                    hint="send `Content-Type: application/json`",
                )
            if not message.get("more_body", False):
                break
    if waiting.cancelled_caught:
        raise BodyTooSlow(f"the body did not arrive within {BODY_TIMEOUT_S:g} s")
    return bytes(data)


def _response(operation: Operation, made: Any) -> Any:
    """What the handler gave, as an ASGI response."""
    reply = made if isinstance(made, Reply) else Reply(made, operation.status)
    if not dataclasses.is_dataclass(reply.answer):
        return reply.answer
    return JSONResponse(answer(reply.answer), reply.status, dict(reply.headers))


async def _on_fog_error(connection: HTTPConnection, exc: FogError) -> Response:
    return problem_response(exc)


async def _on_http_error(connection: HTTPConnection, exc: HTTPException) -> Response:
    # The router knows one error: there is no such path.
    return problem_response(
        NotFound("nothing has this address", hint="GET /api/v1/openapi.json lists what there is")
    )


async def _on_crash(connection: HTTPConnection, exc: Exception) -> Response:
    # Starlette raises it again afterwards, and the server logs it with its traceback.
    return problem_response(InternalError("a fault in this program", hint="its log says more"))
