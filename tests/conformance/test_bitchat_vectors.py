"""BitChat's bytes against the vectors of specs/bitchat."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest

from fogp2p.errors import RemoteProtocolError
from fogp2p.protocols.bitchat import (
    Announce,
    Packet,
    PrivateMessage,
    Reassembler,
    build_filter,
    decode_announce,
    decode_packet,
    decode_private_message,
    encode_announce,
    encode_private_message,
    fingerprint,
    packet_id,
    peer_id,
    split,
)
from fogp2p.protocols.bitchat.sync import decode_sync_request, encode_sync_request


def _load(name: str) -> Any:
    text = files("fogp2p.specs").joinpath(f"bitchat/vectors/v1/{name}.json").read_text()
    return json.loads(text)


PACKETS, MESSAGES, SYNC, FRAGMENTS = map(_load, ("packets", "messages", "sync", "fragments"))


@pytest.mark.spec("BTC-001", "BTC-002")
def test_identity() -> None:
    case = PACKETS["identity"]
    key = bytes.fromhex(case["noise_key"])
    assert fingerprint(key) == case["fingerprint"]
    assert peer_id(key).hex() == case["peer_id"] == case["fingerprint"][:16]


@pytest.mark.spec("BTC-010", "BTC-011", "BTC-012", "BTC-013", "BTC-020", "BTC-050")
@pytest.mark.parametrize("case", PACKETS["valid"], ids=lambda c: c["name"])
def test_packets(case: dict[str, Any]) -> None:
    packet = decode_packet(bytes.fromhex(case["encoded"]))
    assert packet.encode().hex() == case["encoded"]
    assert packet.signing_preimage().hex() == case["preimage"]
    assert packet.is_signed_by(bytes.fromhex(case["signing_key"]))
    assert packet_id(packet).hex() == case["packet_id"]
    recipient = bytes.fromhex(case["recipient"]) if case["recipient"] else None
    assert (packet.version, packet.type, packet.ttl) == tuple(
        case[key] for key in ("version", "type", "ttl")
    )
    assert (packet.timestamp_ms, packet.sender.hex()) == (case["timestamp_ms"], case["sender"])
    assert packet.recipient == recipient
    assert [hop.hex() for hop in packet.route] == case["route"]
    assert packet.payload.hex() == case["payload"]
    assert (packet.compressed is not None) is case["compressed"]


@pytest.mark.spec("BTC-030")
def test_announce_and_private_message() -> None:
    case = MESSAGES["announce"]
    announce = Announce(
        case["nickname"],
        bytes.fromhex(case["noise_key"]),
        bytes.fromhex(case["signing_key"]),
        tuple(map(bytes.fromhex, case["neighbours"])),
        case["capabilities"],
        case["geohash"],
        tuple((kind, bytes.fromhex(value)) for kind, value in case["unknown"]),
    )
    assert encode_announce(announce).hex() == case["encoded"]
    assert decode_announce(bytes.fromhex(case["encoded"])) == announce
    case = MESSAGES["private_message"]
    message = PrivateMessage(case["message_id"], case["content"])
    assert encode_private_message(message).hex() == case["encoded"]
    assert decode_private_message(bytes.fromhex(case["encoded"])) == message


@pytest.mark.spec("BTC-014", "BTC-030", "BTC-051")
@pytest.mark.parametrize(
    ("read", "case"),
    [
        pytest.param(read, case, id=f"{read.__name__}: {case['name']}")
        for read, cases in (
            (decode_packet, PACKETS["invalid"]),
            (decode_announce, MESSAGES["invalid_announce"]),
            (decode_private_message, MESSAGES["invalid_private_message"]),
            (decode_sync_request, SYNC["invalid"]),
        )
        for case in cases
    ],
)
def test_invalid_input_is_refused_with_its_code(read: Any, case: dict[str, str]) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read(bytes.fromhex(case["encoded"]))
    assert caught.value.code == case["code"]


@pytest.mark.spec("BTC-051", "BTC-052")
@pytest.mark.parametrize("case", SYNC["valid"], ids=lambda c: len(c["ids"]))
def test_sync_requests(case: dict[str, Any]) -> None:
    made, data, held = build_filter([bytes.fromhex(identifier) for identifier in case["ids"]])
    assert (made.p, made.modulus, sorted(made.values)) == (
        case["p"],
        case["modulus"],
        case["values"],
    )
    assert (data.hex(), held) == (case["data"], case["held"])
    request = decode_sync_request(bytes.fromhex(case["encoded"]))
    assert request.filter == made
    assert encode_sync_request(request).hex() == case["encoded"]


@pytest.mark.spec("BTC-040", "BTC-041")
def test_fragments() -> None:
    for case in FRAGMENTS["transcript"]:
        inner = decode_packet(bytes.fromhex(case["inner"]))
        pieces = list(split(inner, fragment_id=bytes.fromhex(case["fragment_id"])))
        assert [piece.encode().hex() for piece in pieces] == case["frames"]
        box = Reassembler()
        found: list[Packet | None] = [box.add(piece, 0.0) for piece in reversed(pieces)]
        assert found[-1] is not None and found[-1].payload == inner.payload
