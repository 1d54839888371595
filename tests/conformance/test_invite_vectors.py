"""The published vectors of specs/invite."""

from __future__ import annotations

from typing import Any

import pytest

from fogp2p.errors import RemoteProtocolError
from fogp2p.ids import PeerId
from fogp2p.protocols.invite.codes import Link, Words, parse_code, password
from fogp2p.protocols.invite.errors import CodeError
from fogp2p.protocols.invite.machine import (
    Asked,
    Inviter,
    Joiner,
    Kept,
    Offered,
    Proved,
    Shown,
    WrongGuess,
)
from fogp2p.protocols.invite.messages import Contact, Reason, decode_contact, decode_message
from fogp2p.testing.vectors import load_vectors

VECTORS = load_vectors("invite")


def _name(case: dict[str, Any]) -> str:
    return str(case["name"])


@pytest.mark.spec("INV-001", "INV-002", "INV-004")
@pytest.mark.parametrize("case", VECTORS["codes"].valid, ids=_name)
def test_codes(case: dict[str, Any]) -> None:
    code = parse_code(case["text"])
    assert code.nameplate == case["nameplate"] and password(code).hex() == case["password"]
    if isinstance(code, Words):
        assert list(code.words) == case["words"]
        return
    assert isinstance(code, Link)
    assert (str(code.peer), code.secret.hex()) == (case["peer"], case["secret"])
    assert [str(address) for address in code.addresses] == case["addresses"]


@pytest.mark.spec("INV-001", "INV-003")
@pytest.mark.parametrize("case", VECTORS["codes"].invalid, ids=_name)
def test_other_codes_are_refused(case: dict[str, Any]) -> None:
    with pytest.raises(CodeError) as caught:
        parse_code(case["text"])
    assert caught.value.code == case["code"]


@pytest.mark.parametrize("case", VECTORS["messages"].valid, ids=_name)
def test_messages_are_read(case: dict[str, Any]) -> None:
    decode_message(bytes.fromhex(case["encoded"]))


@pytest.mark.parametrize("case", VECTORS["messages"].invalid, ids=_name)
def test_other_messages_are_refused(case: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_message(bytes.fromhex(case["encoded"]))
    assert caught.value.code == case["code"]


@pytest.mark.spec("INV-010", "INV-011", "INV-012", "INV-013", "INV-030")
@pytest.mark.parametrize("role", ["joiner", "inviter"])
@pytest.mark.parametrize("case", VECTORS["transcripts"].transcript, ids=_name)
def test_each_side_says_what_is_written(case: dict[str, Any], role: str) -> None:
    """One side is ours, the other speaks from the file."""
    peers = {side: PeerId.parse(case[side]["peer"]) for side in ("joiner", "inviter")}
    other = "inviter" if role == "joiner" else "joiner"
    keys = {"local": peers[role], "remote": peers[other]}
    entropy = bytes.fromhex(case[role]["entropy"])
    code = parse_code(case["typed" if role == "joiner" else "made"]["text"])
    machine: Joiner | Inviter
    if role == "joiner":
        machine = Joiner(**keys, entropy=entropy, nameplate=code.nameplate, password=password(code))
    else:
        machine = Inviter(**keys, entropy=entropy)
    contact = _contact_of(case, role)
    for line in case["said"]:
        data = bytes.fromhex(line["bytes"])
        if line["from"] == role:
            assert machine.data_to_send() == data
            continue
        machine.receive_data(data)
        match machine.next_event(), machine:
            case Asked(), Inviter():
                machine.pair(code.nameplate, 600, password(code))
            case Proved(), Inviter():
                assert contact is not None
                machine.accept(contact)
            case WrongGuess(), Inviter():
                machine.refuse(Reason.WRONG_GUESS, 2)
            case Shown(), Inviter():
                machine.stored()
            case Offered(), Joiner():
                machine.begin()
            case Shown(), Joiner():
                assert contact is not None
                machine.present(contact)
            case Kept(), Joiner():
                machine.finish()
    assert machine.is_over and machine.data_to_send() == b""


def _contact_of(case: dict[str, Any], role: str) -> Contact | None:
    """What that side shows in the file."""
    found = None
    for line in case["said"]:
        data = bytes.fromhex(line["bytes"])
        at = data.find(b"\xa3\x00\x06\x01\x58")
        if line["from"] == role and at >= 0:
            found = decode_contact(data[at + 6 : at + 6 + data[at + 5]])
    return found
