"""Attacks 84-93: web pages in the owner's browser, other users of the machine, abusive clients."""

from __future__ import annotations

import json
import os
import stat
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, TextMessage

from fogp2p.api import Context, serve_context
from fogp2p.api import app as app_module
from fogp2p.api import connection as connection_module
from fogp2p.api import websocket as websocket_module
from fogp2p.api.config import BAD_TOKENS_PER_MINUTE, MAX_DELAYED, MAX_SUBSCRIBERS
from fogp2p.api.front import CSP
from fogp2p.config import Config, Loaded, load_config
from fogp2p.environment import real_environment
from fogp2p.errors import ConfigError
from fogp2p.testing import sim_environment
from fogp2p.testing.api import ADA, Answer, Doors, StandInNode, ask

HOST = "127.0.0.1:7461"
UPGRADE = (
    "GET /api/v1/ws HTTP/1.1",
    "Upgrade: websocket",
    "Connection: upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


@pytest.fixture
async def doors() -> Doors:
    return Doors(sim_environment(1, "api"))


class Running:
    """The API on real sockets."""

    def __init__(self, context: Context, run: Path) -> None:
        self.context = context
        self.run = run
        self.host = context.url.removeprefix("http://").rstrip("/")
        self.port = int(self.host.rpartition(":")[2])
        self.token = (run / "api.token").read_text("ascii").strip()

    async def send(self, data: bytes, *, more: bytes = b"", times: int = 0) -> bytes:
        """What comes back for `data` and then `times` the bytes `more`, until the end."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with stream, trio.open_nursery() as nursery:

            async def write() -> None:
                try:
                    await stream.send_all(data)
                    for _ in range(times):
                        await stream.send_all(more)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return

            nursery.start_soon(write)
            got = b""
            with trio.fail_after(10):
                try:
                    while part := await stream.receive_some(65536):
                        got += part
                except trio.BrokenResourceError:
                    pass
            nursery.cancel_scope.cancel()
        return got

    def head(self, line: str, *headers: str) -> bytes:
        """A request's head, with our own Host and token."""
        lines = [line, f"Host: {self.host}", f"Authorization: Bearer {self.token}", *headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    async def first_event(
        self, path: str, header: str, first: dict[str, Any]
    ) -> dict[str, Any] | int:
        """What a WebSocket says to the first frame, or the code that it is closed with."""
        head = [f"GET {path} HTTP/1.1", f"Host: {self.host}", *UPGRADE[1:], header]
        side = Connection(ConnectionType.CLIENT)
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with stream:
            await stream.send_all(("\r\n".join(head) + "\r\n\r\n").encode())
            got = b""
            with trio.fail_after(5):
                while b"\r\n\r\n" not in got:
                    got += await stream.receive_some(1000)
                assert got.startswith(b"HTTP/1.1 101 ")
                await stream.send_all(side.send(TextMessage(json.dumps(first))))
                data = got.partition(b"\r\n\r\n")[2]
                while True:
                    if data:
                        side.receive_data(data)
                    for event in side.events():
                        if isinstance(event, CloseConnection):
                            return int(event.code)
                        assert isinstance(event, TextMessage)
                        return dict(json.loads(event.data))
                    data = await stream.receive_some(65536)

    async def lives(self) -> None:
        """An honest client is answered."""
        got = await self.send(self.head("GET /api/v1/status HTTP/1.1", "Connection: close"))
        assert got.startswith(b"HTTP/1.1 200 ")


@asynccontextmanager
async def _running(tmp_path: Path) -> AsyncIterator[Running]:
    environment = real_environment()
    config = replace(Config(), api=replace(Config().api, tcp="127.0.0.1:0"))
    loaded = Loaded(config, dict.fromkeys(dict(config.items()), "default"))
    node = StandInNode(environment)
    context = Context(node, loaded)
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_context, context, tmp_path / "run" / "api.sock")
        yield Running(context, tmp_path / "run")
        node.stop()


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with _running(tmp_path) as found:
        yield found


def _no_cors(answer: Answer) -> None:
    assert not any(name.startswith("access-control-") for name in answer.headers)


WRONG_HOSTS = [
    "evil.com",
    "evil.com:7461",
    "127.0.0.1.evil.com",
    "127.0.0.1.evil.com:7461",
    "127.0.0.1",
    "127.0.0.1:80",
    "127.0.0.1:74610",
    "127.0.0.1:07461",
    "127.1:7461",
    "2130706433:7461",
    "0.0.0.0:7461",
    "0x7f000001:7461",
    "[::ffff:127.0.0.1]:7461",
    "[::1]",
    "::1:7461",
    "localhost",
    "localhost.:7461",
    "localhost:7461.evil.com",
    "localhost:7461, evil.com",
    "evil.com@127.0.0.1:7461",
    "user@localhost:7461",
    "127.0.0.1:7461 ",
    "\x00",
    " ",
    "",
]


@pytest.mark.attack(84)
@pytest.mark.parametrize("host", WRONG_HOSTS)
async def test_a_rebound_host_is_refused(doors: Doors, host: str) -> None:
    headers = [("authorization", f"Bearer {doors.token('admin')}")]
    for path in ("/api/v1/status", "/healthz", "/nothing", "/"):
        answer = await ask(doors.tcp, "GET", path, host=host, headers=headers)
        assert (answer.status, answer.json["code"]) == (403, "FOG-API-006")
        assert "[api] tcp" in answer.json["hint"] and HOST in answer.json["hint"]
    answer = await ask(doors.socket, "GET", "/api/v1/status", host=host)
    assert answer.status == (200 if host == "localhost" else 403)


@pytest.mark.attack(84)
async def test_our_own_names_are_answered_once_each(doors: Doors, running: Running) -> None:
    headers = [("authorization", f"Bearer {doors.token('read')}")]
    for host in (HOST, "localhost:7461", "LOCALHOST:7461", "[::1]:7461"):
        answer = await ask(doors.tcp, "GET", "/api/v1/status", host=host, headers=headers)
        assert answer.status == 200
    twice = [*headers, ("host", HOST)]
    assert (await ask(doors.tcp, "GET", "/", host=HOST, headers=twice)).status == 403
    for line, hosts in {
        "GET /api/v1/status HTTP/1.1": ("", "Host: a\r\nHost: b\r\n", "Host: evil.com\r\n"),
        "GET /api/v1/status HTTP/1.0": ("", "Host: evil.com\r\n"),
        f"GET http://{running.host}/api/v1/status HTTP/1.1": ("Host: evil.com\r\n",),
    }.items():
        for named in hosts:
            head = f"{line}\r\n{named}Connection: close\r\n"
            head += f"Authorization: Bearer {running.token}\r\n\r\n"
            got = await running.send(head.encode())
            assert got[9:12] in (b"400", b"403"), (line, named, got)


async def _login(doors: Doors) -> tuple[str, str]:
    """A browser's cookie and its CSRF value."""
    made = await ask(doors.socket, "POST", "/api/v1/sessions", body={})
    query = f"code={made.json['code']}".encode()
    entered = await ask(doors.tcp, "GET", "/login", host=HOST, query=query)
    assert (entered.status, entered.headers["location"]) == (303, "/")
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Path=/" in cookie
    again = await ask(doors.tcp, "GET", "/login", host=HOST, query=query)
    assert (again.status, again.json["code"]) == (403, "FOG-API-016")
    pair = cookie.partition(";")[0]
    own = await ask(
        doors.tcp, "GET", "/api/v1/sessions/current", host=HOST, headers=[("cookie", pair)]
    )
    return pair, own.json["csrf"]


@pytest.mark.attack(85)
async def test_a_page_cannot_make_the_browser_act(doors: Doors) -> None:
    pair, csrf = await _login(doors)
    cookie = ("cookie", f"other=1; {pair}")

    async def stop(*headers: tuple[str, str], body: Any = b"") -> Answer:
        return await ask(
            doors.tcp, "POST", "/api/v1/stop", host=HOST, headers=[cookie, *headers], body=body
        )

    proof = ("x-fog-csrf", csrf)
    for headers, code in (
        ((), "FOG-API-014"),
        ((("x-fog-csrf", "wrong"),), "FOG-API-014"),
        ((("x-fog-csrf", "\xff"),), "FOG-API-014"),
        ((proof, proof), "FOG-API-014"),
        ((proof, ("origin", "http://evil.com")), "FOG-API-007"),
        ((proof, ("origin", "null")), "FOG-API-007"),
        ((proof, ("origin", f"https://{HOST}")), "FOG-API-007"),
        ((proof, ("origin", "http://127.0.0.1:8000")), "FOG-API-007"),
        ((proof, ("origin", f"http://{HOST}"), ("origin", "http://evil.com")), "FOG-API-007"),
        ((proof, ("sec-fetch-site", "cross-site")), "FOG-API-007"),
        ((proof, ("sec-fetch-site", "same-site")), "FOG-API-007"),
    ):
        answer = await stop(*headers)
        assert (answer.status, answer.json["code"]) == (403, code), headers
        _no_cors(answer)
    # What a form can send is no JSON, even with everything else right.
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = await stop(proof, ("content-type", kind), body=b'{"a": 1}')
        assert (answer.status, answer.json["code"]) == (415, "FOG-API-011")
    # An image, a script, a frame: GET changes nothing, and is refused when it says whence it is.
    for path in ("/api/v1/stop", "/api/v1/tokens"):
        answer = await ask(
            doors.tcp,
            "GET",
            path,
            host=HOST,
            headers=[cookie, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")],
        )
        assert answer.status == 403
    assert (await ask(doors.tcp, "GET", "/api/v1/stop", host=HOST, headers=[cookie])).status == 405
    assert not doors.node.stopping.is_set()
    assert (await stop(proof, ("origin", f"http://{HOST}"), body={})).status == 202
    assert doors.node.stopping.is_set()


@pytest.mark.attack(85)
async def test_a_login_code_is_good_for_a_minute_and_sessions_can_be_ended(
    doors: Doors, autojump_clock: trio.testing.MockClock
) -> None:
    pair, _ = await _login(doors)
    made = await ask(doors.socket, "POST", "/api/v1/sessions", body={"scope": "read"})
    await trio.sleep(61)
    query = f"code={made.json['code']}".encode()
    assert (await ask(doors.tcp, "GET", "/login", host=HOST, query=query)).status == 403
    person = [("sec-fetch-mode", "navigate")]  # who is told by the page instead
    sent = await ask(doors.tcp, "GET", "/login", host=HOST, query=query, headers=person)
    assert (sent.status, sent.headers["location"]) == (303, "/")
    assert "set-cookie" not in sent.headers
    path, headers = "/api/v1/status", [("cookie", pair)]
    assert (await ask(doors.tcp, "GET", path, host=HOST, headers=headers)).status == 200
    assert (await ask(doors.socket, "DELETE", "/api/v1/sessions")).json["closed"] == 1
    assert (await ask(doors.tcp, "GET", path, host=HOST, headers=headers)).status == 401


@pytest.mark.attack(86)
@pytest.mark.parametrize("origin", ["http://evil.com", "null", "http://127.0.0.1:1", "file://"])
async def test_a_foreign_page_gets_no_websocket(running: Running, origin: str) -> None:
    got = await running.send(running.head(*UPGRADE, f"Origin: {origin}"))
    assert got.startswith(b"HTTP/1.1 403 ") and b"FOG-API-007" in got
    twice = (f"Origin: http://{running.host}", f"Origin: {origin}")
    assert (await running.send(running.head(*UPGRADE, *twice)))[9:12] == b"403"
    await running.lives()


@pytest.mark.attack(86)
async def test_a_websocket_takes_its_token_by_header_or_first_frame_only(
    running: Running,
) -> None:
    own = f"Origin: http://{running.host}"
    bearer = f"Authorization: Bearer {running.token}"
    running.context.node.event_log.record("peer.connected", {"peer_id": str(ADA)})
    for header, first in (
        (bearer, {"since": 0}),
        (own, {"since": 0, "token": running.token, "subscribe": ["peer."]}),
    ):
        event = await running.first_event("/api/v1/ws", header, first)
        assert isinstance(event, dict)
        assert (event["id"], event["type"], event["v"]) == (1, "peer.connected", 1)
    for query, first in (
        (f"?token={running.token}", {"since": 0}),
        ("", {"since": 0, "token": "x" * 43}),
        ("", {"since": 0}),
        ("", {"sinse": 0, "token": running.token}),
        ("", {"since": 0, "token": running.token, "subscribe": ["x" * 5000]}),
    ):
        closed = await running.first_event(f"/api/v1/ws{query}", own, first)
        assert closed in (1008, 1009)


@pytest.mark.attack(87)
async def test_no_answer_lets_another_origin_read_it(doors: Doors) -> None:
    token = ("authorization", f"Bearer {doors.token('admin')}")
    for origin in ("http://evil.com", "null", f"http://{HOST}"):
        for method in ("OPTIONS", "GET", "POST"):
            answer = await ask(
                doors.tcp,
                method,
                "/api/v1/tokens",
                host=HOST,
                headers=[
                    token,
                    ("origin", origin),
                    ("access-control-request-method", "POST"),
                    ("access-control-request-headers", "authorization"),
                    ("access-control-request-private-network", "true"),
                ],
                body={"scope": "admin"} if method == "POST" else b"",
            )
            _no_cors(answer)
            if origin != f"http://{HOST}":
                assert answer.status == 403
    assert (await ask(doors.tcp, "OPTIONS", "/api/v1/tokens", host=HOST)).status == 405


PAYLOADS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg/onload=alert(1)>',
    "javascript:alert(1)",
    "</script><script>alert(1)</script>",
    "{{7*7}}${7*7}<%= 7*7 %>",
    "\u2028\u2029\u202e<b>",
    "<!--<script>",
    "' onmouseover='alert(1)",
    "\r\nSet-Cookie: a=b\r\n\r\n<html>",
]


@pytest.mark.attack(88)
@pytest.mark.parametrize("payload", PAYLOADS)
async def test_what_peers_say_of_themselves_stays_text(payload: str) -> None:
    doors = Doors(sim_environment(1, "api"), agent=payload)
    doors.node.event_log.record("peer.connected", {"agent": payload})
    answers = [
        await ask(doors.socket, "GET", "/api/v1/peers"),
        await ask(doors.socket, "GET", f"/api/v1/services/{payload}/nothing"),
        await ask(doors.socket, "POST", "/api/v1/tokens", body={payload: 1}),
        await ask(
            doors.socket,
            "POST",
            "/api/v1/stop",
            headers=[("content-type", "text/html")],
            body=payload.encode(),
        ),
    ]
    assert answers[0].json["peers"][0]["agent"] == payload
    for answer in answers:
        assert answer.headers["content-type"] in ("application/json", "application/problem+json")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == CSP
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert "set-cookie" not in answer.headers
        json.loads(answer.body)


@pytest.mark.attack(88)
def test_the_policy_lets_nothing_in_but_our_own_files() -> None:
    assert "default-src 'none'" in CSP and "frame-ancestors 'none'" in CSP
    assert "require-trusted-types-for 'script'" in CSP
    assert "unsafe" not in CSP and "*" not in CSP and "http" not in CSP


@pytest.mark.attack(89)
async def test_token_and_socket_belong_to_the_owner_alone(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir(mode=0o777)
    run.chmod(0o777)
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (run / "api.token").symlink_to(victim)  # somebody was here before us
    (run / "api.sock").symlink_to(victim)
    tokens = []
    for _ in range(2):
        async with _running(tmp_path) as found:
            for name in ("api.token", "api.sock"):
                seen = (run / name).lstat()
                assert stat.S_IMODE(seen.st_mode) == 0o600 and seen.st_uid == os.getuid()
                assert not stat.S_ISLNK(seen.st_mode)
            assert stat.S_IMODE(run.stat().st_mode) == 0o700
            assert len(found.token) == 43  # 256 bits
            tokens.append(found.token)
            await found.lives()
        assert list(run.iterdir()) == []
    assert tokens[0] != tokens[1] and victim.read_text() == "untouched"


@pytest.mark.attack(90)
async def test_guessing_tokens_costs_a_second_each(
    doors: Doors, autojump_clock: trio.testing.MockClock
) -> None:
    good = doors.token("read")

    async def status(secret: str) -> tuple[int, float]:
        headers = [("authorization", f"Bearer {secret}")]
        began = trio.current_time()
        answer = await ask(doors.tcp, "GET", "/api/v1/status", host=HOST, headers=headers)
        return answer.status, trio.current_time() - began

    for _ in range(BAD_TOKENS_PER_MINUTE):
        assert await status("x" * 43) == (401, 0)
    for guess in (good[:-1], good + "x", good.swapcase(), "", "\xff\x00"):
        code, took = await status(guess)
        assert code == 401 and took >= 1
    assert await status(good) == (200, 0)  # the owner does not wait for the guesser
    codes: list[int] = []

    async def guess_at_once() -> None:
        codes.append((await status("y"))[0])

    async with trio.open_nursery() as nursery:
        for _ in range(MAX_DELAYED + 5):
            nursery.start_soon(guess_at_once)
    assert codes.count(429) == 5 and codes.count(401) == MAX_DELAYED
    await trio.sleep(61)
    assert await status("x") == (401, 0)


@pytest.mark.attack(90)
async def test_a_near_miss_takes_no_longer_than_a_far_one(doors: Doors) -> None:
    """What is compared are hashes, in constant time: a right beginning shows in nothing."""
    import time

    good = doors.token("read")
    near, far = good[:-1] + ("A" if good[-1] != "A" else "B"), "z" * 43

    def seconds(secret: str) -> float:
        began = time.thread_time()
        for _ in range(200):
            assert doors.context.tokens.scope_of(secret, 0) is None
        return time.thread_time() - began

    times = {secret: [seconds(secret) for _ in range(9)] for secret in (near, far)}
    assert 0.5 < min(times[near]) / min(times[far]) < 2


@pytest.mark.attack(91)
async def test_large_bodies_are_refused_unread(running: Running) -> None:
    before = psutil.Process().memory_info().rss
    head = running.head(
        "POST /api/v1/tokens HTTP/1.1",
        "Content-Type: application/json",
        "Content-Length: 1000000000",
    )
    got = await running.send(head, more=b" " * 1_000_000, times=1000)
    assert got.startswith(b"HTTP/1.1 413 ") and b"FOG-API-010" in got
    head = running.head(
        "POST /api/v1/tokens HTTP/1.1",
        "Content-Type: application/json",
        "Transfer-Encoding: chunked",
    )
    got = await running.send(head, more=b"10000\r\n" + b" " * 65536 + b"\r\n", times=15_000)
    assert got.startswith(b"HTTP/1.1 413 ") and b"FOG-API-010" in got
    # An answer that does not wait for the body at all: nothing is left hanging.
    head = running.head("POST /nothing HTTP/1.1", "Transfer-Encoding: chunked")
    got = await running.send(head, more=b"1\r\n \r\n" * 1000, times=10_000)
    assert got.startswith(b"HTTP/1.1 404 ")
    assert psutil.Process().memory_info().rss - before < 16 * 1024 * 1024
    await running.lives()


@pytest.mark.attack(91)
async def test_heads_bodies_and_json_are_bounded(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = running.head("GET /api/v1/status HTTP/1.1", *(f"X-{n}: {n}" for n in range(10_000)))
    assert (await running.send(head)).startswith(b"HTTP/1.1 431 ")
    ranges = ",".join(f"{n}-" for n in range(1000))
    head = running.head(
        "GET /api/v1/status HTTP/1.1", f"Range: bytes={ranges}", "Connection: close"
    )
    got = await running.send(head)
    assert got.startswith(b"HTTP/1.1 200 ") and b"content-range" not in got.lower()
    body = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x--\r\n"
    head = running.head(
        "POST /api/v1/tokens HTTP/1.1",
        "Content-Type: multipart/form-data; boundary=x",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    assert (await running.send(head + body)).startswith(b"HTTP/1.1 415 ")
    deep = b'{"a":' + b"[" * 100_000
    head = running.head(
        "POST /api/v1/tokens HTTP/1.1",
        "Content-Type: application/json",
        f"Content-Length: {len(deep)}",
        "Connection: close",
    )
    assert (await running.send(head + deep)).startswith(b"HTTP/1.1 400 ")
    monkeypatch.setattr(app_module, "BODY_TIMEOUT_S", 0.3)
    head = running.head(
        "POST /api/v1/tokens HTTP/1.1",
        "Content-Type: application/json",
        "Transfer-Encoding: chunked",
    )
    got = await running.send(head + b"1\r\n{\r\n")
    assert got.startswith(b"HTTP/1.1 408 ") and b"FOG-API-012" in got
    await running.lives()


@pytest.mark.attack(91)
async def test_no_http2_no_smuggling_no_endless_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "KEEP_ALIVE_S", 0.5)
    async with _running(tmp_path) as running:
        upgrade = ("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAAA")
        got = await running.send(running.head("GET /api/v1/status HTTP/1.1", *upgrade))
        assert got.startswith(b"HTTP/1.1 200 ")  # and closed by the silence that followed
        got = await running.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert got == b"" or got.startswith(b"HTTP/1.1 4")
        assert await running.send(b"") == b""
        assert await running.send(b"GET /api/v1/st") == b""
        both = running.head(
            "POST /api/v1/stop HTTP/1.1", "Content-Length: 4", "Transfer-Encoding: chunked"
        )
        assert not (await running.send(both + b"0\r\n\r\n")).startswith(b"HTTP/1.1 2")
        # Requests sent ahead are answered in turn, one at a time.
        one = running.head("GET /api/v1/status HTTP/1.1")
        assert (await running.send(one * 50)).count(b"HTTP/1.1 200 ") == 50
        for garbage in (b"\x00" * 100, b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 99, b"\x16\x03\x01"):
            await running.send(garbage)
        await running.lives()


@pytest.mark.attack(91)
async def test_malformed_upgrades_end_their_own_connection_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "KEEP_ALIVE_S", 0.5)
    monkeypatch.setattr(websocket_module, "SUBSCRIBE_S", 0.5)
    async with _running(tmp_path) as running:
        good = ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
        line = "GET /api/v1/ws HTTP/1.1"
        for headers in (
            ("Upgrade: websocket", "Connection: upgrade"),
            ("Upgrade: websocket", "Connection: upgrade", good[0]),
            ("Upgrade: websocket", "Connection: upgrade, \xff", *good),
            ("Upgrade: websocket", "Connection: upgrade", *good, "Sec-WebSocket-Protocol: \xff"),
            ("Upgrade: websocket", "Connection: upgrade", "Sec-WebSocket-Version: 8", good[1]),
        ):
            got = await running.send(running.head(line, *headers))
            assert got[9:10] == b"4", (headers, got)
        upgrade = ("Upgrade: websocket", "Connection: upgrade", *good)
        compress = "Sec-WebSocket-Extensions: permessage-deflate"
        frame = b"\xc1\x85\x00\x00\x00\x00hello"  # says it is compressed
        got = await running.send(running.head(line, *upgrade, compress) + frame)
        assert b"permessage-deflate" not in got.lower()
        for frames in (b"\x81\xfe\xff\xff" * 999, b"\x83\x80\x00\x00\x00\x00", b"\x89" * 999):
            await running.send(running.head(line, *upgrade), more=frames, times=1)
        for path in ("/api/v1/status", "/nothing"):
            got = await running.send(running.head(f"GET {path} HTTP/1.1", *upgrade))
            assert got[9:10] == b"4"
        await running.lives()


@pytest.mark.attack(92)
async def test_slow_readers_are_cut_off_and_cost_nobody_anything(
    running: Running, monkeypatch: pytest.MonkeyPatch, tools: Any
) -> None:
    monkeypatch.setattr(connection_module, "SEND_TIMEOUT_S", 0.5)
    log = running.context.node.event_log
    before = psutil.Process().memory_info().rss
    upgrade = running.head(*UPGRADE)
    subscribe = b"\x81\x8b\x00\x00\x00\x00" + b'{"since":0}'
    slow = []
    for number in range(MAX_SUBSCRIBERS):
        stream = await trio.open_tcp_stream("127.0.0.1", running.port)
        head = running.head("GET /api/v1/events?since=0 HTTP/1.1")
        await stream.send_all(upgrade if number % 2 else head)
        assert (await stream.receive_some(12))[9:12] in (b"101", b"200")
        if number % 2:
            await stream.send_all(subscribe)
        slow.append(stream)
    await tools.until(lambda: running.context.subscribers.count == MAX_SUBSCRIBERS)
    got = await running.send(running.head("GET /api/v1/events HTTP/1.1", "Connection: close"))
    assert got.startswith(b"HTTP/1.1 503 ") and b"FOG-API-013" in got
    times = []
    with trio.fail_after(20):
        while running.context.subscribers.count:
            for _ in range(200):
                log.record("peer.connected", {"padding": "x" * 2000})
            began = trio.current_time()
            await running.lives()
            times.append(trio.current_time() - began)
    assert statistics.median(times) < 0.5
    assert psutil.Process().memory_info().rss - before < 64 * 1024 * 1024
    for stream in slow:
        await stream.aclose()


@pytest.mark.attack(93)
@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0:7461",
        "[::]:7461",
        "192.168.1.7:7461",
        "8.8.8.8:80",
        "[fe80::1]:7461",
        "127.0.0.1:7461,0.0.0.0:7461",
    ],
)
def test_no_setting_opens_the_api_to_the_network(address: str) -> None:
    with pytest.raises(ConfigError, match="never listens where others can reach it"):
        load_config(None, disk=real_environment().disk, environ={}, flags=[f"api.tcp={address}"])


@pytest.mark.attack(93)
@pytest.mark.parametrize(
    "address",
    [
        "localhost:7461",
        "127.0.0.1",
        ":7461",
        "7461",
        "127.0.0.1:x",
        "127.0.0.1:99999",
        "evil.com:1",
        "127.0.0.256:1",
    ],
)
def test_only_addresses_are_taken(address: str) -> None:
    with pytest.raises(ConfigError, match="not an address such as"):
        load_config(None, disk=real_environment().disk, environ={}, flags=[f"api.tcp={address}"])
