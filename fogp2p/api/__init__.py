"""The local HTTP API of a running peer: a unix socket for its owner, loopback TCP for browsers.

Reference for people: docs/reference/api.md, made from the table of operations in `routes`.
"""

from .context import ApiNode, ConfigFile, Context
from .operations import Call, Operation, Reply
from .page import page_routes
from .scopes import Scope
from .server import serve_api, serve_context

__all__ = [
    "ApiNode",
    "Call",
    "ConfigFile",
    "Context",
    "Operation",
    "Reply",
    "Scope",
    "page_routes",
    "serve_api",
    "serve_context",
]
