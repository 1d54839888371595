"""Asks a running peer over its unix socket. Blocking, standard library only, quick to import."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import FogError

__all__ = ["Client", "NotRunning", "PeerSaid"]

# Longer answers than any peer gives: 160 connections with their addresses.
_MAX_ANSWER_BYTES = 4 * 1024 * 1024
# An event is one line: some hundred bytes.
_MAX_LINE_BYTES = 1024 * 1024


class NotRunning(FogError):
    """No peer answers on the socket."""

    number = "FOG-API-002"


class PeerSaid(FogError):
    """The peer refused or failed; `code` and `status` are what it said (RFC 9457)."""

    number = "FOG-API-003"

    def __init__(self, message: str, *, code: str, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.status = status


class Client:
    """One peer's API. Each call is one request; nothing is kept open."""

    def __init__(self, path: Path, *, timeout_s: float = 30.0) -> None:
        self.path = path
        self._timeout_s = timeout_s

    def get(self, route: str) -> dict[str, Any]:
        """GET /api/v1/<route>. Raises NotRunning and PeerSaid."""
        return self._ask("GET", route, None)

    def post(self, route: str, fields: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """POST /api/v1/<route>. Raises NotRunning and PeerSaid."""
        return self._ask("POST", route, fields or {})

    def delete(self, route: str) -> dict[str, Any]:
        """DELETE /api/v1/<route>. Raises NotRunning and PeerSaid."""
        return self._ask("DELETE", route, None)

    def lines(self, route: str) -> Iterator[str]:
        """GET /api/v1/<route> as text that comes line by line, as long as the peer sends.

        Raises NotRunning, also when it sends nothing for as long as the timeout, and PeerSaid.
        """
        with self._connected("GET", route, None) as response:
            if response.status >= 400:
                _read(response.status, response.read(_MAX_ANSWER_BYTES))
            while line := response.readline(_MAX_LINE_BYTES):
                yield line.decode("utf-8", "replace").rstrip("\r\n")

    def _ask(self, method: str, route: str, fields: Mapping[str, Any] | None) -> dict[str, Any]:
        with self._connected(method, route, fields) as response:
            data = response.read(_MAX_ANSWER_BYTES)
            return _read(response.status, data)

    @contextmanager
    def _connected(
        self, method: str, route: str, fields: Mapping[str, Any] | None
    ) -> Iterator[http.client.HTTPResponse]:
        body = json.dumps(fields).encode("utf-8") if fields is not None else None
        connection = _UnixConnection(self.path, self._timeout_s)
        try:
            connection.request(method, f"/api/v1/{route}", body=body)
            yield connection.getresponse()
        except (FileNotFoundError, ConnectionRefusedError) as exc:
            raise NotRunning(
                f"no peer is running (nothing answers on {self.path})",
                hint="start one: fogp2p up",
            ) from exc
        except TimeoutError as exc:
            raise NotRunning(
                f"the peer does not answer within {self._timeout_s:g} s",
                hint="is its process stopped? its log may say more",
            ) from exc
        except (OSError, http.client.HTTPException) as exc:
            raise NotRunning(f"the peer hung up: {exc}", hint="is it stopping?") from exc
        finally:
            connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _read(status: int, data: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(data)
    except ValueError as exc:
        raise PeerSaid(
            f"the peer answered {status} without JSON", code="FOG-API-003", status=status
        ) from exc
    if status >= 400:
        raise PeerSaid(answer["detail"], code=answer["code"], status=status, hint=answer["hint"])
    return dict(answer)
