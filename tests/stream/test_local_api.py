"""The API on a unix socket, and its client: events with resume and gaps, doors, stopping."""

from __future__ import annotations

import json
import os
import resource
import socket
import stat
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from fogp2p import client as client_module
from fogp2p.api import Context, page_routes, serve_context
from fogp2p.api import connection as connection_module
from fogp2p.api.config import BEHIND_S, HEARTBEAT_S, MAX_REQUESTS, MAX_SUBSCRIBERS
from fogp2p.api.events import EventStream, Feed, Subscribers, TooSlow
from fogp2p.api.front import CSP
from fogp2p.client import Client, NotRunning, PeerSaid, UntrustedFile
from fogp2p.config import Config, Loaded
from fogp2p.environment import DiskError, real_environment
from fogp2p.errors import ConfigError
from fogp2p.eventlog import EventLog
from fogp2p.node import NodeStatus
from fogp2p.testing import sim_environment
from fogp2p.testing.api import ADA, Doors, StandInNode, ask


@asynccontextmanager
async def _serving(
    run: Path, *, tcp: str = "", node: StandInNode | None = None
) -> AsyncIterator[Context]:
    node = node or StandInNode(real_environment())
    config = replace(Config(), api=replace(Config().api, tcp=tcp))
    context = Context(node, Loaded(config, dict.fromkeys(dict(config.items()), "default")))
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_context, context, run / "api.sock")
        yield context
        node.stop()


def _feed(log: EventLog, since: int | None, *types: str) -> Feed:
    return Feed(log, sim_environment(1, "feed").clock, since, types)


async def test_a_feed_replays_then_follows(autojump_clock: trio.testing.MockClock) -> None:
    log = EventLog(sim_environment(1, "log").clock)
    for number in range(3):
        log.record("peer.connected" if number != 1 else "service.changed", {"n": number})
    assert [each["id"] for each in await _feed(log, 0).next()] == [1, 2, 3]
    assert [each["id"] for each in await _feed(log, 1, "peer.").next()] == [3]
    fresh = _feed(log, None)
    with trio.move_on_after(1) as nothing:
        await fresh.next()
    assert nothing.cancelled_caught
    log.record("peer.disconnected")
    (event,) = await fresh.next()
    assert (event["id"], event["type"], event["v"], event["data"]) == (
        4,
        "peer.disconnected",
        1,
        {},
    )
    assert event["at"].endswith("Z") and event["at"][10] == "T"


async def test_what_is_gone_is_said(autojump_clock: trio.testing.MockClock) -> None:
    log = EventLog(sim_environment(1, "log").clock, kept=4)
    for _ in range(10):
        log.record("peer.connected")
    gap, *rest = await _feed(log, 0, "service.").next()
    assert (gap["type"], gap["id"], gap["data"]) == ("gap", 6, {"first": 1, "last": 6})
    assert rest == []
    # A number from before a restart: everything is new.
    gap, *_ = await _feed(log, 999).next()
    assert gap["data"] == {"first": 1, "last": 10}


async def test_a_reader_that_never_catches_up_is_told_to_leave(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log = EventLog(sim_environment(1, "log").clock, kept=200)
    feed = _feed(log, 0)
    with pytest.raises(TooSlow):
        for _ in range(100):
            for _ in range(500):
                log.record("peer.connected")
            await trio.sleep(BEHIND_S / 10)
            await feed.next()
    assert trio.current_time() >= BEHIND_S
    # The same losses cost nobody anything who catches up in between.
    feed = _feed(log, None)
    for _ in range(30):
        for _ in range(500):
            log.record("peer.connected")
        while feed.last < log.last:
            await feed.next()
        await trio.sleep(BEHIND_S / 10)


async def test_silence_is_broken_by_signs_of_life_that_move_the_number_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log = EventLog(sim_environment(1, "log").clock)
    stopping = trio.Event()
    stream = EventStream(_feed(log, None, "service."), Subscribers(), stopping)
    sent: list[bytes] = []

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream, {}, trio.sleep_forever, send)
        await trio.sleep(1)
        log.record("peer.connected")  # not wanted
        await trio.sleep(2.5 * HEARTBEAT_S)
        stopping.set()
    assert sent[1] == b"retry: 1000\n\n"
    assert sent[2:5] == [b": still here\nid: 1\n\n"] * 3 and sent[-1] == b""


async def test_streams_are_bounded_and_counted() -> None:
    doors = Doors(sim_environment(1, "api"))
    doors.context.subscribers.count = MAX_SUBSCRIBERS
    answer = await ask(doors.socket, "GET", "/api/v1/events")
    assert (answer.status, answer.json["code"]) == (503, "FOG-API-013")
    assert answer.headers["retry-after"] == "1"


async def test_the_client_follows_events_across_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_RECONNECT_S", 0.01)
    got: list[dict[str, Any]] = []
    some = [trio.Event() for _ in range(4)]
    token = trio.lowlevel.current_trio_token()

    def follow() -> None:
        for event in Client(tmp_path / "api.sock").events(since=0, types=["peer.", "x"]):
            got.append(event)
            token.run_sync_soon(some[len(got) - 1].set)
            if len(got) == 4:
                return

    node = StandInNode(real_environment())
    async with trio.open_nursery() as nursery:
        async with _serving(tmp_path, node=node):
            nursery.start_soon(trio.to_thread.run_sync, follow)
            for number in range(2):
                node.event_log.record("peer.connected", {"n": number})
                with trio.fail_after(10):
                    await some[number].wait()
        node.event_log.record("peer.disconnected", {"n": 2})
        node.stopping = trio.Event()
        with trio.fail_after(10):
            async with _serving(tmp_path, node=node):
                await some[2].wait()
        # A new process counts from 1 again: the client hears of a gap.
        with trio.fail_after(10):
            async with _serving(tmp_path):
                await some[3].wait()
    assert [each["data"].get("n") for each in got[:3]] == [0, 1, 2]
    assert got[3]["type"] == "gap"


async def test_the_socket_is_its_owners_alone_from_its_first_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that waits for the API to come back looks at any moment."""
    path = tmp_path / "api.sock"
    seen: list[int] = []
    honest = Path.chmod

    def look(self: Path, mode: int) -> None:
        if self == path:
            seen.append(stat.S_IMODE(path.stat().st_mode))
        honest(self, mode)

    monkeypatch.setattr(Path, "chmod", look)
    before = os.umask(0)
    try:
        async with _serving(tmp_path):
            assert seen == [0o600]
    finally:
        os.umask(before)


async def test_the_client_asks_by_socket_and_by_token(tmp_path: Path) -> None:
    async with _serving(tmp_path, tcp="127.0.0.1:0,[::1]:0") as context:
        for where in (tmp_path / "api.sock", f"unix://{tmp_path}/api.sock", context.url):
            client = Client(where, token_file=tmp_path / "api.token")
            call = trio.to_thread.run_sync
            assert (await call(client.get, "status"))["peer_id"] == str(ADA)
            pinged = await call(client.post, f"peers/{ADA}/ping", {"count": 2})
            assert pinged["round_trips_s"] == [0.001, 0.001]
            made = await call(client.post, "tokens", {"scope": "read"})
            assert (await call(client.delete, f"tokens/{made['id']}"))["id"] == made["id"]
            with pytest.raises(PeerSaid) as caught:
                await call(client.patch, "config", {"set": {}})
            assert (caught.value.status, caught.value.code) == (404, "FOG-API-004")
        (tmp_path / "api.token").write_text("wrong")
        with pytest.raises(PeerSaid) as caught:
            await trio.to_thread.run_sync(client.get, "status")
        assert (caught.value.status, caught.value.code) == (401, "FOG-API-008")
        (tmp_path / "api.token").chmod(0o640)
        with pytest.raises(UntrustedFile, match="not yours alone"):
            await trio.to_thread.run_sync(client.get, "status")
    with pytest.raises(NotRunning):
        await trio.to_thread.run_sync(Client(tmp_path / "api.sock").get, "status")


def test_the_client_trusts_no_other_socket_and_no_other_machine(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o666)
        with pytest.raises(UntrustedFile, match="socket"):
            Client(path).get("status")
        path.chmod(0o600)
        link = tmp_path / "link"
        link.symlink_to(path)
        with pytest.raises(UntrustedFile):
            Client(link).get("status")
    for wrong in (
        "http://192.168.1.7:7461/",
        "http://evil.com:7461/",
        "https://127.0.0.1:1/",
        "http://127.0.0.1/",
        "http://127.0.0.1:x/",
    ):
        with pytest.raises(ConfigError):
            Client(wrong, token_file=path)
    with pytest.raises(ConfigError, match="token"):
        Client("http://127.0.0.1:1/").get("status")


def test_the_client_survives_what_is_no_peer(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    for reply, kind in (
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{", PeerSaid),
        (b"HTTP/1.1 503 X\r\ncontent-length: 2\r\n\r\n[]", PeerSaid),
        (b"HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n", PeerSaid),
        (b"garbage\r\n\r\n", NotRunning),
        (b"", NotRunning),
    ):
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            path.chmod(0o600)
            listener.listen(1)

            def serve(listener: socket.socket = listener, reply: bytes = reply) -> None:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(reply)

            thread = threading.Thread(target=serve)
            thread.start()
            with pytest.raises(kind):
                Client(path, timeout_s=5).get("status")
            thread.join()


async def test_stopping_answers_what_is_under_way_and_waits_for_nobody(tmp_path: Path) -> None:
    node = StandInNode(real_environment())
    node.slow = True
    async with _serving(tmp_path, node=node):
        streams = [await trio.open_unix_socket(tmp_path / "api.sock") for _ in range(3)]
        events, ping, _ = streams
        await events.send_all(b"GET /api/v1/events?since=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await events.receive_some(15)).startswith(b"HTTP/1.1 200")
        body = json.dumps({"timeout_s": 60}).encode()
        head = f"POST /api/v1/peers/{ADA}/ping HTTP/1.1\r\nHost: localhost\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        await ping.send_all(head.encode() + body)
        for _ in range(400):  # far more than a socket's buffers hold, read by nobody
            node.event_log.record("peer.connected", {"padding": "x" * 10_000})
        began = trio.current_time()
    assert trio.current_time() - began < 5
    for stream in streams:
        await stream.aclose()
    assert not (tmp_path / "api.sock").exists()


async def test_the_busy_turn_away_without_parsing_and_answer_the_watchers(
    tmp_path: Path,
) -> None:
    async with _serving(tmp_path) as context:
        host = "Host: localhost\r\n\r\n"
        async with await trio.open_unix_socket(tmp_path / "api.sock") as stream:

            async def status(line: str, rest: str = host) -> bytes:
                await stream.send_all(f"{line} HTTP/1.1\r\n{rest}".encode())
                got = b""
                with trio.fail_after(5):
                    while not got.endswith(b"}"):
                        got += await stream.receive_some(65536)
                return got

            context.load.busy = MAX_REQUESTS
            got = await status("GET /api/v1/status")
            assert got.startswith(b"HTTP/1.1 503 ") and b"retry-after: 1" in got
            assert b"FOG-API-013" in got and b"nosniff" in got
            assert (await status("GET /healthz")).startswith(b"HTTP/1.1 200 ")
            body = "Host: localhost\r\nContent-Length: 0\r\n\r\n"
            assert (await status("POST /api/v1/stop", body)).startswith(b"HTTP/1.1 503 ")
            context.load.busy = 0
            assert (await status("GET /api/v1/status")).startswith(b"HTTP/1.1 200 ")
        text = context.metrics.text().decode()
        assert 'method="GET",route="other",status="503"} 1.0' in text


async def test_a_crash_is_a_500_that_says_nothing_of_the_inside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(StandInNode):
        def status(self) -> NodeStatus:
            raise ZeroDivisionError("secret detail")

    async with _serving(tmp_path, node=Broken(real_environment())) as context:
        client = Client(tmp_path / "api.sock")
        for _ in range(3):
            with pytest.raises(PeerSaid) as caught:
                await trio.to_thread.run_sync(client.get, "status")
            assert (caught.value.status, caught.value.code) == (500, "FOG-API-018")
            assert "secret" not in str(caught.value) + caught.value.hint
        assert (await trio.to_thread.run_sync(client.get, "peers"))["peers"]
    assert context.load.busy == 0
    assert "secret detail" in caplog.text and "Traceback" in caplog.text


async def test_a_thousand_programs_keep_their_connections(tmp_path: Path) -> None:
    users = 1_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * users + 300:
        pytest.skip(f"this system allows {hard} open files; both ends of 1,000 need more")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * users + 300), hard))
    statuses: list[bytes] = []
    request = b"GET /api/v1/peers HTTP/1.1\r\nHost: localhost\r\n\r\n"

    async def use(stream: trio.SocketStream) -> None:
        async with stream:
            for _ in range(2):
                await stream.send_all(request)
                got = b""
                while not got.endswith(b"}]}"):
                    got += await stream.receive_some(65536)
                statuses.append(got[9:12])

    try:
        async with _serving(tmp_path):
            kept = [await trio.open_unix_socket(tmp_path / "api.sock") for _ in range(users)]
            with trio.fail_after(60):
                async with trio.open_nursery() as nursery:
                    for stream in kept:
                        nursery.start_soon(use, stream)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert statuses == [b"200"] * (2 * users)


async def test_connections_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "fogp2p.api.server.Connections", partial(connection_module.Connections, limit=2)
    )
    ask_once = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with _serving(tmp_path):
        kept = [await trio.open_unix_socket(tmp_path / "api.sock") for _ in range(2)]
        for stream in kept:
            await stream.send_all(ask_once)
            assert (await stream.receive_some(12)) == b"HTTP/1.1 200"
        async with await trio.open_unix_socket(tmp_path / "api.sock") as refused:
            with trio.fail_after(5):
                got = await refused.receive_some(1000)
        assert got.startswith(b"HTTP/1.1 503 ") and b"retry-after: 1" in got
        for stream in kept:
            await stream.aclose()
        with trio.fail_after(5):
            while True:
                async with await trio.open_unix_socket(tmp_path / "api.sock") as again:
                    await again.send_all(ask_once)
                    if await again.receive_some(12) == b"HTTP/1.1 200":
                        break


async def test_doors_that_cannot_be_opened_say_why(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1"), _Unwrapped():
            async with _serving(tmp_path, tcp=f"127.0.0.1:{port}"):
                pass
    assert not (tmp_path / "api.sock").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="cannot make the socket"), _Unwrapped():
        async with _serving(tmp_path / "file"):
            pass


class _Unwrapped:
    """Takes the single exception out of a nursery's group."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, exc: BaseException | None, trace: Any) -> None:
        while isinstance(exc, BaseExceptionGroup) and len(exc.exceptions) == 1:
            exc = exc.exceptions[0]
        if exc is not None:
            raise exc


async def test_a_page_is_served_from_a_table_of_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "page"
    (folder / "vendor").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>peer</title>")
    (folder / "app.js").write_text("export {};")
    (folder / "vendor" / "x.css").write_text("a {}")
    (folder / "__init__.py").write_text("secret = 1")
    from fogp2p.api.app import make_app
    from fogp2p.api.front import Front
    from fogp2p.api.gate import Door
    from fogp2p.api.routes import all_operations

    context = Doors(sim_environment(1, "api")).context
    made = Doors(sim_environment(2, "api"))
    app = make_app(all_operations(made.context), *page_routes(folder))
    door = Front(app, Door("tcp", ("127.0.0.1:1",), False), context)
    for path, kind in (
        ("/", "text/html; charset=utf-8"),
        ("/static/app.js", "text/javascript; charset=utf-8"),
        ("/static/vendor/x.css", "text/css; charset=utf-8"),
    ):
        answer = await ask(door, "GET", path, host="127.0.0.1:1")
        assert (answer.status, answer.headers["content-type"]) == (200, kind)
        assert answer.headers["content-security-policy"] == CSP
        assert answer.headers["x-content-type-options"] == "nosniff"
    for path in ("/static/__init__.py", "/static/../index.html", "/static/", "/static/%2e%2e/x"):
        assert (await ask(door, "GET", path, host="127.0.0.1:1")).status == 404
    assert (await ask(door, "POST", "/", host="127.0.0.1:1", body={})).status in (404, 405)
    (folder / "evil.exe").write_bytes(b"MZ")
    with pytest.raises(ValueError, match="no kind that is served"):
        page_routes(folder)
    os.unlink(folder / "evil.exe")
    os.unlink(folder / "index.html")
    with pytest.raises(ValueError, match=r"index\.html"):
        page_routes(folder)


async def test_an_api_that_is_cancelled_leaves_at_once_in_spite_of_slow_readers(
    tmp_path: Path,
) -> None:
    node = StandInNode(real_environment())
    loaded = Loaded(Config(), dict.fromkeys(dict(Config().items()), "default"))
    for _ in range(2):  # as when the supervisor restarts it
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_context, Context(node, loaded), tmp_path / "api.sock")
            async with await trio.open_unix_socket(tmp_path / "api.sock") as slow:
                await slow.send_all(
                    b"GET /api/v1/events?since=0 HTTP/1.1\r\nHost: localhost\r\n\r\n"
                )
                assert (await slow.receive_some(12)) == b"HTTP/1.1 200"
                for _ in range(400):
                    node.event_log.record("peer.connected", {"padding": "x" * 10_000})
                await trio.testing.wait_all_tasks_blocked()
                began = trio.current_time()
                nursery.cancel_scope.cancel()
        assert trio.current_time() - began < 3
        assert not (tmp_path / "api.sock").exists()
