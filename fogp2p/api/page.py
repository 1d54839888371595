"""Where the dashboard's files are served from: package data, whole and small, read at the start."""

from __future__ import annotations

from importlib.resources.abc import Traversable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .exchange import exchange_of

__all__ = ["MAX_FILES", "MAX_FILE_BYTES", "page_routes"]

# The page has a dozen modules of some kilobytes, and two libraries of 50 kB.
MAX_FILES: Final = 64
MAX_FILE_BYTES: Final = 512 * 1024
_KINDS: Final = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
    "png": "image/png",
    "txt": "text/plain; charset=utf-8",
}


def page_routes(folder: Traversable) -> list[Route]:
    """`/` for index.html and `/static/...` for every file in `folder`; nothing else is reachable.

    Paths are looked up in a table made here, so there is no path to climb out by. ValueError for a
    folder without index.html, of a kind that is not served, or past the bounds.
    """
    files = dict(_files(folder, ""))
    if "index.html" not in files or len(files) > MAX_FILES:
        raise ValueError(f"a page has an index.html and at most {MAX_FILES} files")
    routes = [_route(f"/static/{name}", name, data) for name, data in files.items()]
    return [_route("/", "index.html", files["index.html"]), *routes]


def _files(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for each in sorted(folder.iterdir(), key=lambda each: each.name):
        name = f"{prefix}{each.name}"
        if each.is_dir():
            if each.name != "__pycache__":
                found += _files(each, f"{name}/")
        elif not name.endswith((".py", ".pyc", ".typed")):
            data = each.read_bytes()
            if each.name.rpartition(".")[2] not in _KINDS or len(data) > MAX_FILE_BYTES:
                raise ValueError(f"{name} is of no kind that is served, or too large")
            found.append((name, data))
    return found


def _route(path: str, name: str, data: bytes) -> Route:
    kind = _KINDS[name.rpartition(".")[2]]

    async def serve(request: Request) -> Response:
        exchange_of(request.scope).route = "page"
        return Response(data, headers={"content-type": kind})

    return Route(path, serve, methods=["GET"])
