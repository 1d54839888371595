"""Print the vectors of specs/registry.

Run `python specs/registry/generate.py DIRECTORY`; CI compares the result with the kept files.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from fogp2p.addresses import parse_address
from fogp2p.codec import encode
from fogp2p.errors import RemoteProtocolError
from fogp2p.framing import encode_varint
from fogp2p.identity import Identity, verify
from fogp2p.protocols.registry.descriptor import (
    DOMAIN,
    PAYLOAD_TYPE,
    Claim,
    Descriptor,
    OwnFacts,
    role_key,
)
from fogp2p.protocols.registry.envelope import seal
from fogp2p.protocols.registry.messages import (
    Answer,
    Lookup,
    Push,
    Query,
    Receipt,
    Verdict,
    read_request,
)

NOW: Final = 1_800_000_000
ED: Final = Identity("ed25519", bytes([7]) * 32, bytes(32), bytes(32))
OTHER: Final = Identity("ed25519", bytes([8]) * 32, bytes(32), bytes(32))
FACTS: Final = OwnFacts(
    addresses=(parse_address("/ip4/203.0.113.7/tcp/7460"), parse_address("/dns4/a.example/tcp/1")),
    roles=frozenset({"mesh", "provide", "relay", "x-chess"}),
    keys={"mix": b"\1" * 32, "kem": b"\2" * 1_216, "noise-fingerprint": b"\3" * 32},
    epoch=44,
    capacity={"cpu-cores": 4, "memory-mib": 2_048, "kbit-s": 20_000},
    software="example/1.0",
    stake=b"receipt",
    extensions={"org.example.note": [1, {"a": None}]},
)
BASE: Final[dict[int | str, Any]] = {
    1: ED.peer_id.raw,
    2: 1,
    3: NOW,
    4: NOW + 3_600,
    5: [],
    6: [],
    7: {},
    8: 0,
    9: {},
    10: "",
}


def main(target: Path) -> None:
    """Write the vectors into `target`."""
    target.mkdir(parents=True, exist_ok=True)
    documents = {"descriptors": _descriptors(), "messages": _messages()}
    for name, document in documents.items():
        text = json.dumps(document, indent=1, sort_keys=True) + "\n"
        (target / f"{name}.json").write_text(text, encoding="ascii")


def _sealed(value: dict[int | str, Any], keys: Identity = ED, domain: bytes = DOMAIN) -> bytes:
    return seal(keys.peer_id, domain, PAYLOAD_TYPE, encode(value), keys.sign)


def _of_size(size: int) -> bytes:
    padding = size - len(_sealed({**BASE, 70: bytes(1_000)})) + 1_000
    found = _sealed({**BASE, 70: bytes(padding)})
    assert len(found) == size
    return found


def _descriptors() -> dict[str, Any]:
    def made(keys: Identity, facts: OwnFacts) -> bytes:
        times = {"issued": NOW, "expires": NOW + 3_600}
        sign = keys.sign
        return Descriptor.make(keys.peer_id, facts, sequence=9, sign=sign, **times).raw

    return {
        "now": NOW,
        "roles": {role: role_key(role).hex() for role in ("mesh", "registry", "relay")},
        "valid": [
            _read("nothing but a name", _sealed(BASE)),
            _read("everything there is", made(ED, FACTS)),
            _read("unknown members are skipped", _sealed({**BASE, 64: "later"})),
            _read("issued two minutes ahead", _sealed({**BASE, 3: NOW + 120, 4: NOW + 3_720})),
            _read("its last second", _sealed({**BASE, 3: NOW - 3_599, 4: NOW + 1})),
            _read("the largest sequence", _sealed({**BASE, 2: 2**53 - 1})),
            _read("4,096 bytes", _of_size(4_096)),
            _read("1,024 items", _sealed({**BASE, 12: {"e": [[]] * 999}})),
        ],
        "invalid": [_refused(name, data, _proven) for name, data in _bad_descriptors().items()],
    }


def _bad_descriptors() -> dict[str, bytes]:
    good = _sealed(BASE)
    payload = encode(BASE)
    values: dict[str, dict[int | str, Any]] = {
        "another peer's name": {**BASE, 1: OTHER.peer_id.raw},
        "no sequence": {k: v for k, v in BASE.items() if k != 2},
        "sequence too large": {**BASE, 2: 2**53},
        "lives for an hour and a second": {**BASE, 4: NOW + 3_601},
        "expires before it is issued": {**BASE, 4: NOW},
        "issued in the future": {**BASE, 3: NOW + 121, 4: NOW + 200},
        "expired": {**BASE, 3: NOW - 3_600, 4: NOW},
        "expires in a year": {**BASE, 4: NOW + 31_536_000},
        "nine addresses": {**BASE, 5: [b"x"] * 9},
        "address too long": {**BASE, 5: [bytes(257)]},
        "roles descending": {**BASE, 6: ["relay", "mesh"]},
        "role twice": {**BASE, 6: ["mesh", "mesh"]},
        "17 roles": {**BASE, 6: [f"r{n:02}" for n in range(17)]},
        "role in capitals": {**BASE, 6: ["Relay"]},
        "role with a line break": {**BASE, 6: ["relay\n"]},
        "empty role": {**BASE, 6: [""]},
        "mix key of 31 bytes": {**BASE, 7: {"mix": bytes(31)}},
        "fingerprint of 33 bytes": {**BASE, 7: {"noise-fingerprint": bytes(33)}},
        "negative capacity": {**BASE, 9: {"kbit-s": -1}},
        "software too long": {**BASE, 10: "x" * 65},
        "stake too long": {**BASE, 11: bytes(1_025)},
        "17 extensions": {**BASE, 12: {f"e{n}": 1 for n in range(17)}},
    }
    wrong = bytes([good[-1] ^ 1])
    key = ED.peer_id.key_protobuf or b""
    rsa = b"\x08\x00\x12\x20" + bytes(32)
    return {
        **{name: _sealed(value) for name, value in values.items()},
        "1,025 items": _sealed({**BASE, 12: {"e": [[]] * 1_000}}),
        "4,097 bytes": _of_size(4_097),
        "signature altered": good[:-1] + wrong,
        "signed for another domain": _sealed(BASE, domain=b"libp2p-peer-record"),
        "signed by another key": seal(ED.peer_id, DOMAIN, PAYLOAD_TYPE, payload, OTHER.sign),
        "another payload type": seal(ED.peer_id, DOMAIN, b"\x03\x01", payload, ED.sign),
        "payload is no CBOR": seal(ED.peer_id, DOMAIN, PAYLOAD_TYPE, b"\xff", ED.sign),
        "payload not in deterministic form": seal(
            ED.peer_id, DOMAIN, PAYLOAD_TYPE, payload[:-1] + b"\x78\x00", ED.sign
        ),
        "nothing": b"",
        "cut": good[:-1],
        "a byte behind": good + b"\0",
        "an unknown field behind": good + b"\x30\x01",
        "length not in its shortest form": b"\x0a\xa4\x00" + good[2:],
        "a key alone": good[: 2 + len(key)],
        "an RSA key": b"\x0a" + encode_varint(len(rsa)) + rsa + good[2 + len(key) :],
        "a key with a field behind": b"\x0a\x26" + key + b"\x18\x00" + good[2 + len(key) :],
    }


def _proven(data: bytes) -> Descriptor:
    return Claim.from_bytes(data, now=NOW).prove(verify)


def _read(name: str, data: bytes) -> dict[str, Any]:
    found = _proven(data)
    return {
        "name": name,
        "encoded": data.hex(),
        "peer": str(found.peer),
        "sequence": found.sequence,
        "issued": found.issued,
        "expires": found.expires,
        "addresses": [str(address) for address in found.multiaddrs()],
        "roles": list(found.roles),
        "keys": {name: key.hex() for name, key in found.keys.items()},
        "epoch": found.epoch,
        "capacity": dict(found.capacity),
        "software": found.software,
        "stake": found.stake.hex() if found.stake is not None else None,
        "extensions": sorted(found.extensions()),
    }


def _messages() -> dict[str, Any]:
    valid = {
        "push": Push(b"envelope").to_bytes(),
        "query": Query("relay", 64).to_bytes(),
        "lookup": Lookup(ED.peer_id).to_bytes(),
        "receipt: kept": Receipt(Verdict.KEPT).to_bytes(),
        "receipt: superseded": Receipt(Verdict.SUPERSEDED, b"newer").to_bytes(),
        "answer": Answer(3, 9).to_bytes(),
    }
    requests = {
        "query for none": [2, "relay", 0],
        "query for 65": [2, "relay", 65],
        "query for a strange role": [2, "Relay", 1],
        "unknown request": [4, "relay", 1],
        "push of nothing": [1, b""],
        "push of too much": [1, bytes(4_097)],
        "lookup of no peer": [3, bytes(36)],
        "a map": {1: 1},
    }
    receipts = {"verdict 4": [1, 4, None], "no verdict": [1, None]}
    answers = {"more than asked for": [2, 9, 9], "fewer fit than come": [2, 3, 2]}

    def answer(data: bytes) -> object:
        return Answer.from_bytes(data, 8)

    return {
        "valid": [{"name": name, "encoded": data.hex()} for name, data in valid.items()],
        "invalid": [
            *(_refused(n, encode(v), read_request, "request") for n, v in requests.items()),
            *(_refused(n, encode(v), Receipt.from_bytes, "receipt") for n, v in receipts.items()),
            *(_refused(n, encode(v), answer, "answer to 8") for n, v in answers.items()),
        ],
    }


def _refused(
    name: str, data: bytes, read: Callable[[bytes], object], kind: str = "descriptor"
) -> dict[str, str]:
    try:
        read(data)
    except RemoteProtocolError as exc:
        return {"kind": kind, "name": name, "encoded": data.hex(), "code": exc.code}
    raise AssertionError(f"an invalid vector was accepted: {name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
