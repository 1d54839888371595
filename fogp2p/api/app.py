"""The routes: they read the request, ask the node, and answer in JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fogp2p import __version__
from fogp2p.config import Loaded
from fogp2p.environment import within
from fogp2p.errors import (
    DeadlineExceeded,
    FogError,
    LimitExceeded,
    LocalProtocolError,
    ProtocolRefused,
    RemoteProtocolError,
    TransportError,
)
from fogp2p.ids import PeerId
from fogp2p.node import Node

from .config import (
    DEFAULT_TIMEOUT_S,
    MAX_BODY_BYTES,
    MAX_ECHOES,
    MAX_PINGS,
    MAX_TIMEOUT_S,
)

__all__ = ["make_app"]

# The error type decides the HTTP status; the first that fits counts.
_STATUS: tuple[tuple[type[FogError], int], ...] = (
    (LocalProtocolError, 400),
    (ProtocolRefused, 409),
    (DeadlineExceeded, 504),
    (TransportError, 502),
    (RemoteProtocolError, 502),
    (LimitExceeded, 503),
)


def make_app(node: Node, loaded: Loaded) -> Starlette:
    """The ASGI application of one node."""
    api = _Api(node, loaded)
    routes = [
        Route("/healthz", api.healthz, methods=["GET"]),
        Route("/api/v1/status", api.status, methods=["GET"]),
        Route("/api/v1/peers", api.peers, methods=["GET"]),
        Route("/api/v1/peers/{peer}/ping", api.ping, methods=["POST"]),
        Route("/api/v1/peers/{peer}/echo", api.echo, methods=["POST"]),
        Route("/api/v1/config", api.config, methods=["GET"]),
        Route("/api/v1/stop", api.stop, methods=["POST"]),
    ]
    handlers: Mapping[Any, Callable[[Request, Any], Awaitable[Response]]] = {
        FogError: _on_fog_error,
        HTTPException: _on_http_error,
    }
    return Starlette(routes=routes, exception_handlers=handlers)


class _Api:
    def __init__(self, node: Node, loaded: Loaded) -> None:
        self._node = node
        self._loaded = loaded

    async def healthz(self, request: Request) -> Response:
        return JSONResponse({"schema": "health/1", "version": __version__})

    async def status(self, request: Request) -> Response:
        return _answer("status/1", dataclasses.asdict(self._node.status()))

    async def peers(self, request: Request) -> Response:
        return _answer("peers/1", {"peers": [dataclasses.asdict(p) for p in self._node.peers()]})

    async def config(self, request: Request) -> Response:
        settings = {
            name: {"value": value, "origin": self._loaded.origins[name]}
            for name, value in self._loaded.config.items()
        }
        return _answer("config/1", {"settings": settings})

    async def ping(self, request: Request) -> Response:
        peer, asked = _peer(request), await _body(request)
        count = _number(asked, "count", 1, low=1, high=MAX_PINGS)
        deadline = within(_timeout(asked))
        times = [await self._node.ping(peer, deadline=deadline) for _ in range(int(count))]
        return _answer("ping/1", {"peer_id": str(peer), "round_trips_s": times})

    async def echo(self, request: Request) -> Response:
        peer, asked = _peer(request), await _body(request)
        count = int(_number(asked, "count", 1, low=1, high=MAX_ECHOES))
        size = int(_number(asked, "size", 100, low=0, high=65_536))
        random = self._node.environment.random
        messages = (random.randbytes(size) for _ in range(count))
        result = await self._node.echo(peer, list(messages), deadline=within(_timeout(asked)))
        fields = dataclasses.asdict(result) | {"version": str(result.version)}
        return _answer("echo/1", {"peer_id": str(peer), **fields})

    async def stop(self, request: Request) -> Response:
        await _body(request)
        answer = _answer("stop/1", {"stopping": True}, status=202)
        answer.background = BackgroundTask(self._stop)  # once the answer is out
        return answer

    async def _stop(self) -> None:
        self._node.stop()


def _answer(schema: str, fields: Mapping[str, Any], *, status: int = 200) -> Response:
    return JSONResponse({"schema": schema, **fields}, status_code=status)


def _peer(request: Request) -> PeerId:
    try:
        return PeerId.parse(request.path_params["peer"])
    except RemoteProtocolError as exc:  # here it is our own user who wrote it
        raise LocalProtocolError(str(exc), code="peer-id", hint=exc.hint) from exc


async def _body(request: Request) -> dict[str, Any]:
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY_BYTES:
            raise HTTPException(413, f"at most {MAX_BODY_BYTES} bytes")
    try:
        asked = json.loads(data) if data else {}
    except (ValueError, RecursionError) as exc:
        raise HTTPException(400, "the body is not JSON") from exc
    if not isinstance(asked, dict):
        raise HTTPException(400, "the body is not a JSON object")
    return asked


def _number(asked: dict[str, Any], name: str, default: float, *, low: float, high: float) -> float:
    value = asked.get(name, default)
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
    if not fits:
        raise HTTPException(400, f"{name} lies in {low}-{high}")
    return float(value)


def _timeout(asked: dict[str, Any]) -> float:
    return _number(asked, "timeout_s", DEFAULT_TIMEOUT_S, low=0.01, high=MAX_TIMEOUT_S)


async def _on_fog_error(request: Request, exc: FogError) -> Response:
    status = next((status for kind, status in _STATUS if isinstance(exc, kind)), 500)
    return _problem(status, exc.number, str(exc), exc.hint)


async def _on_http_error(request: Request, exc: HTTPException) -> Response:
    return _problem(exc.status_code, "FOG-API-001", exc.detail, "")


def _problem(status: int, code: str, detail: str, hint: str) -> Response:
    """RFC 9457."""
    body = {"schema": "problem/1", "status": status, "code": code, "detail": detail, "hint": hint}
    return JSONResponse(body, status_code=status, media_type="application/problem+json")
