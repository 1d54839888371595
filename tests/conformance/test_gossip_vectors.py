"""The vectors of specs/gossip, read by the library (readers/gossip.py reads them without it)."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest

from fogp2p.errors import RemoteProtocolError
from fogp2p.framing import encode_varint
from fogp2p.identity import verify
from fogp2p.protocols.gossip.messages import Envelope, Rpc, is_forged, is_verifiable
from fogp2p.testing import load_vectors

VECTORS = load_vectors("gossip")["messages"]
RPCS = json.loads(
    files("fogp2p.specs").joinpath("gossip/vectors/v1/messages.json").read_text("ascii")
)["rpcs"]


def ids(case: dict[str, str]) -> str:
    return case["name"]


def read(encoded: str) -> Rpc:
    raw = bytes.fromhex(encoded)
    return Rpc.from_bytes(b"\x12" + encode_varint(len(raw)) + raw)


def judge(envelope: Envelope) -> str:
    """The library's own steps, in their order."""
    if not is_verifiable(envelope.author):
        return "unverifiable"
    genuine = verify(envelope.author, envelope.preimage(), envelope.signature)
    return "" if genuine and not is_forged(envelope) else "forged"


@pytest.mark.spec("GOS-001", "GOS-003")
@pytest.mark.parametrize("case", VECTORS.valid, ids=ids)
def test_valid_messages(case: dict[str, Any]) -> None:
    (found,) = read(case["encoded"]).publish
    assert judge(found) == ""
    assert (str(found.author), found.number) == (case["author"], case["number"])
    assert (found.topic, found.data.hex()) == (case["topic"], case["data"])
    assert (found.id.hex(), found.preimage().hex()) == (case["id"], case["signed"])
    raw = bytes.fromhex(case["encoded"])
    sent = Rpc(publish=(found,)).to_bytes()
    assert sent == b"\x12" + encode_varint(len(raw)) + raw, "passed on as received"


@pytest.mark.spec("GOS-001", "GOS-003", "GOS-004", "GOS-006")
@pytest.mark.parametrize("case", VECTORS.invalid, ids=ids)
def test_invalid_messages(case: dict[str, str]) -> None:
    if case["code"] == "gossip-message":
        with pytest.raises(RemoteProtocolError) as caught:
            read(case["encoded"])
        assert caught.value.code == case["code"]
        return
    rpc = read(case["encoded"])
    if case["code"] == "unusable":
        assert (rpc.publish, rpc.unusable) == ((), 1)
    else:
        (found,) = rpc.publish
        assert judge(found) == case["code"]


@pytest.mark.parametrize("case", RPCS, ids=ids)
def test_rpcs(case: dict[str, Any]) -> None:
    raw = bytes.fromhex(case["encoded"])
    rpc = Rpc.from_bytes(raw)
    assert rpc.to_bytes() == raw
    said = {
        "subscribe": [each.topic for each in rpc.subscriptions if each.wanted],
        "unsubscribe": [each.topic for each in rpc.subscriptions if not each.wanted],
        "graft": list(rpc.graft),
        "prune": [[each.topic, each.backoff_s] for each in rpc.prune],
        "ihave": [[each.topic, *(name.hex() for name in each.ids)] for each in rpc.ihave],
        "iwant": [name.hex() for name in rpc.iwant],
        "idontwant": [name.hex() for name in rpc.idontwant],
    }
    assert {kind: what for kind, what in said.items() if what} == case["says"]
