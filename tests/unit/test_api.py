"""The table of operations: every row answers, is described, and asks for its scope."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import trio
from openapi_spec_validator import validate

from fogp2p.api import Operation, Scope
from fogp2p.api.config import MAX_REQUESTS, MAX_SESSIONS, MAX_TOKENS
from fogp2p.api.errors import TooManyTokens
from fogp2p.api.openapi import document_of, errors_of
from fogp2p.api.operations import UNSAFE
from fogp2p.api.routes import all_operations
from fogp2p.config import Config, Loaded
from fogp2p.errors import FogError, LimitExceeded
from fogp2p.schema import json_schema, name_of
from fogp2p.testing import MemoryDisk, sim_environment
from fogp2p.testing.api import ADA, Answer, Doors, ask

BODIES: dict[str, Any] = {
    "make_token": {"scope": "read"},
    "change_config": {"set": {"log.level": "debug"}},
    "join": {"code": "7-crater-lake"},
    "pin_blob": {"pinned": True},
    "add_blob": {"path": "/letter"},
    "send_blob": {"peer": str(ADA)},
    "create_group": {"name": "tea"},
    "admit_member": {"peer": str(ADA)},
    "say": {"text": "hello"},
}
PATHS = {"{peer}": str(ADA), "{name}": "mdns", "{id}": "0"}


@pytest.fixture
async def doors() -> Doors:
    return Doors(sim_environment(1, "api"))


def _path(operation: Operation) -> str:
    path = operation.path
    for parameter, value in PATHS.items():
        path = path.replace(parameter, value)
    return path


def _problem(answer: Answer) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json
    assert found["status"] == answer.status and found["schema"] == "problem/1"
    return found


async def test_the_document_is_openapi_3_1(doors: Doors) -> None:
    document = (await ask(doors.socket, "GET", "/api/v1/openapi.json")).json
    validate(document)
    assert document["openapi"].startswith("3.1")
    described = {
        (method.upper(), path) for path, here in document["paths"].items() for method in here
    }
    assert described == {
        (each.method, each.path)
        for each in all_operations(Doors(sim_environment(2, "api")).context)
    }
    for operation in _operations(document):
        problems = [each for status, each in operation["responses"].items() if status >= "400"]
        assert problems and all("application/problem+json" in each["content"] for each in problems)


def _operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for here in document["paths"].values() for each in here.values()]


async def test_every_answer_fits_its_schema(doors: Doors) -> None:
    for operation in all_operations(Doors(sim_environment(2, "api")).context):
        if operation.answer is None or operation.name in ("change_config", "session"):
            continue
        body = BODIES.get(operation.name, {})
        path = _path(operation)
        if operation.name == "revoke_token":
            token = (await ask(doors.socket, "POST", "/api/v1/tokens", body={"scope": "read"})).json
            path = f"/api/v1/tokens/{token['id']}"
        answer = await ask(
            doors.socket, operation.method, path, body=body if operation.method in UNSAFE else b""
        )
        if answer.status == 503 or operation.name == "doctor":
            # Rooms and files that the stand-in has not: tests/process asks a real peer.
            assert answer.status in (503, 404), operation.name
            continue
        assert answer.status == operation.status, (operation.name, answer)
        jsonschema.Draft202012Validator(json_schema(operation.answer, closed=True)).validate(
            answer.json
        )
        assert answer.json["schema"] == name_of(operation.answer)


@pytest.mark.parametrize("scope", ["", "read", "control", "admin"])
async def test_every_operation_asks_for_its_scope(doors: Doors, scope: str) -> None:
    token = doors.token(scope) if scope else ""
    headers = [("authorization", f"Bearer {token}")] if token else []
    mine = Scope(scope or "open")
    for operation in all_operations(Doors(sim_environment(2, "api")).context):
        if operation.socket is not None or operation.media == "text/event-stream":
            continue
        answer = await ask(
            doors.tcp,
            operation.method,
            _path(operation),
            host="127.0.0.1:7461",
            headers=headers,
            body=BODIES.get(operation.name, {}) if operation.method in UNSAFE else b"",
        )
        if mine.covers(operation.scope):
            assert answer.status not in (401, 500), operation.name
            assert answer.status != 403 or operation.name in ("login", "add_blob")
        else:
            problem = _problem(answer)
            wanted = (403, "FOG-API-009") if scope else (401, "FOG-API-008")
            assert (answer.status, problem["code"]) == wanted, operation.name


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("ping", {"cuont": 1}, "unknown member 'cuont'; the nearest is count"),
        ("ping", {"zzz": 1}, "known are: count, timeout_s"),
        ("ping", {"count": "1"}, "count must be a whole number"),
        ("ping", {"count": True}, "count must be a whole number"),
        ("ping", {"count": 1.0}, "count must be a whole number"),
        ("ping", {"count": 0}, "count lies in 1-100"),
        ("ping", {"timeout_s": 61}, "timeout_s lies in 0.01-60.0"),
        ("ping", {"timeout_s": 10**18}, "timeout_s lies in"),
        ("echo", {"size": -1}, "size lies in 0-65536"),
        ("ping", [], "not a JSON object"),
        ("ping", b"{", "not JSON"),
        ("ping", b"\xff", "not JSON"),
        ("ping", b'{"count": NaN}', "not JSON"),
        ("ping", b'{"count": %s}' % (b"9" * 5000), "not JSON"),
        ("ping", b"[" * 100_000, "nested too deeply"),
        ("ping", b'{"a":' + b"[" * 30 + b"]" * 30 + b"}", "nested deeper than 16"),
    ],
)
async def test_a_wrong_request_is_told_which_member(
    doors: Doors, path: str, body: Any, said: str
) -> None:
    answer = await ask(
        doors.socket,
        "POST",
        f"/api/v1/peers/{ADA}/{path}",
        body=body,
        headers=[("content-type", "application/json")] if isinstance(body, bytes) else (),
    )
    assert answer.status == 400
    problem = _problem(answer)
    assert problem["code"] == "FOG-API-001" and said in problem["detail"]


async def test_wrong_queries_and_missing_members(doors: Doors) -> None:
    for query in (b"since=x", b"since=-1", b"sinse=1", b"since=1&since=2", b"types=" + b"a," * 40):
        answer = await ask(doors.socket, "GET", "/api/v1/events", query=query)
        assert (answer.status, _problem(answer)["code"]) == (400, "FOG-API-001"), query
    answer = await ask(doors.socket, "POST", "/api/v1/tokens", body={})
    assert _problem(answer)["detail"] == "scope is missing"
    answer = await ask(doors.socket, "POST", "/api/v1/tokens", body={"scope": "open"})
    assert _problem(answer)["detail"] == "scope must be one of read, control, admin"
    answer = await ask(doors.socket, "POST", "/api/v1/stop", body={"now": True})
    assert answer.status == 400 and not doors.node.stopping.is_set()


async def test_unknown_paths_methods_and_peers(doors: Doors) -> None:
    answer = await ask(doors.socket, "GET", "/api/v1/nothing")
    assert (answer.status, _problem(answer)["code"]) == (404, "FOG-API-004")
    answer = await ask(doors.socket, "DELETE", "/api/v1/config")
    assert (answer.status, _problem(answer)["code"]) == (405, "FOG-API-005")
    assert answer.headers["allow"] == "GET, PATCH"
    answer = await ask(doors.socket, "POST", "/api/v1/peers/nobody/ping", body={})
    assert answer.status == 400 and _problem(answer)["code"] == "FOG-PROTO-001"
    for path in ("/api/v1/services/nope/restart", "/api/v1/services/nope/crash"):
        assert (await ask(doors.socket, "POST", path, body={})).status == 404
    assert (await ask(doors.socket, "DELETE", "/api/v1/tokens/nope")).status == 404
    assert (await ask(doors.socket, "GET", "/api/v1/sessions/current")).status == 404
    assert (await ask(doors.socket, "GET", "/api/v1/ws")).status == 400
    assert (await ask(doors.socket, "HEAD", "/api/v1/events")).status == 405
    assert (await ask(doors.socket, "HEAD", "/api/v1/status")).status == 200


async def test_a_peer_that_is_slow_is_a_504_and_one_that_is_away_a_502(
    doors: Doors, autojump_clock: Any
) -> None:
    doors.node.slow = True
    answer = await ask(doors.socket, "POST", f"/api/v1/peers/{ADA}/ping", body={"timeout_s": 3})
    assert (answer.status, _problem(answer)["code"]) == (504, "FOG-NET-006")


async def test_services_can_be_restarted_and_drilled(doors: Doors) -> None:
    assert (await ask(doors.socket, "GET", "/readyz")).json["ready"]
    answer = await ask(doors.socket, "POST", "/api/v1/services/mdns/restart", body={})
    assert answer.status == 202 and doors.node.services()[1].restarts == 1
    await ask(doors.socket, "POST", "/api/v1/services/mdns/crash", body={})
    assert (await ask(doors.socket, "GET", "/readyz")).status == 200  # degraded, and at work
    await ask(doors.socket, "POST", "/api/v1/services/host/crash", body={})
    ready = await ask(doors.socket, "GET", "/readyz")
    assert ready.status == 503 and "host: failed: a drill" in ready.json["reasons"]
    assert (await ask(doors.socket, "GET", "/healthz")).status == 200
    text = (await ask(doors.socket, "GET", "/metrics")).body.decode()
    assert 'fogp2p_service_up{service="host"} 0.0' in text
    assert 'fogp2p_service_restarts{service="mdns"} 1.0' in text
    assert 'fogp2p_api_requests_total{method="GET",route="/readyz",status="503"} 1.0' in text
    assert "process_resident_memory_bytes" in text and "fogp2p_event_loop_lag_seconds" in text
    doors.node.stop()
    assert (await ask(doors.socket, "GET", "/readyz")).json["reasons"] == ["the peer is stopping"]


async def test_past_the_bound_of_requests_comes_503_and_then_recovery(
    doors: Doors, autojump_clock: Any
) -> None:
    doors.node.slow = True
    statuses: list[int] = []
    path = f"/api/v1/peers/{ADA}/ping"

    async def one() -> None:
        answer = await ask(doors.socket, "POST", path, body={"timeout_s": 1})
        statuses.append(answer.status)
        if answer.status == 503:
            assert answer.headers["retry-after"] == "1" and _problem(answer)["retry_after_s"] == 1

    async with trio.open_nursery() as nursery:
        for _ in range(MAX_REQUESTS + 10):
            nursery.start_soon(one)
        await trio.testing.wait_all_tasks_blocked()
        assert (await ask(doors.socket, "GET", "/healthz")).status == 200
        assert (await ask(doors.socket, "GET", "/api/v1/status")).status == 503
    assert statuses.count(503) == 10 and statuses.count(504) == MAX_REQUESTS
    assert (await ask(doors.socket, "GET", "/api/v1/status")).status == 200


async def test_tokens_end_are_bounded_and_can_be_revoked(
    doors: Doors, autojump_clock: trio.testing.MockClock
) -> None:
    made = await ask(
        doors.socket, "POST", "/api/v1/tokens", body={"scope": "read", "ttl_s": 60, "name": "x"}
    )
    token = made.json
    assert made.status == 201 and len(token["token"]) == 43

    async def status(path: str = "/api/v1/status") -> int:
        headers = [("authorization", f"Bearer {token['token']}")]
        return (await ask(doors.tcp, "GET", path, host="localhost:7461", headers=headers)).status

    assert await status() == 200 and await status("/api/v1/tokens") == 403
    listed = (await ask(doors.socket, "GET", "/api/v1/tokens")).body.decode()
    assert token["id"] in listed and token["token"] not in listed
    assert token["token"] not in repr(list(doors.context.tokens))
    await trio.sleep(61)
    assert await status() == 401
    for _ in range(MAX_TOKENS):
        token = (await ask(doors.socket, "POST", "/api/v1/tokens", body={"scope": "read"})).json
    full = await ask(doors.socket, "POST", "/api/v1/tokens", body={"scope": "read"})
    assert (full.status, _problem(full)["code"]) == (409, "FOG-API-015")
    assert await status() == 200
    assert (await ask(doors.socket, "DELETE", f"/api/v1/tokens/{token['id']}")).status == 200
    assert await status() == 401


def test_sessions_are_bounded() -> None:
    sessions = Doors(sim_environment(1, "api")).context.sessions
    source = random.Random(1)
    for index in range(MAX_SESSIONS + 1):
        code = sessions.invite(source.randbytes(32), Scope.READ, 0)
        if index < MAX_SESSIONS:
            sessions.open(code, source.randbytes(32), source.randbytes(32), 0)
    with pytest.raises(TooManyTokens):
        sessions.open(code, source.randbytes(32), source.randbytes(32), 0)
    assert sessions.close_all() == MAX_SESSIONS


async def test_configuration_is_shown_and_changed() -> None:
    from fogp2p.api import ConfigFile

    environment = sim_environment(1, "api")
    doors = Doors(environment)
    file = Path("/home/ada/config.toml")
    disk = environment.disk
    assert isinstance(disk, MemoryDisk)
    disk.replace(file, b"# mine\n[log]\nlevel = 'info' # quiet\n")
    none = await ask(doors.socket, "PATCH", "/api/v1/config", body={"set": {}})
    assert none.status == 404
    doors.context.config_file = ConfigFile(file, {"FOGP2P_DISCOVERY__MDNS": "false"})
    changed = await ask(
        doors.socket,
        "PATCH",
        "/api/v1/config",
        body={"set": {"log.level": "debug", "discovery.mdns": True}},
    )
    assert changed.status == 200 and changed.json["restart_needed"] is True
    assert changed.json["overridden"] == ["discovery.mdns"]
    assert changed.json["previous"] == f"{file}.bak"
    after = disk.read(file, max_bytes=1000)
    assert after is not None and b"# mine" in after and b'"debug"' in after and b"# quiet" in after
    wrong = await ask(doors.socket, "PATCH", "/api/v1/config", body={"set": {"log.levle": "debug"}})
    assert wrong.status == 400 and _problem(wrong)["code"] == "FOG-CONF-001"
    assert "the nearest is log.level" in wrong.json["detail"]
    assert disk.read(file, max_bytes=1000) == after
    shown = (await ask(doors.socket, "GET", "/api/v1/config")).json["settings"]
    assert set(shown) == set(dict(Config().items()))
    assert shown["log.level"]["origin"] == "default" and shown["log.level"]["about"]


async def test_errors_of_the_table_have_distinct_numbers(doors: Doors) -> None:
    kinds = {
        kind
        for operation in all_operations(Doors(sim_environment(2, "api")).context)
        for kind in errors_of(operation)
    }
    assert len({kind.number for kind in kinds}) == len(kinds)
    assert document_of([])["paths"] == {}


def test_an_error_of_the_peer_has_a_status() -> None:
    from fogp2p.api.problem import problem_response, status_of

    assert status_of(LimitExceeded("x")) == 503 and status_of(FogError("x")) == 500
    assert problem_response(LimitExceeded("x")).headers["content-type"].endswith("problem+json")


def test_the_stand_in_knows_its_config() -> None:
    assert isinstance(Doors(sim_environment(1, "api")).context.loaded, Loaded)
