"""The yamux machine by itself."""

from __future__ import annotations

import pytest

from fogp2p.errors import LocalProtocolError, RemoteProtocolError, Unreachable
from fogp2p.transports.libp2p import yamux
from fogp2p.transports.libp2p.wire_config import BURST_S, INITIAL_WINDOW, MAX_WINDOW
from fogp2p.transports.libp2p.yamux import (
    HEADER,
    Data,
    GoneAway,
    Opened,
    Ponged,
    RemoteClosed,
    RemoteReset,
    WindowGrew,
    Yamux,
)

ALL = 2**30


def _pair() -> tuple[Yamux, Yamux]:
    return Yamux(client=True), Yamux(client=False)


def _pass(one: Yamux, other: Yamux, now: float = 0.0) -> list[object]:
    return list(other.receive_data(one.data_to_send(ALL), now))


def test_a_stream_carries_bytes_both_ways_and_ends() -> None:
    client, server = _pair()
    stream = client.open()
    assert client.send(stream, memoryview(b"hello")) == 5
    assert _pass(client, server) == [Opened(1), Data(1, b"hello")]
    server.send(1, memoryview(b"you too"))
    server.close(1)
    assert _pass(server, client) == [Data(1, b"you too"), RemoteClosed(1)]
    client.close(stream)
    assert _pass(client, server) == [RemoteClosed(1)]
    assert not client.is_open(1) and not server.is_open(1)


def test_what_the_window_does_not_allow_waits() -> None:
    client, server = _pair()
    stream = client.open()
    assert client.send(stream, memoryview(bytes(INITIAL_WINDOW + 1))) == INITIAL_WINDOW
    assert client.send_window(stream) == 0
    _pass(client, server)
    server.consumed(1, INITIAL_WINDOW // 2 - 1)
    assert server.data_to_send(ALL) == b""
    server.consumed(1, 1)
    assert _pass(server, client) == [WindowGrew(1)]
    # A busy stream's window has grown to its most at once.
    assert client.send_window(stream) == INITIAL_WINDOW // 2 + MAX_WINDOW - INITIAL_WINDOW


def test_the_end_of_a_session_and_its_pings() -> None:
    client, server = _pair()
    client.ping(7)
    _pass(client, server)
    assert _pass(server, client) == [Ponged(7)]
    server.go_away(0)
    assert _pass(server, client) == [GoneAway(0)]
    with pytest.raises(Unreachable):
        client.open()


def test_a_reset_ends_a_stream_on_both_sides_and_late_data_is_dropped() -> None:
    client, server = _pair()
    stream = client.open()
    _pass(client, server)
    server.reset(1)
    client.send(stream, memoryview(b"late"))
    assert _pass(client, server) == []
    assert _pass(server, client) == [RemoteReset(1)]
    with pytest.raises(LocalProtocolError):
        client.send(stream, memoryview(b"x"))


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ((1, 0, 0, 1, 0), "yamux-version"),
        ((0, 9, 0, 1, 0), "yamux-type"),
        ((0, 0, 1, 2, 0), "yamux-stream"),  # an id that is ours to use
        ((0, 0, 1, 0, 0), "yamux-stream"),
        ((0, 0, 1, 1, INITIAL_WINDOW + 1), "yamux-window"),
        ((0, 0, 0, 5, MAX_WINDOW + 1), "yamux-window"),  # even for a stream nobody knows
    ],
)
def test_broken_rules_end_the_session(frame: tuple[int, ...], code: str) -> None:
    server = Yamux(client=False)
    for _ in range(2):  # and it stays dead
        with pytest.raises(RemoteProtocolError) as caught:
            server.receive_data(HEADER.pack(*frame), 0.0)
        assert caught.value.code == code and caught.value.close_hint == "disconnect"


def test_data_behind_the_end_is_a_breach() -> None:
    client, server = _pair()
    stream = client.open()
    client.close(stream)
    _pass(client, server)
    with pytest.raises(RemoteProtocolError, match="behind the end"):
        server.receive_data(HEADER.pack(0, 0, 0, 1, 1) + b"x", 0.0)


def test_an_overflowing_send_window_is_a_breach() -> None:
    client, server = _pair()
    client.open()
    _pass(client, server)
    for _ in range(1):
        server.receive_data(HEADER.pack(0, 1, 0, 1, 2**31), 0.0)
    with pytest.raises(RemoteProtocolError, match="overflows"):
        server.receive_data(HEADER.pack(0, 1, 0, 1, 2**31), 0.0)


def test_discarded_streams_are_credited_so_that_the_peer_can_finish() -> None:
    client, server = _pair()
    stream = client.open()
    client.send(stream, memoryview(bytes(1_000)))
    _pass(client, server)
    server.close(1)
    server.discard(1)
    sent = 0
    for _ in range(20):
        sent += client.send(stream, memoryview(bytes(200_000)))
        assert not [e for e in _pass(client, server) if isinstance(e, Data)]
        _pass(server, client)
    assert sent > 3_000_000


@pytest.mark.attack(13)
def test_window_updates_are_a_flood_beyond_their_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the frame, on a clock of our own: sockets of a busy machine do not reach the rate."""
    monkeypatch.setattr(yamux, "UPDATES_PER_S", 1_000.0)
    server = Yamux(client=False)
    server.receive_data(HEADER.pack(0, 1, 1, 1, 0), 0.0)
    update = HEADER.pack(0, 1, 0, 1, 1)
    server.receive_data(update * int(1_000 * BURST_S), 0.0)
    server.receive_data(update * 500, 0.5)  # what half a second gives back
    with pytest.raises(RemoteProtocolError) as caught:
        server.receive_data(update, 0.5)
    assert caught.value.code == "yamux-flood"
