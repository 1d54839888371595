"""Asks a running peer: over its unix socket, or over loopback TCP with its token.

Blocking, standard library only, quick to import.
"""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .errors import ConfigError, FogError
from .unix_http import BadAnswer, exchange

if TYPE_CHECKING:
    import http.client

__all__ = ["Client", "NotRunning", "PeerSaid", "UntrustedFile"]

# Longer answers than any peer gives: 160 connections with their addresses.
_MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
# An event's data is small; a longer line is not from a peer.
_MAX_LINE_BYTES: Final = 1024 * 1024
_MAX_TOKEN_BYTES: Final = 256
# A chunk of a blob.
_PART_BYTES: Final = 256 * 1024
# The peer sends something every 15 s.
_SILENCE_S: Final = 50.0
_RECONNECT_S: Final = 1.0
# Routes that need no quoting: nearly all. (Importing urllib has its price, too.)
_PLAIN_ROUTE: Final = re.compile(r"[A-Za-z0-9._~/?&=,%-]*")


class NotRunning(FogError):
    """No peer answers on the socket."""

    number = "FOG-API-002"


class PeerSaid(FogError):
    """The peer refused or failed; `code` and `status` are what it said (RFC 9457)."""

    number = "FOG-API-003"

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int,
        hint: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.status = status
        self.retry_after_s = retry_after_s


class UntrustedFile(FogError):
    """The socket or the token file belongs to somebody else or is open to others: not used."""

    number = "FOG-API-019"


class Client:
    """One peer's API. Each call is one request; nothing is kept open.

    `where`: the socket's path, or a URL such as `http://127.0.0.1:7461/`. With a URL, `token_file`
    is the file with the token: a path from your own configuration, never one that the other side
    names.
    """

    def __init__(
        self, where: Path | str, *, token_file: Path | None = None, timeout_s: float = 30.0
    ) -> None:
        self._timeout_s = timeout_s
        self._token_file = token_file
        self._address: tuple[str, int] | None = None
        self.path: Path | None = None
        text = str(where)
        if text.startswith("http://"):
            self._address = _loopback(text)
        elif "://" in text and not text.startswith("unix:"):
            raise ConfigError(f"{text} is neither a socket's path nor http://127.0.0.1:PORT/")
        else:
            self.path = Path(text.removeprefix("unix://").removeprefix("unix:"))

    def get(self, route: str) -> dict[str, Any]:
        """GET /api/v1/<route>. Raises NotRunning, PeerSaid, UntrustedFile."""
        return self._ask("GET", route, None)

    def post(self, route: str, fields: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """POST /api/v1/<route>. Raises as `get`."""
        return self._ask("POST", route, fields or {})

    def patch(self, route: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """PATCH /api/v1/<route>. Raises as `get`."""
        return self._ask("PATCH", route, fields)

    def delete(self, route: str) -> dict[str, Any]:
        """DELETE /api/v1/<route>. Raises as `get`."""
        return self._ask("DELETE", route, None)

    def download(self, route: str, write: Callable[[bytes], None]) -> None:
        """GET /api/v1/<route> and hand its bytes to `write`, at most 256 KiB at a time.

        Raises as `get`, and NotRunning when the end is missing.
        """
        import http.client

        connection = self._connection(self._timeout_s)
        try:
            response = self._send(connection, "GET", route, None)
            if response.status != 200:
                _read(response.status, response.read(_MAX_ANSWER_BYTES))
                return
            left = int(response.headers.get("Content-Length", "-1"))
            while part := response.read(_PART_BYTES):
                write(part)
                left -= len(part)
            if left != 0:
                raise NotRunning("the content ended too early", hint="fogp2p blobs")
        except (OSError, http.client.HTTPException) as exc:
            raise NotRunning(f"the peer hung up: {exc}", hint="is it stopping?") from exc
        finally:
            connection.close()

    def events(
        self, *, since: int | None = None, types: Sequence[str] = (), patience_s: float = 30.0
    ) -> Iterator[dict[str, Any]]:
        """Follow events, endlessly: envelopes as docs/reference/api.md has them.

        When the connection breaks it is made again, and continues behind the last event; a "gap"
        says that some are lost. Raises NotRunning when the peer stays away for `patience_s`
        seconds, and PeerSaid, UntrustedFile.
        """
        heard = time.monotonic()
        while True:
            try:
                for event in self._one_stream(since, types):
                    heard = time.monotonic()
                    if event is not None:
                        since = event["id"]
                        yield event
            except NotRunning:
                if time.monotonic() - heard > patience_s:
                    raise
            except PeerSaid as exc:
                if exc.retry_after_s is None or time.monotonic() - heard > patience_s:
                    raise
            time.sleep(_RECONNECT_S)

    def _one_stream(
        self, since: int | None, types: Sequence[str]
    ) -> Iterator[dict[str, Any] | None]:
        """One connection's events; None for each sign of life in between."""
        asked: dict[str, Any] = {"since": since} if since is not None else {}
        if types:
            asked["types"] = ",".join(types)
        import http.client
        from urllib.parse import urlencode

        connection = self._connection(_SILENCE_S)
        try:
            response = self._send(connection, "GET", f"events?{urlencode(asked)}", None)
            if response.status != 200:
                _read(response.status, response.read(_MAX_ANSWER_BYTES))
                return
            yield None
            while line := response.readline(_MAX_LINE_BYTES):
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])
                elif line.startswith(b":"):
                    yield None
        except (OSError, http.client.HTTPException, ValueError) as exc:
            raise NotRunning(f"the peer hung up: {exc}", hint="is it stopping?") from exc
        finally:
            connection.close()

    def _ask(self, method: str, route: str, fields: Mapping[str, Any] | None) -> dict[str, Any]:
        body = json.dumps(fields).encode("utf-8") if fields is not None else None
        try:
            if self.path is not None:
                status, data = self._over_socket(self.path, method, route, body)
            else:
                status, data = self._over_tcp(method, route, body)
        except TimeoutError as exc:
            raise NotRunning(
                f"the peer does not answer within {self._timeout_s:g} s",
                hint="is its process stopped? its log may say more",
            ) from exc
        except (OSError, BadAnswer) as exc:
            raise NotRunning(f"the peer hung up: {exc}", hint="is it stopping?") from exc
        return _read(status, data)

    def _over_socket(
        self, path: Path, method: str, route: str, body: bytes | None
    ) -> tuple[int, bytes]:
        _check_own(path, "socket")
        try:
            return exchange(
                path,
                method,
                _target(route),
                body,
                timeout_s=self._timeout_s,
                max_bytes=_MAX_ANSWER_BYTES,
            )
        except (FileNotFoundError, ConnectionRefusedError) as exc:
            raise self._not_running() from exc

    def _over_tcp(self, method: str, route: str, body: bytes | None) -> tuple[int, bytes]:
        import http.client

        connection = self._connection(self._timeout_s)
        try:
            response = self._send(connection, method, route, body)
            return response.status, response.read(_MAX_ANSWER_BYTES)
        except http.client.HTTPException as exc:
            raise BadAnswer(str(exc)) from exc
        finally:
            connection.close()

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        import http.client

        if self._address is not None:
            host, port = self._address
            return http.client.HTTPConnection(host, port, timeout=timeout_s)
        assert self.path is not None
        connection = http.client.HTTPConnection("localhost", timeout=timeout_s)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(timeout_s)
        return connection

    def _send(
        self, connection: http.client.HTTPConnection, method: str, route: str, body: bytes | None
    ) -> http.client.HTTPResponse:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self._address is not None:
            headers["Authorization"] = f"Bearer {self._token()}"
        else:
            assert self.path is not None
            _check_own(self.path, "socket")
        try:
            if self.path is not None:
                connection.sock.connect(str(self.path))
            else:
                connection.connect()
        except (FileNotFoundError, ConnectionRefusedError) as exc:
            raise self._not_running() from exc
        connection.request(method, _target(route), body, headers)
        return connection.getresponse()

    def _token(self) -> str:
        if self._token_file is None:
            raise ConfigError("a URL needs a token", hint="name the peer's token file")
        _check_own(self._token_file, "token file")
        try:
            return self._token_file.read_text("ascii")[:_MAX_TOKEN_BYTES].strip()
        except FileNotFoundError as exc:
            raise self._not_running() from exc

    def _not_running(self) -> NotRunning:
        where = self.path if self.path is not None else "http://{}:{}/".format(*self._address or ())
        return NotRunning(
            f"no peer is running (nothing answers on {where})", hint="start one: fogp2p up"
        )


def _target(route: str) -> str:
    if _PLAIN_ROUTE.fullmatch(route) is None:
        from urllib.parse import quote

        route = quote(route, safe="/?&=,.%")
    return f"/api/v1/{route}"


def _loopback(url: str) -> tuple[str, int]:
    """Only our own machine gets the token, which would travel in clear. Raises ConfigError."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.hostname not in ("127.0.0.1", "::1", "localhost") or port is None:
        raise ConfigError(f"{url} is not on this machine", hint="http://127.0.0.1:7461/")
    return parts.hostname, port


def _check_own(path: Path, what: str) -> None:
    """Raises UntrustedFile unless `path`, if it is there, is ours alone."""
    try:
        found = path.lstat()
    except OSError:
        return  # connecting or reading says more
    fits = stat.S_ISSOCK(found.st_mode) if what == "socket" else stat.S_ISREG(found.st_mode)
    if not fits or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise UntrustedFile(
            f"the {what} {path} is not yours alone",
            hint="somebody else may have put it there; look at its owner and rights (0600)",
        )


def _read(status: int, data: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(data)
        if status < 400 or answer.get("schema") != "problem/1":
            return dict(answer)
        raise PeerSaid(
            answer["detail"],
            code=answer["code"],
            status=status,
            hint=answer["hint"],
            retry_after_s=answer["retry_after_s"],
        )
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise PeerSaid(
            f"the peer answered {status} without JSON", code="FOG-API-003", status=status
        ) from exc
