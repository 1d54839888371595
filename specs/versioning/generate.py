"""Print the vectors of specs/versioning.

Run `python specs/versioning/generate.py DIRECTORY`; CI compares the result with the kept files.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from fogp2p.codec import encode
from fogp2p.errors import RemoteProtocolError
from fogp2p.identity import Identity, verify
from fogp2p.ids import Version
from fogp2p.protocols.versioning import Catalogue, Offer, Release
from fogp2p.protocols.versioning.machine import NEED_DATA, Machine
from fogp2p.protocols.versioning.messages import (
    Agreement,
    Hello,
    decode_choice,
    decode_hello,
    encode_hello,
)

V = Version
KEYS: Final = sorted(
    (Identity("ed25519", bytes([n]) * 32, bytes(32), bytes(32)) for n in (1, 2)),
    key=lambda keys: keys.peer_id,
)
OLD: Final = Catalogue(
    "example/1.0",
    {"fog/echo": Offer((Release(V(1, 0)),), frozenset({"a", "b"}))},
    handshake=(V(1, 0),),
)
NEW: Final = Catalogue(
    "example/1.1",
    {
        "fog/echo": Offer((Release(V(1, 0), 21_000), Release(V(1, 1))), frozenset({"b", "c"})),
        "fog/later": Offer((Release(V(2, 0)),)),
    },
    {"max-message": 65_536},
    notices=((20_781, "support for 1.0 ends in summer"),),
)
FUTURE: Final = Catalogue("example/2.0", handshake=(V(2, 0),))
BASE: Final[dict[int | str, Any]] = {
    1: [[1, 0], [1, 1]],
    2: bytes(32),
    3: "x",
    4: {"fog/echo": [[[[1, 0], 0], [[1, 1], 0]], ["a", "b"]]},
    5: {},
}
CHOICE: Final[dict[int | str, Any]] = {1: [1, 0], 2: {"fog/echo": [[1, 0], []]}, 3: bytes(64)}


def main(target: Path) -> None:
    """Write the vectors into `target`."""
    target.mkdir(parents=True, exist_ok=True)
    for name, document in (("messages", _messages()), ("transcripts", _transcripts())):
        text = json.dumps(document, indent=1, sort_keys=True) + "\n"
        (target / f"{name}.json").write_text(text, encoding="ascii")


def _messages() -> dict[str, Any]:
    valid = [
        _hello("an old peer", encode_hello(Hello.of(OLD, b"\1" * 32))),
        _hello("a new peer with a notice", encode_hello(Hello.of(NEW, b"\2" * 32))),
        _hello("no protocols at all", encode({**BASE, 4: {}})),
        _hello("unknown keys", encode({**BASE, 64: "later", 99: [1, {"a": None}]})),
        _hello("versions of tomorrow", encode({**BASE, 1: [[1, 0], [1, 9], [7, 3]]})),
        _hello("software with control characters", encode({**BASE, 3: "\x1b[2Jx\u202e"})),
    ]
    echo = BASE[4]["fog/echo"]
    hellos: dict[str, dict[int | str, Any]] = {
        "no nonce": {k: v for k, v in BASE.items() if k != 2},
        "short nonce": {**BASE, 2: bytes(31)},
        "no version": {**BASE, 1: []},
        "versions descending": {**BASE, 1: [[1, 1], [1, 0]]},
        "version twice": {**BASE, 1: [[1, 0], [1, 0]]},
        "version part too large": {**BASE, 1: [[1, 65_536]]},
        "version of three parts": {**BASE, 1: [[1, 0, 0]]},
        "software too long": {**BASE, 3: "x" * 65},
        "software is bytes": {**BASE, 3: b"x"},
        "releases descending": {**BASE, 4: {"fog/echo": [echo[0][::-1], []]}},
        "no release": {**BASE, 4: {"fog/echo": [[], []]}},
        "17 releases": {**BASE, 4: {"fog/echo": [[[[1, n], 0] for n in range(17)], []]}},
        "features descending": {**BASE, 4: {"fog/echo": [echo[0], ["b", "a"]]}},
        "feature twice": {**BASE, 4: {"fog/echo": [echo[0], ["a", "a"]]}},
        "empty feature": {**BASE, 4: {"fog/echo": [echo[0], [""]]}},
        "empty name": {**BASE, 4: {"": echo}},
        "65 protocols": {**BASE, 4: {f"p/{n}": echo for n in range(65)}},
        "65 limits": {**BASE, 5: {f"l{n}": 1 for n in range(65)}},
        "limit too large": {**BASE, 5: {"x": 2**32}},
        "second end day is text": {**BASE, 4: {"fog/echo": [[[[1, 0], 0], [[1, 1], "x"]], []]}},
    }
    choices: dict[str, dict[int | str, Any]] = {
        "no signature": {**CHOICE, 3: b""},
        "signature of 129 bytes": {**CHOICE, 3: bytes(129)},
        "no version": {k: v for k, v in CHOICE.items() if k != 1},
        "features descending": {**CHOICE, 2: {"fog/echo": [[1, 0], ["b", "a"]]}},
    }
    return {
        "valid": [*valid, _choice("a choice", encode(CHOICE))],
        "invalid": [
            *(
                _refused("hello", name, encode(value), decode_hello)
                for name, value in hellos.items()
            ),
            _refused("hello", "too large", encode({**BASE, 70: bytes(16_384)}), decode_hello),
            *(_refused("choice", n, encode(value), decode_choice) for n, value in choices.items()),
        ],
    }


def _hello(name: str, data: bytes) -> dict[str, Any]:
    hello = decode_hello(data)
    return {
        "kind": "hello",
        "name": name,
        "encoded": data.hex(),
        "handshake": [str(version) for version in hello.handshake],
        "nonce": hello.nonce.hex(),
        "software": hello.software,
        "protocols": {
            protocol: {
                "releases": [[str(r.version), r.ends_day] for r in offer.releases],
                "features": sorted(offer.features),
            }
            for protocol, offer in hello.protocols.items()
        },
        "limits": dict(hello.limits),
        "notices": [[notice.day, notice.text] for notice in hello.notices],
    }


def _choice(name: str, data: bytes) -> dict[str, Any]:
    choice = decode_choice(data)
    return {
        "kind": "choice",
        "name": name,
        "encoded": data.hex(),
        "signature": choice.signature.hex(),
        **_agreement(choice.agreement),
    }


def _agreement(agreement: Agreement) -> dict[str, Any]:
    return {
        "handshake": str(agreement.handshake),
        "agreed": {
            name: [str(version), sorted(features)]
            for name, (version, features) in agreement.protocols.items()
        },
    }


def _refused(kind: str, name: str, data: bytes, read: Callable[[bytes], object]) -> dict[str, str]:
    try:
        read(data)
    except RemoteProtocolError as exc:
        return {"kind": kind, "name": name, "encoded": data.hex(), "code": exc.code}
    raise AssertionError(f"an invalid vector was accepted: {name}")


def _transcripts() -> dict[str, Any]:
    pairs = {
        "old with old": (OLD, OLD),
        "old begins, new answers": (OLD, NEW),
        "new begins, old answers": (NEW, OLD),
        "new with new": (NEW, NEW),
        "nothing in common": (NEW, FUTURE),
    }
    return {"transcript": [_run(name, *pair) for name, pair in pairs.items()]}


def _run(name: str, first: Catalogue, second: Catalogue) -> dict[str, Any]:
    sides = [
        Machine(
            catalogue,
            local=KEYS[at].peer_id,
            remote=KEYS[1 - at].peer_id,
            nonce=bytes([0x10 + at]) * 32,
            now=0.0,
            sign=KEYS[at].sign,
            verify=verify,
        )
        for at, catalogue in enumerate((first, second))
    ]
    frames: list[str] = []
    codes: list[str] = []
    for number in range(4):
        data = sides[number % 2].data_to_send()
        if not data:
            break
        frames.append(data.hex())
        receiver = sides[1 - number % 2]
        receiver.receive_data(data)
        try:
            while receiver.next_event() != NEED_DATA:
                pass
        except RemoteProtocolError as exc:
            codes.append(exc.code)
    agreements = [side.agreement for side in sides]
    assert agreements[0] == agreements[1]
    return {
        "name": name,
        "initiator": {"secret": KEYS[0].libp2p_private_key().hex(), "peer": str(KEYS[0].peer_id)},
        "responder": {"secret": KEYS[1].libp2p_private_key().hex(), "peer": str(KEYS[1].peer_id)},
        "frames": frames,
        "result": _agreement(agreements[0]) if agreements[0] is not None else {"code": codes},
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
