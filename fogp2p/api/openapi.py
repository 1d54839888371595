"""OpenAPI 3.1 from the table: nothing about the API is written twice."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from fogp2p import __version__
from fogp2p.schema import json_schema, name_of

from .errors import (
    ApiError,
    BadCsrf,
    BadHost,
    BadOrigin,
    BadRequest,
    BodyTooLarge,
    BodyTooSlow,
    InternalError,
    NotJson,
    OutOfScope,
    Overloaded,
    TooManyBadTokens,
    Unauthorized,
)
from .events import Event
from .members import request_schema
from .operations import UNSAFE, Operation
from .problem import MEDIA, Problem
from .scopes import Scope
from .websocket import Subscribe

__all__ = ["document_of", "errors_of"]

_PARAMETER = re.compile(r"\{(\w+)\}")


def document_of(operations: Sequence[Operation]) -> dict[str, Any]:
    """The whole document."""
    schemas: dict[str, Any] = {
        _component(Problem): json_schema(Problem),
        "event": json_schema(Event),
        "subscribe": request_schema(Subscribe),
    }
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        if each.answer is not None:
            schemas.setdefault(_component(each.answer), json_schema(each.answer))
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each)
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "fogp2p local API",
            "version": __version__,
            "summary": "One peer, for programs of its owner on the same machine.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [
            {"url": "http://127.0.0.1:7461", "description": "when [api] tcp is set"},
            {"url": "http://localhost", "description": "the unix socket api.sock"},
        ],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Not needed on the unix socket: its file rights decide.",
                },
                "session": {"type": "apiKey", "in": "cookie", "name": "fogp2p_7461"},
            },
        },
    }


def errors_of(operation: Operation) -> list[type[ApiError]]:
    """What the operation may be refused with, apart from the peer's own errors."""
    found: list[type[ApiError]] = [BadRequest, BadHost, BadOrigin, Overloaded, InternalError]
    if operation.scope is not Scope.OPEN:
        found += [Unauthorized, OutOfScope, TooManyBadTokens]
    if operation.method in UNSAFE:
        found += [BadCsrf, NotJson, BodyTooLarge, BodyTooSlow]
    found += [each for each in operation.errors if each not in found]
    return found


def _operation(operation: Operation) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "x-scope": operation.scope.value,
        "security": [{}] if operation.scope is Scope.OPEN else [{"token": []}, {"session": []}],
        "responses": _responses(operation),
    }
    parameters = [*_path_parameters(operation), *_query_parameters(operation)]
    if parameters:
        made["parameters"] = parameters
    if operation.request is not None:
        schema = request_schema(operation.request)
        made["requestBody"] = {
            "required": bool(schema["required"]),
            "content": {"application/json": {"schema": schema}},
        }
    if operation.media == "websocket":
        made["description"] = (
            "The client's first frame is of the schema `subscribe`; every frame from the peer is "
            "of the schema `event`. Closed with 1008 for a bad first frame or any further one, "
            "1013 for a reader that is too slow, 1001 when the peer stops."
        )
    return made


def _responses(operation: Operation) -> dict[str, Any]:
    good: dict[str, Any] = {"description": operation.summary}
    if operation.answer is not None:
        reference = {"$ref": f"#/components/schemas/{_component(operation.answer)}"}
        good["content"] = {"application/json": {"schema": reference}}
    elif operation.media == "text/event-stream":
        good["description"] = "Each event's data is of the schema `event`."
        good["content"] = {operation.media: {"schema": {"type": "string"}}}
    elif operation.media == "application/json":
        good["content"] = {operation.media: {"schema": {"type": "object"}}}
    elif operation.media not in ("", "websocket"):
        good["content"] = {operation.media: {"schema": {"type": "string"}}}
    responses: dict[str, Any] = {str(operation.status): good}
    for kind in errors_of(operation):
        known = responses.setdefault(str(kind.status), _problem())
        known["description"] = f"{known['description']} {kind.number} {kind.__name__}.".strip()
    if operation.name == "readyz":
        responses["503"]["content"]["application/json"] = good["content"]["application/json"]
    if operation.scope is Scope.CONTROL:
        for status, what in (
            ("409", "Nothing agreed."),
            ("502", "It failed."),
            ("504", "Too slow."),
        ):
            responses.setdefault(status, {**_problem(), "description": f"The other peer: {what}"})
    return responses


def _problem() -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{_component(Problem)}"}
    return {"description": "", "content": {MEDIA: {"schema": reference}}}


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": operation.parameters[name],
            "schema": {"type": "string"},
        }
        for name in _PARAMETER.findall(operation.path)
    ]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    schema = request_schema(operation.query)
    made = []
    for name, inner in schema["properties"].items():
        parameter = {
            "name": name,
            "in": "query",
            "required": name in schema["required"],
            "description": inner.pop("description", ""),
            "schema": inner,
        }
        if inner.get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        made.append(parameter)
    return made


def _component(kind: type[Any]) -> str:
    return name_of(kind).replace("/", "-")
