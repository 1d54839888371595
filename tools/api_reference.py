"""The text of docs/reference/api.md, from the table of operations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fogp2p.api import Operation, scopes
from fogp2p.api import config as limits
from fogp2p.api.members import request_schema
from fogp2p.api.openapi import errors_of
from fogp2p.api.routes import all_operations
from fogp2p.api.websocket import Subscribe
from fogp2p.schema import json_schema, name_of
from fogp2p.testing import sim_environment
from fogp2p.testing.api import Doors

_INTRODUCTION = """# Local API

The peer answers HTTP on a unix socket, `api.sock` in its run directory (`fogp2p config where`),
which only its owner can open. There every request is the owner's: no token is needed. With `[api]
tcp = "127.0.0.1:7461"` it also answers on loopback TCP, for browsers: there a token is needed,
`Authorization: Bearer` with the content of `api.token` beside the socket, which is new at each
start. It never listens where others can reach it.

```sh
fogp2p up -d
SOCKET=$(fogp2p config where | awk '$1 == "socket" {print $2}')
curl -s --unix-socket "$SOCKET" http://localhost/api/v1/status
```

Answers are JSON objects whose `schema` member names their form; within one version members are
only added. Errors are `application/problem+json` (RFC 9457) with a stable `code`, a `hint`, and
`retry_after_s` when trying again helps. `GET /api/v1/openapi.json` describes all of this for
programs (OpenAPI 3.1).

A request has the exact Host that the API is bound to, and no Origin but its own. A browser logs
in with a one-time code (`POST /api/v1/sessions`, then `/login?code=...`), and sends `X-Fog-Csrf`
with whatever changes something.
"""

_EVENTS = """## Events

Each event is one object:

```json
{"id": 1841, "at": "2026-11-25T02:38:47.120Z", "type": "peer.connected", "v": 1,
 "data": {"peer_id": "12D3KooW...", "direction": "outbound"}}
```

Ids rise by one and begin at 1 when the peer starts. The last 1,024 are kept: `since` (or
`Last-Event-ID`) replays what came after that number, then new ones follow. What is gone is said:
`{"type": "gap", "data": {"first": 12, "last": 40}}` means: ask for the state again, then go on. A
reader that remembers a number which is not reached yet gets a gap too: the peer was restarted.
`curl -N --unix-socket ... 'http://localhost/api/v1/events?types=peer.,service.'` shows them;
`fogp2p.client.Client.events` follows and resumes them.

Every 15 s of silence a sign of life comes. A reader that takes nothing for 30 s is cut off; one
that keeps missing events for 30 s is closed with 1013 (WebSocket) or the end of the stream.
"""


def api_page() -> str:
    """The whole page."""
    operations = all_operations(Doors(sim_environment(1, "reference")).context)
    lines = [_INTRODUCTION, *_scopes(), *_table(operations), "", _EVENTS]
    for each in operations:
        lines += _described(each)
    lines += _limits()
    return "\n".join(lines).rstrip() + "\n"


def _scopes() -> Iterator[str]:
    yield from ("## Scopes", "", "Each may also do what the ones above it may.", "")
    yield from ("| scope | what it is for |", "|---|---|")
    yield from (f"| `{scope.value}` | {text} |" for scope, text in scopes.ABOUT.items())
    yield ""


def _table(operations: tuple[Operation, ...]) -> Iterator[str]:
    yield from ("## Operations", "", "| operation | scope | answer | |", "|---|---|---|---|")
    for each in operations:
        answer = f"`{name_of(each.answer)}`" if each.answer is not None else each.media or "-"
        yield f"| `{each.method} {each.path}` | {each.scope.value} | {answer} | {each.summary} |"


def _described(operation: Operation) -> Iterator[str]:
    yield from (f"### {operation.method} {operation.path}", "", operation.summary, "")
    if operation.query is not None:
        yield from _members("Query", request_schema(operation.query))
    if operation.request is not None:
        yield from _members("Request", request_schema(operation.request))
    if operation.socket is not None:
        yield from _members("First frame", request_schema(Subscribe))
    if operation.answer is not None:
        yield from _members(
            f"Answer `{name_of(operation.answer)}`, status {operation.status}",
            json_schema(operation.answer),
        )
    codes = sorted({kind.number for kind in errors_of(operation)})
    yield from (f"Refused with: {', '.join(codes)}.", "")


def _members(title: str, schema: dict[str, Any], indent: str = "") -> Iterator[str]:
    if title:
        yield from (f"{title}:", "")
    for name, inner in schema["properties"].items():
        if name == "schema":
            continue
        about = inner.get("description", "")
        default = f" (default {inner['default']!r})" if "default" in inner else ""
        text = f"{indent}* `{name}`: {_kind(inner)}{default}{'. ' + about if about else ''}"
        yield text.rstrip()
        nested = _nested(inner)
        if nested is not None:
            yield from _members("", nested, indent + "  ")
    if title:
        yield ""


def _nested(schema: dict[str, Any]) -> dict[str, Any] | None:
    for inner in (schema, schema.get("items", {}), schema.get("additionalProperties", {})):
        if isinstance(inner, dict) and "properties" in inner:
            return inner
    return None


def _kind(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(f"`{each}`" for each in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    kind = {"array": "list", "object": "object"}.get(schema.get("type", ""), schema.get("type"))
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{kind}, {low}-{high}"
    return str(kind or "any value")


def _limits() -> Iterator[str]:
    yield from ("## Limits", "", "| what | bound |", "|---|---|")
    for what, value in (
        ("connections", limits.MAX_CONNECTIONS),
        ("requests being answered; past it 503", limits.MAX_REQUESTS),
        ("event streams; past it 503", limits.MAX_SUBSCRIBERS),
        ("head of a request; past it 431", f"{limits.MAX_HEAD_BYTES} bytes"),
        ("body; past it 413", f"{limits.MAX_BODY_BYTES} bytes"),
        ("time for a body; past it 408", f"{limits.BODY_TIMEOUT_S:g} s"),
        ("an idle connection, or a head that does not end", f"{limits.KEEP_ALIVE_S:g} s"),
        ("a client that reads nothing", f"{limits.SEND_TIMEOUT_S:g} s"),
        ("waiting for another peer", f"{limits.MAX_TIMEOUT_S:g} s"),
        ("tokens", limits.MAX_TOKENS),
        ("browser sessions", limits.MAX_SESSIONS),
    ):
        yield f"| {what} | {value} |"
