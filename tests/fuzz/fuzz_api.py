"""Requests to the local API, in process: method, path, headers, query and body (Z15), and the first
frame of its WebSocket (Z16).

Invariants: an answer below 500, or BadRequest for a frame; no other exception comes out.
Run by hand: `make fuzz TARGET=api`.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["fogp2p"]):
    import trio

    from fogp2p.api.errors import BadRequest
    from fogp2p.api.members import parse_json, read_members
    from fogp2p.api.routes import all_operations
    from fogp2p.api.websocket import Subscribe
    from fogp2p.testing import sim_environment
    from fogp2p.testing.api import ADA, Doors, ask

TABLE = [
    each
    for each in all_operations(Doors(sim_environment(1, "table")).context)
    if each.socket is None and each.media != "text/event-stream"
]
NAMES = ["authorization", "cookie", "origin", "content-type", "x-fog-csrf", "host", "range"]


def one_input(data: bytes) -> None:
    source = atheris.FuzzedDataProvider(data)
    if source.ConsumeBool():
        try:
            read_members(Subscribe, parse_json(source.ConsumeBytes(200)))
        except BadRequest:
            return
        return
    trio.run(_ask, source, clock=trio.testing.MockClock(autojump_threshold=0))


async def _ask(source: atheris.FuzzedDataProvider) -> None:
    doors = Doors(sim_environment(1, "api"))
    operation = TABLE[source.ConsumeIntInRange(0, len(TABLE) - 1)]
    path = operation.path.replace("{peer}", str(ADA)).replace("{name}", "mdns")
    if source.ConsumeIntInRange(0, 7) == 0:
        path = "/" + source.ConsumeUnicodeNoSurrogates(20)
    headers = [
        (
            NAMES[source.ConsumeIntInRange(0, len(NAMES) - 1)],
            source.ConsumeBytes(20).decode("latin-1"),
        )
        for _ in range(source.ConsumeIntInRange(0, 3))
    ]
    headers.append(("content-type", "application/json"))
    answer = await ask(
        doors.socket if source.ConsumeBool() else doors.tcp,
        operation.method,
        path,
        host="localhost" if source.ConsumeBool() else "127.0.0.1:7461",
        headers=headers,
        query=source.ConsumeBytes(20),
        body=source.ConsumeBytes(200),
    )
    # 503: rooms that the stand-in has not.
    assert 200 <= answer.status < 500 or answer.status == 503, answer


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
