"""yamux and multistream-select against anything."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from fogp2p.errors import LimitExceeded, RemoteProtocolError
from fogp2p.ids import ProtocolId
from fogp2p.transports.libp2p.multistream import Opener, Responder
from fogp2p.transports.libp2p.wire_config import INITIAL_WINDOW
from fogp2p.transports.libp2p.yamux import HEADER, Data, Event, Yamux

frames = st.builds(
    lambda kind, flags, stream, length, body: HEADER.pack(0, kind, flags, stream, length) + body,
    st.integers(0, 4),
    st.integers(0, 15),
    st.integers(0, 9),
    st.integers(0, 70),
    st.binary(max_size=70),
)


def _events(blob: bytes, cuts: list[int]) -> tuple[list[Event], str]:
    server, found, at = Yamux(client=False), [], 0
    try:
        for cut in [*cuts, len(blob)]:
            found += server.receive_data(blob[at : at + cut], 0.0)
            at += cut
    except RemoteProtocolError as exc:
        return found, exc.code
    return found, ""


def _joined(events: list[Event]) -> list[object]:
    """Data of one stream in a row counts as one: that is all a cut may change."""
    out: list[object] = []
    for event in events:
        last = out[-1] if out else None
        if isinstance(event, Data) and isinstance(last, Data) and last.stream == event.stream:
            out[-1] = Data(event.stream, last.data + event.data)
        elif not (isinstance(event, Data) and not event.data):
            out.append(event)
    return out


@given(st.lists(frames, max_size=12).map(b"".join), st.lists(st.integers(1, 40), max_size=40))
def test_how_bytes_are_cut_changes_nothing(blob: bytes, cuts: list[int]) -> None:
    whole, fault = _events(blob, [])
    parts, same_fault = _events(blob, cuts)
    assert same_fault == fault
    if not fault:
        assert _joined(parts) == _joined(whole)


@given(st.binary(max_size=400))
def test_any_bytes_end_in_events_or_one_error(blob: bytes) -> None:
    for client in (True, False):
        with contextlib.suppress(RemoteProtocolError):
            Yamux(client=client).receive_data(blob, 0.0)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 300_000)), max_size=40)
)
def test_no_window_is_ever_exceeded(acts: list[tuple[int, int, int]]) -> None:
    """Two of ours never break each other's rules, whatever the application does."""
    client, server = Yamux(client=True), Yamux(client=False)
    received: dict[int, int] = {}
    for act, which, size in acts:
        stream = 2 * which + 1
        with contextlib.suppress(LimitExceeded):
            if act == 0 and stream not in received:
                stream = client.open()
                received[stream] = 0
            elif act == 1 and client.is_open(stream):
                client.send(stream, memoryview(bytes(size)))
            elif act == 2:
                for event in server.receive_data(client.data_to_send(2**30), 0.0):
                    if isinstance(event, Data):
                        received[event.stream] += len(event.data)
            elif act == 3 and received.get(stream):
                taken = min(received[stream], size)
                received[stream] -= taken
                server.consumed(stream, taken)
                client.receive_data(server.data_to_send(2**30), 0.0)
    assert all(0 <= client.send_window(s) <= INITIAL_WINDOW * 4 for s in received)


@given(st.binary(max_size=300), st.lists(st.integers(1, 20), max_size=20))
def test_any_negotiation_ends_in_an_answer_or_one_error(blob: bytes, cuts: list[int]) -> None:
    name = ProtocolId("/a/1")
    for machine in (Opener([name]), Responder({name}.__contains__)):
        at = 0
        with contextlib.suppress(RemoteProtocolError):
            for cut in [*cuts, len(blob)]:
                machine.receive_data(blob[at : at + cut])
                at += cut
