"""Whatever is asked of the local API, it answers below 500; and query and JSON mean the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fogp2p.api.errors import BadRequest
from fogp2p.api.gate import Door
from fogp2p.api.members import parse_json, read_members, read_query
from fogp2p.api.operations import Operation
from fogp2p.api.routes import all_operations
from fogp2p.api.routes.events import EventsQuery
from fogp2p.api.routes.peers import EchoRequest
from fogp2p.api.websocket import Subscribe
from fogp2p.testing import sim_environment
from fogp2p.testing.api import ADA, Answer, Doors, ask

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)
NAMES = ["count", "size", "timeout_s", "scope", "ttl_s", "name", "set", "unset", "x"]
OBJECTS = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4)
BODIES = OBJECTS.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60)
KINDS = st.sampled_from(["application/json", "text/plain", "", "application/json; charset=x"])
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "authorization",
                "cookie",
                "origin",
                "host",
                "x-fog-csrf",
                "sec-fetch-site",
                "last-event-id",
                "content-length",
                "transfer-encoding",
                "range",
                "accept",
            ]
        ),
        st.text(st.characters(max_codepoint=255), max_size=30),
    ),
    max_size=4,
)
OPERATIONS = [
    each
    for each in all_operations(Doors(sim_environment(1, "table")).context)
    if each.socket is None and each.media != "text/event-stream"
]
PATHS = st.sampled_from([each.path for each in OPERATIONS]) | st.text(max_size=20).map("/{}".format)
DOORS = st.sampled_from(["socket", "tcp"])
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PATCH", "DELETE", "PUT", "OPTIONS", "BREW"])
FILLED = {"{peer}": str(ADA), "{name}": "mdns", "{id}": "abc"}


def _asked(door: str, method: str, path: str, **request: Any) -> Answer:
    for parameter, value in FILLED.items():
        path = path.replace(parameter, value)

    async def once() -> Answer:
        doors = Doors(sim_environment(1, "api"))
        app = doors.socket if door == "socket" else doors.tcp
        with trio.fail_after(10):
            return await ask(app, method, path, **request)

    return trio.run(once, clock=trio.testing.MockClock(autojump_threshold=0))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["socket", "tcp"]),
    METHODS,
    PATHS,
    HEADERS,
    KINDS,
    BODIES,
    st.binary(max_size=30),
)
@example("socket", "POST", "/api/v1/tokens", [], "application/json", b'{"scope":[]}', b"")
@example(
    "socket", "POST", "/api/v1/peers/{peer}/echo", [], "application/json", b'{"count":{}}', b""
)
@example("socket", "PATCH", "/api/v1/config", [], "application/json", b'{"set":{"log":1}}', b"")
def test_no_request_is_a_fault_of_ours(
    door: str,
    method: str,
    path: str,
    headers: list[tuple[str, str]],
    kind: str,
    body: bytes,
    query: bytes,
) -> None:
    host = "localhost" if door == "socket" else "127.0.0.1:7461"
    answer = _asked(
        door,
        method,
        path,
        host=host,
        headers=[*headers, ("content-type", kind)],
        body=body,
        query=query,
    )
    assert 200 <= answer.status < 500 or answer.status == 503  # rooms the stand-in has not
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not any(name.startswith("access-control-") for name in answer.headers)
    if answer.status >= 400:
        assert answer.json["status"] == answer.status and answer.json["code"].startswith("FOG-")


@given(st.text(max_size=40))
def test_only_its_own_names_pass_the_door(host: str) -> None:
    door = Door("tcp", ("127.0.0.1:7461", "localhost:7461"), trusted=False)
    headers = [(b"host", host.encode("utf-8"))]
    if host.lower() in door.authorities:
        assert door.check_host(headers) == host.lower()
        return
    with pytest.raises(Exception, match="does not name this API"):
        door.check_host(headers)


@given(OBJECTS)
def test_a_request_is_read_or_refused_by_name(value: dict[str, Any]) -> None:
    for kind in (EchoRequest, Subscribe):
        try:
            made = read_members(kind, value)
        except BadRequest as exc:
            assert str(exc)
            continue
        assert all(getattr(made, name) is not None or value[name] is None for name in value)


@given(st.binary(max_size=200))
@example(b"[" * 10_000)
@example(b'{"a":' * 10_000)
@example(b'"\\ud800"')
def test_any_bytes_are_a_json_object_or_refused(data: bytes) -> None:
    try:
        assert isinstance(parse_json(data), dict)
    except BadRequest:
        return


@given(st.integers(0, 10**18), st.lists(st.sampled_from(["peer.", "service.x", "a"]), max_size=5))
def test_a_query_says_what_json_says(since: int, types: list[str]) -> None:
    by_query = read_query(EventsQuery, {"since": str(since), "types": ",".join(types)})
    assert by_query == read_members(EventsQuery, {"since": since, "types": types})


def test_the_table_is_not_empty() -> None:
    assert len(OPERATIONS) > 15 and all(isinstance(each, Operation) for each in OPERATIONS)
