"""Noise against the published transcripts of other libraries, and Wycheproof's edge cases."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from fogp2p.errors import RemoteProtocolError
from fogp2p.protocols.noise import Handshake, KeyPair, OrderedTransport, Pattern
from fogp2p.protocols.noise.primitives import Cipher

WYCHEPROOF = Path(__file__).parent.parent / "fixtures" / "wycheproof"


def _transcripts() -> list[Any]:
    folder = files("fogp2p.specs").joinpath("noise/vectors/v1")
    return [
        pytest.param(case, id=f"{name}-{number}-{case['protocol_name'].split('_')[1]}")
        for name in ("bitchat-xx", "cacophony", "snow")
        for number, case in enumerate(
            json.loads(folder.joinpath(f"{name}.json").read_text())["transcript"]
        )
    ]


def _wycheproof(name: str) -> list[Any]:
    document = json.loads((WYCHEPROOF / f"{name}.json").read_text())
    return list(document["tests"])


def _side(case: dict[str, Any], *, initiator: bool) -> Handshake:
    role, other = ("init", "resp") if initiator else ("resp", "init")

    def pair(field: str) -> KeyPair | None:
        return KeyPair(bytes.fromhex(case[field])) if case.get(field) else None

    pattern = Pattern[case["protocol_name"].split("_")[1]]
    remote = None
    if pattern.knows_remote(initiator):
        static = pair(f"{other}_static")
        assert static is not None
        remote = static.public
        named = case.get(f"{role}_remote_static")
        assert named is None or named == remote.hex()
    # A one-way responder never uses an ephemeral key; the vectors name none.
    ephemeral = pair(f"{role}_ephemeral") or KeyPair(b"\7" * 32)
    return Handshake(
        pattern,
        initiator=initiator,
        ephemeral=ephemeral,
        static=pair(f"{role}_static") if pattern.needs_static(initiator) else None,
        remote_static=remote,
        prologue=bytes.fromhex(case[f"{role}_prologue"]),
    )


@pytest.mark.spec("NOI-001", "NOI-002", "NOI-003", "NOI-010")
@pytest.mark.parametrize("case", _transcripts())
def test_transcripts_of_other_libraries(case: dict[str, Any]) -> None:
    sides = [_side(case, initiator=True), _side(case, initiator=False)]
    messages = iter(enumerate(case["messages"]))
    for _ in sides[0].pattern.messages:
        number, message = next(messages)
        writer, reader = sides[number % 2], sides[1 - number % 2]
        payload = bytes.fromhex(message["payload"])
        sealed = writer.write_message(payload)
        assert sealed.hex() == message["ciphertext"]
        assert reader.read_message(sealed) == payload
    assert sides[0].handshake_hash == sides[1].handshake_hash
    if "handshake_hash" in case:
        assert sides[0].handshake_hash.hex() == case["handshake_hash"]
    transports: list[OrderedTransport] = [side.ordered_transport() for side in sides]
    for number, message in messages:
        sender = 0 if sides[0].pattern.one_way else number % 2
        payload = bytes.fromhex(message["payload"])
        sealed = transports[sender].encrypt(payload)
        assert sealed.hex() == message["ciphertext"]
        assert transports[1 - sender].decrypt(sealed) == payload


@pytest.mark.spec("NOI-004")
def test_wycheproof_x25519() -> None:
    """All-zero results are refused; every other case gives the shared secret of the vector."""
    refused = 0
    for case in _wycheproof("x25519"):
        pair = KeyPair(bytes.fromhex(case["private"]))
        shared = bytes.fromhex(case["shared"])
        if shared == bytes(32):
            refused += 1
            with pytest.raises(RemoteProtocolError, match="small order"):
                pair.exchange(bytes.fromhex(case["public"]))
        else:
            assert pair.exchange(bytes.fromhex(case["public"])) == shared, case["comment"]
    assert refused > 20


def test_wycheproof_chacha20_poly1305() -> None:
    """The cases whose nonce has Noise's form run through our cipher; all run through its AEAD."""
    through_noise = 0
    for case in _wycheproof("chacha20_poly1305"):
        iv, ad, plain, sealed = (bytes.fromhex(case[key]) for key in ("iv", "aad", "msg", "ct"))
        sealed += bytes.fromhex(case["tag"])
        cipher = Cipher(bytes.fromhex(case["key"]))
        if iv[:4] == bytes(4):
            through_noise += 1
            nonce = int.from_bytes(iv[4:], "little")
            if case["result"] == "valid":
                assert cipher.encrypt(nonce, ad, plain) == sealed
                assert cipher.decrypt(nonce, ad, sealed) == plain
            else:
                with pytest.raises(RemoteProtocolError):
                    cipher.decrypt(nonce, ad, sealed)
        elif case["result"] == "valid":
            assert cipher._aead.decrypt(iv, sealed, ad) == plain
    assert through_noise > 0
