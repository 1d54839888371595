"""What must hold for any bytes: codec, frames, names, mDNS packets, identify messages."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fogp2p.addresses import Scope, parse_address
from fogp2p.codec import Schema, decode, encode
from fogp2p.errors import RemoteProtocolError
from fogp2p.framing import FrameDecoder, encode_frame
from fogp2p.ids import PeerId, Version
from fogp2p.protocols.echo.machine import decode_answer
from fogp2p.protocols.lottery import Ticket
from fogp2p.protocols.versioning.messages import decode_choice, decode_hello
from fogp2p.transports.libp2p import identify
from fogp2p.transports.mdns.messages import parse

ANY = Schema.load("codec/v1.cddl", "message")
KEYS = st.one_of(st.integers(-(2**64), 2**64 - 1), st.text(max_size=20))
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**64), 2**64 - 1),
    st.binary(max_size=40),
    st.text(max_size=40),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(KEYS, inner, max_size=5)),
    max_leaves=20,
)


@pytest.mark.spec("COD-001")
@given(VALUES)
def test_what_is_encoded_decodes_to_the_same_value(value: Any) -> None:
    data = encode(value)
    assert decode(data, schema=ANY) == value
    assert encode(decode(data, schema=ANY)) == data


@pytest.mark.spec("COD-002")
@given(st.binary(max_size=200))
@example(b"\xa1\x00")
@example(b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff")
def test_any_bytes_decode_to_what_encodes_to_them_or_are_refused(data: bytes) -> None:
    try:
        value = decode(data, schema=ANY)
    except RemoteProtocolError:
        return
    assert encode(value) == data


@pytest.mark.spec("COD-002")
@given(VALUES, st.data())
def test_no_flipped_bit_gives_a_second_encoding(value: Any, data: st.DataObject) -> None:
    encoded = bytearray(encode(value))
    bit = data.draw(st.integers(0, 8 * len(encoded) - 1))
    encoded[bit // 8] ^= 1 << bit % 8
    try:
        other = decode(bytes(encoded), schema=ANY)
    except RemoteProtocolError:
        return
    assert encode(other) == encoded != encode(value)


HELLO: Any = {
    1: [[1, 0], [1, 1]],
    2: bytes(32),
    3: "x",
    4: {"fog/echo": [[[[1, 0], 0], [[1, 1], 0]], ["a", "b"]]},
    5: {"max": 1},
    6: [[1, "notice"]],
}
CHOICE: Any = {1: [1, 0], 2: {"fog/echo": [[1, 0], ["a"]]}, 3: bytes(64)}
ANSWER: Any = {1: b"x", 2: 1, 3: bytes(32)}
TICKET: Any = {1: bytes(32), 2: 1, 3: bytes(32), 4: "path", 5: bytes(80)}
READERS: Any = {
    "hello": (HELLO, decode_hello),
    "choice": (CHOICE, decode_choice),
    "answer": (ANSWER, lambda data: decode_answer(data, Version(1, 1))),
    "ticket": (TICKET, lambda data: Ticket.from_bytes(data).to_bytes()),
}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every item of a message."""
    found = [path] if path else []
    if isinstance(value, dict | list):
        children = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in children:
            found += places(item, (*path, key))
    return found


@pytest.mark.spec("COD-004")
@pytest.mark.parametrize("name", READERS)
@settings(max_examples=300)
@given(st.data())
def test_an_item_of_another_type_is_refused_and_never_crashes(name: str, data: Any) -> None:
    message, read = READERS[name]
    path = data.draw(st.sampled_from(places(message)))
    altered = copy.deepcopy(message)
    place = altered
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = data.draw(LEAVES | st.just([]) | st.just({}))
    try:
        read(encode(altered))
    except RemoteProtocolError:
        return


@pytest.mark.spec("FRM-004")
@given(st.lists(st.binary(max_size=300), max_size=8), st.data())
def test_frames_do_not_depend_on_how_the_stream_was_cut(frames: list[bytes], data: Any) -> None:
    stream = b"".join(map(encode_frame, frames))
    decoder, found = FrameDecoder(), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        decoder.receive_data(stream[:cut])
        stream = stream[cut:]
        while (frame := decoder.next_frame()) is not None:
            found.append(frame)
    assert found == frames and decoder.is_empty


@pytest.mark.spec("FRM-001")
@given(st.binary(max_size=100))
def test_any_stream_gives_frames_or_is_refused(data: bytes) -> None:
    decoder = FrameDecoder(max_bytes=50)
    decoder.receive_data(data)
    frames = []
    try:
        while (frame := decoder.next_frame()) is not None:
            frames.append(frame)
    except RemoteProtocolError:
        return
    assert data.startswith(b"".join(encode_frame(frame) for frame in frames))


@given(
    st.binary(max_size=80)
    | st.text(max_size=80)
    | st.from_regex(r"/ip[46]/[^/]{1,20}/tcp/\d{1,6}", fullmatch=True)
)
def test_any_address_is_read_or_refused(address: bytes | str) -> None:
    try:
        read = parse_address(address)
    except RemoteProtocolError:
        return
    assert parse_address(read.to_bytes()) == read


@given(st.binary(max_size=400))
def test_any_packet_is_an_mdns_message_or_refused(packet: bytes) -> None:
    try:
        parse(packet, "_p2p._udp.local.")
    except RemoteProtocolError:
        return


@given(st.binary(max_size=400))
def test_any_identify_message_is_read_or_refused(data: bytes) -> None:
    try:
        told = identify.decode(PeerId.from_ed25519(bytes(32)), data, Scope.PUBLIC)
    except RemoteProtocolError:
        return
    assert told.agent.isprintable() and len(told.agent) <= 64
