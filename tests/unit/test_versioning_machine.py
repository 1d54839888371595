"""The version handshake as two machines joined by hand."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable

import pytest

from fogp2p.errors import LocalProtocolError, RemoteProtocolError
from fogp2p.identity import Identity, ephemeral, verify
from fogp2p.ids import Version
from fogp2p.protocols.versioning import Agreement, Catalogue, Offer, Release
from fogp2p.protocols.versioning.machine import (
    NEED_DATA,
    TRANSITIONS,
    HelloReceived,
    Machine,
    State,
)

V = Version
KEYS = sorted((ephemeral(random.Random(n)) for n in (1, 2)), key=lambda k: k.peer_id)
OLD = Catalogue(
    "old/1.0",
    {"fog/echo": Offer((Release(V(1, 0)),), frozenset({"a", "b"}))},
    handshake=(V(1, 0),),
    notices=((1, "never sent: 1.0 has no notices"),),
)
NEW = Catalogue(
    "new/1.1",
    {
        "fog/echo": Offer((Release(V(1, 0), 20_000), Release(V(1, 1))), frozenset({"b", "c"})),
        "fog/later": Offer((Release(V(2, 0)),)),
    },
    {"max-message": 65_536},
    notices=((20_454, "moving to 1.1 in spring"),),
)


def machines(first: Catalogue, second: Catalogue) -> tuple[Machine, Machine]:
    """(initiator, responder)"""

    def one(keys: Identity, other: Identity, catalogue: Catalogue, nonce: int) -> Machine:
        return Machine(
            catalogue,
            local=keys.peer_id,
            remote=other.peer_id,
            nonce=bytes([nonce]) * 32,
            now=0.0,
            sign=keys.sign,
            verify=verify,
        )

    return one(KEYS[0], KEYS[1], first, 1), one(KEYS[1], KEYS[0], second, 2)


Tamper = Callable[[int, bytes], bytes]


def run(initiator: Machine, responder: Machine, tamper: Tamper = lambda _, data: data) -> None:
    """Exchange messages until both stop; message k may be altered on its way."""
    pairs = [(initiator, responder), (responder, initiator)]
    errors: list[RemoteProtocolError] = []
    for number in range(4):
        sender, receiver = pairs[number % 2]
        data = sender.data_to_send()
        if not data:
            break
        receiver.receive_data(tamper(number, data))
        try:
            while receiver.next_event() != NEED_DATA:
                pass
        except RemoteProtocolError as exc:
            errors.append(exc)
    if errors:
        raise errors[0]


@pytest.mark.spec("VER-001", "VER-010", "VER-020", "VER-021", "VER-030", "VER-040")
@pytest.mark.parametrize(
    ("first", "second", "handshake", "echo", "features"),
    [
        (OLD, NEW, V(1, 0), V(1, 0), {"b"}),
        (NEW, OLD, V(1, 0), V(1, 0), {"b"}),
        (NEW, NEW, V(1, 1), V(1, 1), {"b", "c"}),
        (OLD, OLD, V(1, 0), V(1, 0), {"a", "b"}),
    ],
)
def test_old_and_new_agree_both_ways(
    first: Catalogue, second: Catalogue, handshake: Version, echo: Version, features: set[str]
) -> None:
    sides = machines(first, second)
    run(*sides)
    assert {side.state for side in sides} == {State.READY}
    agreements = {id(side): side._agreement for side in sides}
    (one, other) = agreements.values()
    assert one == other and isinstance(one, Agreement)
    assert one.handshake == handshake
    assert one.version("fog/echo") == echo
    assert one.protocols["fog/echo"][1] == features
    both_new = first is NEW and second is NEW
    assert (one.version("fog/later") == V(2, 0)) is both_new


@pytest.mark.spec("VER-041")
def test_notices_travel_only_from_version_1_1_on() -> None:
    for first, second, expected in ((NEW, NEW, 1), (OLD, NEW, 0), (NEW, OLD, 1)):
        initiator, responder = machines(first, second)
        run(initiator, responder)
        hello = responder.remote_hello
        assert hello is not None
        assert len(hello.notices) == expected


@pytest.mark.spec("VER-022")
def test_nothing_in_common_ends_with_a_reason_on_both_sides() -> None:
    future = Catalogue("future/2", handshake=(V(2, 0),))
    sides = machines(NEW, future)
    with pytest.raises(RemoteProtocolError) as caught:
        run(*sides)
    assert caught.value.code == "version-common"
    assert "1.0, 1.1" in str(caught.value) and "2.0" in str(caught.value)
    for side in sides:
        assert side.state is State.FAILED
        with pytest.raises(RemoteProtocolError, match="no common version"):
            side.next_event()


@pytest.mark.spec("VER-031")
@pytest.mark.parametrize("target", [0, 1, 2, 3])
def test_every_byte_changed_in_any_message_is_detected(target: int) -> None:
    """Exhaustively: each byte, inverted and by one bit; never do both sides become ready."""
    lengths: list[int] = []

    def measure(_: int, data: bytes) -> bytes:
        lengths.append(len(data))
        return data

    run(*machines(NEW, OLD), measure)
    for position in range(lengths[target]):
        for mask in (0xFF, 1 << position % 8):
            sides = machines(NEW, OLD)

            def alter(number: int, data: bytes, at: int = position, mask: int = mask) -> bytes:
                if number != target:
                    return data
                return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]

            with contextlib.suppress(RemoteProtocolError):
                run(*sides, alter)
            assert any(side.state is not State.READY for side in sides), (position, mask)


@pytest.mark.spec("VER-031")
def test_a_stripped_feature_or_version_is_a_downgrade() -> None:
    from fogp2p.protocols.versioning.messages import Hello, encode_hello

    weaker = Catalogue(
        NEW.software,
        {**NEW.protocols, "fog/echo": Offer((Release(V(1, 0), 20_000),), frozenset({"b"}))},
        NEW.limits,
        notices=NEW.notices,
    )
    sides = machines(NEW, NEW)
    from fogp2p.framing import encode_frame

    def strip(number: int, data: bytes) -> bytes:
        if number == 0:
            return encode_frame(encode_hello(Hello.of(weaker, b"\1" * 32)))
        return data

    with pytest.raises(RemoteProtocolError) as caught:
        run(*sides, strip)
    assert caught.value.code == "version-downgrade"


def test_a_reflected_or_foreign_handshake_is_refused() -> None:
    initiator, _ = machines(NEW, NEW)
    initiator.receive_data(initiator.data_to_send())
    with pytest.raises(RemoteProtocolError) as caught:
        initiator.next_event()
    assert caught.value.code == "version-hello"
    recorded: list[bytes] = []

    def record(_: int, data: bytes) -> bytes:
        recorded.append(data)
        return data

    run(*machines(NEW, NEW), record)
    _, responder = machines(NEW, OLD)  # another transcript: the recorded choice does not fit
    responder.receive_data(recorded[0])
    responder.next_event()
    responder.receive_data(recorded[2])
    with pytest.raises(RemoteProtocolError) as caught:
        responder.next_event()
    assert caught.value.code == "version-downgrade"


@pytest.mark.spec("VER-050")
def test_time_and_an_early_end_fail_the_run() -> None:
    initiator, responder = machines(NEW, NEW)
    assert initiator.next_deadline() == 10.0
    initiator.handle_time(9.9)
    with pytest.raises(RemoteProtocolError) as caught:
        initiator.handle_time(10.0)
    assert caught.value.code == "version-timeout" and initiator.next_deadline() is None
    with pytest.raises(RemoteProtocolError) as caught:
        responder.receive_end()
    assert caught.value.code == "version-cut"


@pytest.mark.spec("VER-051")
def test_messages_after_the_end_are_refused() -> None:
    sides = machines(NEW, NEW)
    run(*sides)
    sides[0].receive_data(b"\x01x")
    with pytest.raises(RemoteProtocolError) as caught:
        sides[0].next_event()
    assert caught.value.code == "version-order"
    sides[1].receive_end()
    sides[1].handle_time(1e9)


@pytest.mark.spec("VER-011")
def test_unknown_fields_and_future_versions_are_tolerated() -> None:
    import cbor2

    from fogp2p.framing import encode_frame
    from fogp2p.protocols.versioning.messages import decode_hello

    future = {
        1: [[1, 0], [1, 1], [1, 7]],
        2: b"\5" * 32,
        3: "future",
        4: {"fog/echo": [[[[1, 1], 0], [[9, 9], 0]], []]},
        5: {},
        77: {"anything": [1, 2]},
    }
    hello = decode_hello(cbor2.dumps(future))
    assert hello.handshake[-1] == V(1, 7)
    initiator, _ = machines(NEW, NEW)
    initiator.data_to_send()
    initiator.receive_data(encode_frame(cbor2.dumps(future)))
    assert isinstance(initiator.next_event(), HelloReceived)
    assert initiator._agreement is not None
    assert initiator._agreement.version("fog/echo") == V(1, 1)


def test_the_table_reaches_every_state_and_every_run_can_end() -> None:
    reached = {State.AWAITING_HELLO}
    for _ in State:
        reached |= {target for state in reached for target in TRANSITIONS[state].values()}
    assert reached == set(State)
    ends = {state for state in State if not TRANSITIONS[state]}
    assert ends == {State.READY, State.FAILED}
    for state in set(State) - ends:
        assert State.FAILED in TRANSITIONS[state].values()


def test_local_mistakes() -> None:
    keys = KEYS[0]
    for nonce, remote in ((b"short", KEYS[1].peer_id), (bytes(32), keys.peer_id)):
        with pytest.raises(LocalProtocolError):
            Machine(
                NEW,
                local=keys.peer_id,
                remote=remote,
                nonce=nonce,
                now=0.0,
                sign=keys.sign,
                verify=verify,
            )
    with pytest.raises(LocalProtocolError):
        Offer((Release(V(1, 1)), Release(V(1, 0))))
    with pytest.raises(LocalProtocolError):
        Offer(())
