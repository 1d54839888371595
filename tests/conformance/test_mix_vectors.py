"""Mix packets against a model made by others, literal values of the deployed code, and ours."""

from __future__ import annotations

import hashlib
import hmac
import json
from importlib.resources import files
from typing import Any

import pytest

from fogp2p.addresses import parse_address
from fogp2p.errors import LocalProtocolError, RemoteProtocolError
from fogp2p.ids import ProtocolId
from fogp2p.protocols.mix import (
    Delivered,
    Forward,
    Hop,
    NextHop,
    Relayed,
    ReplyBlock,
    Returned,
    build,
    decode_address,
    decode_forward,
    decode_reply,
    encode_address,
    encode_forward,
    make_reply_block,
    pad,
    primitives,
    recover_reply,
    unpad,
    unwrap,
    use_reply_block,
)


def _load(name: str) -> Any:
    return json.loads(files("fogp2p.specs").joinpath(f"mix/vectors/v1/{name}.json").read_text())


def _hex(values: list[str]) -> list[bytes]:
    return [bytes.fromhex(value) for value in values]


MODEL = _load("packets")
NIM = _load("nim-literals")
PRIVATE = _hex(MODEL["node_private_keys"])


def _model_path(delays: list[int]) -> list[Hop]:
    parts = zip(
        _hex(MODEL["node_public_keys"]), _hex(MODEL["hop_addr_blocks"]), delays, strict=True
    )
    return [Hop(*part) for part in parts]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.spec("MIX-001", "MIX-002", "MIX-003", "MIX-010", "MIX-011", "MIX-014")
def test_the_forward_packet_of_the_independent_model() -> None:
    case = MODEL["forward_v2"]
    message = pad(bytes.fromhex(case["inner_hex"]))
    packet = build(
        _model_path(MODEL["delays_ms"]),
        message,
        ephemeral=bytes.fromhex(MODEL["ephemeral_x"]),
        destination=bytes.fromhex(MODEL["dest_addr_block"]),
    )
    assert packet.hex() == case["packet_hex"]
    for position, private in enumerate(PRIVATE):
        result = unwrap(private, packet)
        step = case["hop_steps"][position]
        assert result.tag.hex() == case["replay_tags_H_s"][position]
        if isinstance(result, Relayed):
            assert result.address.hex() == step["next"]
            assert result.delay_ms == step["delay"]
            assert _sha256(result.packet) == step["out_sha256"]
            packet = result.packet
        else:
            assert isinstance(result, Delivered)
            assert result.destination.hex() == step["dest"]
            assert _sha256(result.message) == step["msg_sha256"]
            assert decode_forward(unpad(result.message)) == Forward(
                ProtocolId("/test/1.0.0"), b"hello mix"
            )


@pytest.mark.spec("MIX-020", "MIX-021", "MIX-022")
def test_the_reply_block_of_the_independent_model() -> None:
    case = MODEL["surb_reply_v2"]
    block, secret = make_reply_block(
        _model_path(case["delays_ms"]),
        ephemeral=bytes.fromhex(case["ephemeral_x"]),
        surb_id=bytes.fromhex(case["surb_id"]),
        reply_key=bytes.fromhex(case["reply_key"]),
    )
    assert block.to_bytes().hex() == case["surb_hex"]
    block = ReplyBlock.from_bytes(block.to_bytes())
    packet = use_reply_block(block, pad(bytes.fromhex(case["reply_inner_hex"])))
    assert _sha256(packet) == case["reply_packet_sha256"]
    for private in PRIVATE[:-1]:
        result = unwrap(private, packet)
        assert isinstance(result, Relayed)
        packet = result.packet
    last = unwrap(PRIVATE[-1], packet)
    assert isinstance(last, Returned)
    assert last.surb_id.hex() == case["surb_id"]
    assert _sha256(last.payload) == case["final_delta_sha256"]
    message = recover_reply(secret, last.payload)
    assert _sha256(message) == case["recovered_msg_sha256"]
    assert decode_reply(unpad(message)) == b"reply bytes"


@pytest.mark.spec("MIX-004")
def test_lioness_of_lip_183() -> None:
    case = MODEL["lioness_lip183"]
    seed, plain = bytes.fromhex(case["seed"]), bytes((i + 3) & 255 for i in range(512))
    assert primitives.lioness_encrypt(seed, plain).hex() == case["cipher512_hex"]
    assert primitives.lioness_decrypt(seed, bytes.fromhex(case["cipher512_hex"])) == plain


def test_literal_values_of_the_deployed_implementation() -> None:
    tables = NIM["tests/test_crypto.nim"]
    for case in tables["hmac_sha256_trunc16"]:
        digest = hmac.digest(case["key_ascii"].encode(), case["data_ascii"].encode(), "sha256")
        assert digest[:16].hex() == case["out"]
    lioness = NIM["tests/test_lioness.nim (LIP-183 version)"]
    key = bytes(range(32))
    stream = primitives.aes_ctr(key[:16], key[16:], bytes(range(48)))
    assert stream.hex() == lioness["aes_ctr_stream"]["out"]
    assert primitives.HopKeys(key).payload_seed.hex() == lioness["kdf_domsep"]["out"]
    for case in NIM["tests/test_mix_message.nim"]["deserialize_errors"]:
        with pytest.raises(RemoteProtocolError):
            decode_forward(bytes.fromhex(case["hex"]))


@pytest.mark.spec("MIX-030")
def test_addresses_of_the_deployed_implementation() -> None:
    """Its examples, with the peer id that it keeps beside them."""
    peer = "16Uiu2HAmDHw4mwBdEjxjJPhrt8Eq1kvDjXAuwkqCmhNiz363AFV2"
    cases = NIM["tests/test_multiaddr.nim"]
    for text in cases["roundtrip"][1:]:
        address = parse_address(f"{text}/p2p/{peer}")
        block = encode_address(NextHop.from_multiaddr(address), extended=False)
        assert decode_address(block).to_multiaddr() == address
    for text in cases["must_fail"]:
        with pytest.raises((LocalProtocolError, RemoteProtocolError)):
            hop = NextHop.from_multiaddr(parse_address(f"{text.rstrip('/')}/p2p/{peer}"))
            encode_address(hop, extended=False)


ADDRESSES = _load("addresses")


@pytest.mark.spec("MIX-030", "MIX-031", "MIX-032")
@pytest.mark.parametrize("case", ADDRESSES["valid"], ids=lambda c: c["multiaddr"])
def test_address_blocks(case: dict[str, Any]) -> None:
    hop = NextHop.from_multiaddr(parse_address(case["multiaddr"]))
    assert encode_address(hop, extended=case["extended"]).hex() == case["encoded"]
    assert decode_address(bytes.fromhex(case["encoded"])) == hop


@pytest.mark.spec("MIX-033")
@pytest.mark.parametrize("case", ADDRESSES["invalid"], ids=lambda c: c["name"])
def test_unusable_address_blocks_are_refused(case: dict[str, str]) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_address(bytes.fromhex(case["encoded"]))
    assert caught.value.code == case["code"]


PAYLOADS = _load("payloads")


@pytest.mark.spec("MIX-041")
@pytest.mark.parametrize("case", PAYLOADS["valid"])
def test_forward_data(case: dict[str, Any]) -> None:
    blocks = tuple(map(ReplyBlock.from_bytes, _hex(case["reply_blocks"])))
    forward = Forward(ProtocolId(case["protocol"]), bytes.fromhex(case["body"]), blocks)
    assert encode_forward(forward).hex() == case["encoded"]
    assert decode_forward(bytes.fromhex(case["encoded"])) == forward


@pytest.mark.spec("MIX-040", "MIX-041", "MIX-020")
@pytest.mark.parametrize(
    ("read", "case"),
    [
        pytest.param(read, case, id=case["name"])
        for read, key in (
            (decode_forward, "invalid"),
            (unpad, "invalid_padding"),
            (ReplyBlock.from_bytes, "invalid_reply_block"),
        )
        for case in PAYLOADS[key]
    ],
)
def test_malformed_data_is_refused_with_its_code(read: Any, case: dict[str, str]) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read(bytes.fromhex(case["encoded"]))
    assert caught.value.code == case["code"]


@pytest.mark.spec("MIX-012", "MIX-014")
@pytest.mark.parametrize("case", _load("paths")["transcript"], ids=lambda c: len(c["delays_ms"]))
def test_paths_of_one_to_five_hops(case: dict[str, Any]) -> None:
    private = _hex(case["private_keys"])
    hops = [
        Hop(primitives.public_key(key), address, delay)
        for key, address, delay in zip(
            private, _hex(case["addresses"]), case["delays_ms"], strict=True
        )
    ]
    packet = build(
        hops, pad(bytes.fromhex(case["data"])), ephemeral=bytes.fromhex(case["ephemeral"])
    )
    assert packet[:624].hex() == case["header"]
    for key, step in zip(private, case["steps"], strict=True):
        assert _sha256(packet) == step["packet_sha256"]
        result = unwrap(key, packet)
        assert result.tag.hex() == step["tag"]
        if isinstance(result, Relayed):
            packet = result.packet
    assert isinstance(result, Delivered)
    assert unpad(result.message).hex() == case["data"]
