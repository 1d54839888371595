"""The published vectors of specs/codec, framing, echo and versioning."""

from __future__ import annotations

from typing import Any

import pytest

from fogp2p.codec import Schema, decode, encode
from fogp2p.errors import RemoteProtocolError
from fogp2p.framing import FrameDecoder, encode_frame
from fogp2p.identity import Identity, verify
from fogp2p.ids import PeerId, Version
from fogp2p.protocols.echo.machine import Echo
from fogp2p.protocols.versioning.messages import (
    choose,
    decode_choice,
    decode_hello,
    encode_choice,
    encode_hello,
    signed_bytes,
)
from fogp2p.testing.vectors import load_vectors

CODEC = load_vectors("codec")["messages"]
FRAMES = load_vectors("framing")["frames"]
ECHO = load_vectors("echo")["streams"]
MESSAGES = load_vectors("versioning")["messages"]
RUNS = load_vectors("versioning")["transcripts"]


def _name(case: dict[str, Any]) -> str:
    return str(case["name"])


@pytest.mark.spec("COD-001")
@pytest.mark.parametrize("case", CODEC.valid, ids=_name)
def test_messages_have_one_encoding(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["encoded"])
    assert encode(decode(data, schema=Schema.load("codec/v1.cddl", "message"))) == data


@pytest.mark.spec("COD-002", "COD-003")
@pytest.mark.parametrize("case", CODEC.invalid, ids=_name)
def test_other_messages_are_refused(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["encoded"]) + bytes(case["then_zeros"])
    with pytest.raises(RemoteProtocolError) as caught:
        decode(data, schema=Schema.load("codec/v1.cddl", "message"))
    assert caught.value.code == case["code"]


@pytest.mark.spec("FRM-001")
@pytest.mark.parametrize("case", FRAMES.valid, ids=_name)
def test_frames(case: dict[str, Any]) -> None:
    decoder = FrameDecoder()
    decoder.receive_data(bytes.fromhex(case["stream"]))
    assert [frame.hex() for frame in iter(decoder.next_frame, None)] == case["frames"]
    assert b"".join(encode_frame(bytes.fromhex(f)) for f in case["frames"]).hex() == case["stream"]


@pytest.mark.spec("FRM-001", "FRM-002")
@pytest.mark.parametrize("case", FRAMES.invalid, ids=_name)
def test_other_frames_are_refused(case: dict[str, Any]) -> None:
    decoder = FrameDecoder(max_bytes=case["limit"])
    decoder.receive_data(bytes.fromhex(case["stream"]))
    with pytest.raises(RemoteProtocolError) as caught:
        decoder.next_frame()
    assert caught.value.code == case["code"]


@pytest.mark.spec("ECH-001", "ECH-010")
@pytest.mark.parametrize("case", ECHO.valid, ids=_name)
def test_echo_answers(case: dict[str, Any]) -> None:
    major, minor, _ = case["protocol"].rpartition("/")[2].split(".")
    answered = Echo(Version(int(major), int(minor))).receive_data(bytes.fromhex(case["sent"]))
    assert answered.hex() == case["answered"]


@pytest.mark.spec("ECH-012")
@pytest.mark.parametrize("case", ECHO.invalid, ids=_name)
def test_echo_refuses(case: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        Echo(Version(1, 0)).receive_data(bytes.fromhex(case["sent"]))
    assert caught.value.code == case["code"]


@pytest.mark.spec("VER-010", "VER-011", "VER-041")
@pytest.mark.parametrize("case", MESSAGES.valid, ids=_name)
def test_handshake_messages(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["encoded"])
    if case["kind"] == "choice":
        choice = decode_choice(data)
        assert encode_choice(choice) == data
        assert str(choice.agreement.handshake) == case["handshake"]
        return
    hello = decode_hello(data)
    assert [str(version) for version in hello.handshake] == case["handshake"]
    assert hello.nonce.hex() == case["nonce"] and hello.software == case["software"]
    assert dict(hello.limits) == case["limits"]
    assert [[notice.day, notice.text] for notice in hello.notices] == case["notices"]
    for name, offer in hello.protocols.items():
        assert [[str(r.version), r.ends_day] for r in offer.releases] == (
            case["protocols"][name]["releases"]
        )
        assert sorted(offer.features) == case["protocols"][name]["features"]


@pytest.mark.spec("VER-010")
@pytest.mark.parametrize("case", MESSAGES.invalid, ids=_name)
def test_other_handshake_messages_are_refused(case: dict[str, Any]) -> None:
    read = decode_hello if case["kind"] == "hello" else decode_choice
    with pytest.raises(RemoteProtocolError) as caught:
        read(bytes.fromhex(case["encoded"]))
    assert caught.value.code == case["code"]


@pytest.mark.spec("VER-020", "VER-021", "VER-022", "VER-030", "COD-005")
@pytest.mark.parametrize("case", RUNS.transcript, ids=_name)
def test_runs(case: dict[str, Any]) -> None:
    frames = []
    for line in case["frames"]:
        decoder = FrameDecoder()
        decoder.receive_data(bytes.fromhex(line))
        frames.append(decoder.next_frame() or b"")
    first, second = decode_hello(frames[0]), decode_hello(frames[1])
    agreement = choose(first, second)
    if agreement is None:
        assert set(case["result"]["code"]) == {"version-common"} and len(frames) == 2
        return
    assert choose(second, first) == agreement
    assert str(agreement.handshake) == case["result"]["handshake"]
    peers = [PeerId.parse(case[role]["peer"]) for role in ("initiator", "responder")]
    assert peers[0] < peers[1]
    for role, frame in zip(("initiator", "responder"), frames[2:], strict=True):
        keys = Identity("ed25519", bytes.fromhex(case[role]["secret"]), bytes(32), bytes(32))
        signed = signed_bytes(frames[0], frames[1], agreement, *peers, role)
        choice = decode_choice(frame)
        assert choice.agreement == agreement and choice.signature == keys.sign(signed)
        assert verify(keys.peer_id, signed, choice.signature)
    again = encode_hello(first)
    assert again == frames[0]
