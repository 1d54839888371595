"""The vectors of specs/registry, read by the library and by a reader without it."""

from __future__ import annotations

import json
from functools import partial
from importlib.resources import files

import pytest

from fogp2p.errors import RemoteProtocolError
from fogp2p.identity import verify
from fogp2p.protocols.registry.descriptor import Claim, role_key
from fogp2p.protocols.registry.messages import Answer, Receipt, read_request
from fogp2p.testing import load_vectors

VECTORS = load_vectors("registry")
FILE = files("fogp2p.specs").joinpath("registry/vectors/v1/descriptors.json")
DOCUMENT = json.loads(FILE.read_text("ascii"))
DESCRIPTORS, MESSAGES = VECTORS["descriptors"], VECTORS["messages"]


def ids(case: dict[str, str]) -> str:
    return case["name"]


@pytest.mark.spec("REG-001", "REG-003", "REG-013")
@pytest.mark.parametrize("case", DESCRIPTORS.valid, ids=ids)
def test_valid_descriptors(case: dict[str, object]) -> None:
    raw = bytes.fromhex(str(case["encoded"]))
    found = Claim.from_bytes(raw, now=DOCUMENT["now"]).prove(verify)
    assert found.raw == raw
    assert str(found.peer) == case["peer"]
    assert [found.sequence, found.issued, found.expires, found.epoch] == [
        case[name] for name in ("sequence", "issued", "expires", "epoch")
    ]
    assert [str(address) for address in found.multiaddrs()] == case["addresses"]
    assert {name: key.hex() for name, key in found.keys.items()} == case["keys"]
    assert (list(found.roles), dict(found.capacity)) == (case["roles"], case["capacity"])
    assert sorted(found.extensions()) == case["extensions"]


@pytest.mark.spec(
    "REG-001",
    "REG-002",
    "REG-003",
    "REG-004",
    "REG-005",
    "REG-006",
    "REG-010",
    "REG-011",
    "REG-012",
    "REG-014",
)
@pytest.mark.parametrize("case", DESCRIPTORS.invalid, ids=ids)
def test_invalid_descriptors(case: dict[str, str]) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        Claim.from_bytes(bytes.fromhex(case["encoded"]), now=DOCUMENT["now"]).prove(verify)
    assert caught.value.code == case["code"]


@pytest.mark.spec("REG-060")
def test_keys_of_roles() -> None:
    assert {role: role_key(role).hex() for role in DOCUMENT["roles"]} == DOCUMENT["roles"]


@pytest.mark.spec("REG-032", "REG-033")
@pytest.mark.parametrize("case", MESSAGES.invalid, ids=ids)
def test_invalid_messages(case: dict[str, str]) -> None:
    read = {
        "request": read_request,
        "receipt": Receipt.from_bytes,
        "answer to 8": partial(Answer.from_bytes, limit=8),
    }[case["kind"]]
    with pytest.raises(RemoteProtocolError) as caught:
        read(bytes.fromhex(case["encoded"]))
    assert caught.value.code == case["code"]


@pytest.mark.parametrize("case", MESSAGES.valid, ids=ids)
def test_valid_messages(case: dict[str, str]) -> None:
    data = bytes.fromhex(case["encoded"])
    kind = case["name"].partition(":")[0]
    if kind == "receipt":
        assert Receipt.from_bytes(data).to_bytes() == data
    elif kind == "answer":
        assert Answer.from_bytes(data, 8).to_bytes() == data
    else:
        assert read_request(data).to_bytes() == data
