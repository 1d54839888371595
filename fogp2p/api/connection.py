"""Connections: hypercorn's HTTP/1.1 and WebSocket, held within bounds.

What hypercorn 0.18 leaves open, and is closed here:

* it accepts without end, and any exception of one connection ends the server: both are caught;
* a client that reads nothing blocks its sender for ever, shielded from cancellation: every write
  has a deadline, and stopping closes what is still writing;
* HTTP/2 is switched on by an `Upgrade: h2c` header or a preface, with other limits: it stays off;
* WebSocket compression cannot be refused, and a small frame may unpack to a large one: the
  extension is never offered;
* a handshake it refuses leaves its connection open without a timer, and one with a byte outside
  ASCII, or followed at once by data, ends in an exception: they are sorted out before;
* an answer before the whole body came (413, 503) waits for a queue that nobody empties: the rest
  is drained for a moment, then the connection is closed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any

import h11
import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.h11 import H11WSConnection as _Upgraded
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, H11SendableEvent
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fogp2p.supervision import contained

from .config import (
    GRACE_S,
    KEEP_ALIVE_S,
    LINGER_BYTES,
    LINGER_S,
    MAX_CONNECTIONS,
    MAX_FRAME_BYTES,
    MAX_HEAD_BYTES,
    RETRY_AFTER_S,
    SEND_TIMEOUT_S,
)

__all__ = ["Connections"]

_LOG = logging.getLogger(__name__)
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"content-length: 0\r\nconnection: close\r\nretry-after: %d\r\n\r\n" % RETRY_AFTER_S
)
# Asked by those who watch over the process, most of all when it is busy.
_ALWAYS = (b"GET /healthz ", b"GET /readyz ")
# With one of these a request is more than its head, or its answer more than an answer.
_NOT_PLAIN = (b"\ncontent-length", b"\ntransfer-encoding", b"\nupgrade", b"\nconnection")
_READ_BYTES = 65_536


class Connections:
    """All connections of one peer's API, through whatever door."""

    def __init__(self, turn_away: Callable[[], bytes], *, limit: int = MAX_CONNECTIONS) -> None:
        """`turn_away`: a whole 503 while the API is too busy for another request, else nothing."""
        self._turn_away = turn_away
        self._limit = limit
        self._open: set[_Patient] = set()
        self._empty = trio.Event()
        self._settings = _settings()
        self._context = WorkerContext(None)

    @property
    def count(self) -> int:
        """How many are open."""
        return len(self._open)

    async def serve(
        self,
        doors: list[tuple[trio.SocketListener, ASGIApp]],
        stopping: trio.Event,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept and answer until `stopping`; then finish what is under way, within a second."""
        async with trio.open_nursery() as handling:
            try:
                await self._until_stopped(doors, stopping, handling, task_status)
            finally:
                # Closing wakes also those that write to a client which does not read.
                for stream in list(self._open):
                    stream.socket.close()
                handling.cancel_scope.cancel()

    async def _until_stopped(
        self,
        doors: list[tuple[trio.SocketListener, ASGIApp]],
        stopping: trio.Event,
        handling: trio.Nursery,
        task_status: trio.TaskStatus[None],
    ) -> None:
        async with trio.open_nursery() as accepting:
            for listener, app in doors:
                accepting.start_soon(self._accept, listener, app, handling)
            task_status.started()
            await stopping.wait()
            accepting.cancel_scope.cancel()
        await self._context.terminated.set()
        for stream in [each for each in self._open if each.idle]:
            await trio.aclose_forcefully(stream)
        with trio.move_on_after(GRACE_S):
            if self._open:
                await self._empty.wait()

    async def _accept(
        self, listener: trio.SocketListener, app: ASGIApp, handling: trio.Nursery
    ) -> None:
        async def handle(stream: trio.SocketStream) -> None:
            await self._handle(stream, app)

        await trio.serve_listeners(handle, [listener], handler_nursery=handling)

    async def _handle(self, socket: trio.SocketStream, app: ASGIApp) -> None:
        stream = _Patient(socket)
        if len(self._open) >= self._limit:
            with trio.move_on_after(LINGER_S):
                await _refuse(stream)
            await trio.aclose_forcefully(stream)
            return
        self._open.add(stream)
        try:
            server = _Server(_Adapter(app), self._settings, self._context, stream, self._turn_away)
            failure = await contained(server.run)
            if failure is not None:
                _LOG.error("connection_failed", exc_info=failure)
        finally:
            self._open.discard(stream)
            if not self._open:
                self._empty.set()
                self._empty = trio.Event()
            await trio.aclose_forcefully(stream)


async def _refuse(stream: _Patient) -> None:
    try:
        await stream.send_all(_FULL)
        await stream.send_eof()
        # Closing with unread bytes would take the answer back.
        while await stream.receive_some(4096):
            pass
    except trio.BrokenResourceError:
        return


def _settings() -> HypercornConfig:
    settings = HypercornConfig()
    settings.accesslog = None
    settings.errorlog = logging.getLogger(f"{__name__}.requests")
    settings.graceful_timeout = GRACE_S
    settings.keep_alive_timeout = KEEP_ALIVE_S
    # A kept connection may last as long as the program that keeps it.
    settings.keep_alive_max_requests = 10**9
    settings.h11_max_incomplete_size = MAX_HEAD_BYTES
    settings.websocket_max_message_size = MAX_FRAME_BYTES
    settings.include_server_header = False
    return settings


class _Patient(trio.abc.HalfCloseableStream):
    """A socket whose every write has a deadline; past it the connection is broken."""

    def __init__(self, inner: trio.SocketStream) -> None:
        self.idle = True
        """Whether no request is under way."""
        self.socket = inner.socket
        self._inner = inner

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with trio.move_on_after(SEND_TIMEOUT_S) as waiting:
            await self._inner.send_all(data)
        if waiting.cancelled_caught:
            await trio.aclose_forcefully(self._inner)
            raise trio.BrokenResourceError("the client does not read")

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._inner.receive_some(max_bytes))

    async def send_eof(self) -> None:
        await self._inner.send_eof()

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Server(TCPServer):
    """One connection, HTTP/1.1 only."""

    def __init__(
        self,
        app: Any,
        settings: HypercornConfig,
        context: WorkerContext,
        stream: _Patient,
        turn_away: Callable[[], bytes],
    ) -> None:
        self._turn_away = turn_away
        self._patient = stream
        self._patience = trio.CancelScope()
        stand_in: Any = stream  # hypercorn names a TLS stream and uses what any stream has
        super().__init__(app, settings, context, ConnectionState({}), stand_in)

    async def run(self) -> None:
        try:
            async with TaskGroup() as tasks:
                self._task_group = tasks
                protocol: Any = _Http(
                    self.app,
                    self.config,
                    self.context,
                    tasks,
                    ConnectionState({}),
                    False,
                    None,
                    None,
                    self.protocol_send,
                )
                self.protocol = protocol
                with self._patience:
                    self._wait_for_request(True)
                    await self._read_data()
                if self._patience.cancelled_caught:
                    await protocol.handle(Closed())
        except OSError:
            return
        finally:
            await self._close()

    async def protocol_send(self, event: Event) -> None:
        # A deadline that moves; hypercorn starts and cancels a task for each request instead.
        if isinstance(event, Updated):
            self._wait_for_request(event.idle)
        else:
            await super().protocol_send(event)

    def _wait_for_request(self, idle: bool) -> None:
        self._patient.idle = idle
        keep = self.config.keep_alive_timeout
        self._patience.deadline = trio.current_time() + keep if idle else math.inf

    async def _read_data(self) -> None:
        while True:
            try:
                data = bytes(await self.stream.receive_some(_READ_BYTES))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                break
            if self._begins_plain_get(data) and (refusal := self._turn_away()):
                # Without parsing: turning away must cost far less than answering, or the busy
                # would do nothing else.
                await self.protocol_send(RawData(refusal))
                continue
            await self.protocol.handle(RawData(data))
            if not data:
                break
        await self.protocol.handle(Closed())

    def _begins_plain_get(self, data: bytes) -> bool:
        """Whether `data` is one whole request without a body, and nothing is under way."""
        http: Any = self.protocol
        idle = http.stream is None and isinstance(http.connection, h11.Connection)
        return (
            idle
            and data.startswith(b"GET ")
            and not data.startswith(_ALWAYS)
            and data.find(b"\r\n\r\n") == len(data) - 4
            and not http.connection.trailing_data[0]
            and not any(name in data.lower() for name in _NOT_PLAIN)
        )


class _Http(H11Protocol):
    _head = b""

    async def _send_h11_event(self, event: H11SendableEvent) -> None:
        """Head and first bytes of an answer in one write: half the system calls on both sides."""
        if self.connection.their_state is h11.ERROR or isinstance(self.connection, _Upgraded):
            await super()._send_h11_event(event)
            return
        data, self._head = self._head + (self.connection.send(event) or b""), b""
        if isinstance(event, h11.Response):
            self._head = data
        elif data:
            await self.send(RawData(data))

    async def _check_protocol(self, event: h11.Request) -> None:
        """Where hypercorn would change to HTTP/2."""

    async def handle(self, event: Event) -> None:
        early = isinstance(event, RawData) and isinstance(self.stream, WSStream)
        if early and not self.stream.handshake.accepted:  # type: ignore[union-attr]
            await self._hang_up()
            return
        await super().handle(event)

    async def _create_stream(self, request: h11.Request) -> None:
        if any(name == b"upgrade" for name, _ in request.headers):
            # Who speaks WebSocket waits for the 101; what follows a request at once is another.
            ahead = bool(self.connection.trailing_data[0])
            request = _plain_upgrade(request, allowed=not ahead)
            ending: Any = _EndsConnection(self.app, self._hang_up)
            self.app = ending
        await super()._create_stream(request)

    async def _hang_up(self) -> None:
        await self.send(Closed())


def _plain_upgrade(request: h11.Request, *, allowed: bool) -> h11.Request:
    """Without extensions; and without the upgrade when it is none we could make."""
    headers = list(request.headers)
    dropped = {b"sec-websocket-extensions"}
    names = [name for name, _ in headers]
    whole = (
        allowed
        and request.method == b"GET"
        and request.http_version == b"1.1"
        and names.count(b"sec-websocket-key") == 1
        and (b"sec-websocket-version", b"13") in headers
        and all(value.isascii() for name, value in headers if name in _READ_AS_ASCII)
    )
    if not whole:
        dropped |= {b"upgrade"}
    kept = [(name, value) for name, value in headers if name not in dropped]
    return h11.Request(
        method=request.method,
        target=request.target,
        headers=kept,
        http_version=request.http_version,
    )


_READ_AS_ASCII = frozenset({b"connection", b"upgrade", b"sec-websocket-protocol"})


class _EndsConnection:
    """After a WebSocket's application nothing follows on its connection, however it ended."""

    def __init__(self, app: Any, hang_up: Callable[[], Awaitable[None]]) -> None:
        self._app = app
        self._hang_up = hang_up

    async def __call__(self, scope: Any, *others: Any) -> None:
        try:
            await self._app(scope, *others)
        finally:
            if scope["type"] == "websocket":
                await self._hang_up()


class _Adapter:
    """Hypercorn's call of an application, and the draining of bodies that nobody reads."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any, *others: Any) -> None:
        if scope["type"] == "http" and _has_body(scope):
            exchange = _Drained(receive, send)
            receive, send = exchange.receive, exchange.send
        await self._app(scope, receive, send)


def _has_body(scope: Scope) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])


class _Drained:
    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._whole = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._whole = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if self._whole or not last:
            await self._send(message)
            return
        await self._send({**message, "more_body": True})
        with trio.move_on_after(LINGER_S):
            await self._drain(LINGER_BYTES)
        end = {"type": "http.response.body", "body": b"", "more_body": False}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._drain, None)
            await self._send(end)
            nursery.cancel_scope.cancel()

    async def _drain(self, most: int | None) -> None:
        while not self._whole and (most is None or most > 0):
            message = await self.receive()
            if most is not None:
                most -= len(message.get("body", b""))
