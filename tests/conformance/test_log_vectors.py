"""The published vectors of specs/log."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from fogp2p.errors import RemoteProtocolError
from fogp2p.protocols.log.entries import ForkProof, decode_entry, is_signed
from fogp2p.protocols.log.keys import Keyring, ReaderKey, commitment, open_body
from fogp2p.protocols.log.machine import Replica
from fogp2p.protocols.log.messages import decode_message, encode_message, interest_tag

VECTORS = Path(str(files("fogp2p.specs").joinpath("log/vectors/v1")))
ENTRIES, MESSAGES, LOGS, SEALED = (
    json.loads((VECTORS / f"{name}.json").read_text("ascii"))
    for name in ("entries", "messages", "logs", "sealed")
)


@pytest.mark.spec("LOG-001", "LOG-004")
@pytest.mark.parametrize("case", ENTRIES["valid"], ids=lambda case: case["name"])
def test_entries(case: dict[str, Any]) -> None:
    entry = decode_entry(bytes.fromhex(case["encoded"]))
    assert is_signed(entry)
    assert (entry.id.hex(), entry.group.hex(), entry.author.hex()) == (
        case["id"],
        case["group"],
        case["author"],
    )
    assert (entry.position, entry.height, entry.kind) == (
        case["position"],
        case["height"],
        case["kind"],
    )
    assert [each.hex() for each in entry.past] == case["past"]
    assert entry.body.hex() == case["body"]


@pytest.mark.spec("LOG-001", "LOG-002", "LOG-003")
@pytest.mark.parametrize("case", ENTRIES["invalid"], ids=lambda case: case["name"])
def test_bad_entries_are_refused_with_their_code(case: dict[str, str]) -> None:
    data = bytes.fromhex(case["encoded"])
    if case["code"] == "log-signature":
        assert not is_signed(decode_entry(data))
        return
    with pytest.raises(RemoteProtocolError) as caught:
        decode_entry(data)
    assert caught.value.code == case["code"]


def test_messages() -> None:
    for case in MESSAGES["valid"]:
        data = bytes.fromhex(case["encoded"])
        message = decode_message(data)
        assert encode_message(message) == data
        assert type(message).__name__.lower() == case["type"]
    tag = MESSAGES["interest"]
    made = interest_tag(bytes.fromhex(tag["group"]), bytes.fromhex(tag["peer"]))
    assert made.hex() == tag["tag"]


@pytest.mark.spec("LOG-061", "LOG-063")
@pytest.mark.parametrize("case", MESSAGES["invalid"], ids=lambda case: case["name"])
def test_bad_messages_are_refused_with_their_code(case: dict[str, str]) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_message(bytes.fromhex(case["encoded"]))
    assert caught.value.code == case["code"]


@pytest.mark.spec("LOG-011", "LOG-030", "LOG-031", "LOG-032", "LOG-040")
@pytest.mark.parametrize("case", LOGS["transcript"], ids=lambda case: case["name"])
def test_logs(case: dict[str, Any]) -> None:
    entries = [decode_entry(bytes.fromhex(each["encoded"])) for each in case["entries"]]
    forward, backward = Replica(entries[0].group), Replica(entries[0].group)
    for entry in entries:
        forward.ingest(entry)
    for entry in reversed(entries):
        backward.ingest(entry)
    for replica in (forward, backward):
        verdicts = replica.verdicts()
        assert [verdicts[entry.id].value for entry in entries] == [
            each["verdict"] for each in case["entries"]
        ]
        members = sorted(replica.members.values(), key=lambda member: member.key)
        assert [[m.key.hex(), int(m.role), m.level] for m in members] == case["members"]
        assert replica.fingerprint.hex() == case["fingerprint"]
        forks = replica.forks.values()
        assert [[f.author.hex(), f.position] for f in forks] == case["forks"]
        for fork in forks:
            by_id = {entry.id: entry.data for entry in entries}
            proof = ForkProof(by_id[fork.first], by_id[fork.second])
            assert proof.culprit() == (replica.group, fork.author, fork.position)


@pytest.mark.spec("LOG-050", "LOG-051")
def test_sealed() -> None:
    group, key = bytes.fromhex(SEALED["group"]), bytes.fromhex(SEALED["key"])
    assert commitment(group, key).hex() == SEALED["commitment"]
    for public, box in SEALED["sealed"]:
        reader = ReaderKey(bytes.fromhex(SEALED["secrets"][public]))
        assert reader.public.hex() == public
        assert reader.open(group, bytes.fromhex(box)) == key
        assert key.hex() not in repr(reader)
        with pytest.raises(RemoteProtocolError):
            reader.open(bytes(32), bytes.fromhex(box))
    body = SEALED["body"]
    epoch, author = bytes.fromhex(body["epoch"]), bytes.fromhex(body["author"])
    sealed = bytes.fromhex(body["sealed"])
    plain = open_body(key, group, epoch, author, body["position"], sealed)
    assert plain is not None and plain.hex() == body["plain"]
    for args in (
        (group, epoch, author, 6, sealed),
        (group, epoch, bytes(32), 5, sealed),
        (group, bytes(32), author, 5, sealed),
        (bytes(32), epoch, author, 5, sealed),
        (group, epoch, author, 5, sealed[:-1]),
        (group, epoch, author, 5, b"short"),
    ):
        assert open_body(key, *args) is None


@pytest.mark.attack(127)
@pytest.mark.spec("LOG-050")
def test_an_epoch_with_different_keys_for_different_members_is_not_used() -> None:
    from fogp2p.protocols.log.entries import EpochKeySet
    from fogp2p.protocols.log.keys import seal_epoch

    group = bytes(32)
    members = [bytes.fromhex(public) for public, _ in SEALED["sealed"]]
    secrets = [bytes.fromhex(SEALED["secrets"][member.hex()]) for member in members]
    honest = seal_epoch(group, b"\1" * 32, members, [bytes([n + 1]) * 32 for n in range(3)])
    other = seal_epoch(group, b"\2" * 32, members, [bytes([n + 5]) * 32 for n in range(3)])
    mixed = EpochKeySet(honest.commitment, (honest.sealed[0], other.sealed[1], honest.sealed[2]))
    keys = []
    for secret in secrets:
        ring = Keyring(group, ReaderKey(secret))
        ring.add(b"e", 5, mixed)
        keys.append(ring.key(b"e"))
        usable = ring.usable(members, lambda name: True)
        assert (usable is None) == (keys[-1] is None)
        assert ring.usable(members[:2], lambda name: True) is None
        assert ring.usable(members, lambda name: False) is None
    assert keys == [b"\1" * 32, None, b"\1" * 32]
