"""One row of the API: routes, checks, OpenAPI and the reference are made from the rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp

from .errors import ApiError
from .gate import Caller
from .scopes import Scope

__all__ = ["Call", "Operation", "PREFIX", "Reply", "UNSAFE"]

PREFIX = "/api/v1"
# Methods that change something.
UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True)
class Call:
    """One request, checked: `request` and `query` are of the operation's classes."""

    caller: Caller
    path: Mapping[str, str]
    request: Any = None
    query: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with another status than the operation's usual one, or with headers."""

    answer: Any
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


# A handler gives a named dataclass, a Reply, or a finished ASGI response.
Handler = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """`path` has its parameters in braces, each described in `parameters`.

    `answer` is a dataclass with a schema name, or None when `media` says what comes instead.
    `socket` serves a WebSocket in place of `handler`. `after` runs once the answer is out.
    """

    method: str
    path: str
    name: str
    summary: str
    scope: Scope
    handler: Handler | None = None
    socket: Callable[[Caller], ASGIApp] | None = None
    answer: type[Any] | None = None
    request: type[Any] | None = None
    query: type[Any] | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    media: str = "application/json"
    errors: Sequence[type[ApiError]] = ()
    after: Callable[[], Awaitable[None]] | None = None
