"""The local HTTP API of a running peer, on a unix socket that only its owner can open.

Reference for people: docs/reference/api.md.
"""

from .server import serve_api

__all__ = ["serve_api"]
