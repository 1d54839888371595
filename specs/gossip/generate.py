"""Print the vectors of specs/gossip.

Run `python specs/gossip/generate.py DIRECTORY`; CI compares the result with the kept files.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from fogp2p.framing import encode_varint
from fogp2p.identity import Identity, verify
from fogp2p.ids import PeerId
from fogp2p.protocols.gossip.messages import (
    Envelope,
    Have,
    Prune,
    Rpc,
    Subscription,
    is_forged,
)

ED: Final = Identity("ed25519", bytes([7]) * 32, bytes(32), bytes(32))
OTHER: Final = Identity("ed25519", bytes([8]) * 32, bytes(32), bytes(32))
T: Final = "/fog/example"


def main(target: Path) -> None:
    """Write the vectors into `target`."""
    target.mkdir(parents=True, exist_ok=True)
    document = {"valid": _valid(), "invalid": _invalid(), "rpcs": _rpcs()}
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    (target / "messages.json").write_text(text, encoding="ascii")


def _signed(number: int, data: bytes, topic: str = T, keys: Identity = ED) -> Envelope:
    bare = Envelope(keys.peer_id, number, topic, data)
    return replace(bare, signature=keys.sign(bare.preimage()))


def _encoded(envelope: Envelope) -> bytes:
    return bytes(envelope._message().SerializeToString())


def _valid() -> list[dict[str, Any]]:
    with_key = replace(_signed(3, b"with its key"), key=ED.peer_id.key_protobuf or b"")
    cases = {
        "plain": _signed(1, b"hello"),
        "no data": _signed(2, b""),
        "with its key": with_key,
        "largest number": _signed(2**64 - 1, b"x"),
        "topic of 256 bytes": _signed(4, b"x", "t" * 256),
        "topic outside ASCII": _signed(5, b"x", "/thé/茶"),
    }
    found = []
    for name, envelope in cases.items():
        assert verify(envelope.author, envelope.preimage(), envelope.signature)
        assert not is_forged(envelope)
        found.append(
            {
                "name": name,
                "encoded": _encoded(envelope).hex(),
                "author": str(envelope.author),
                "number": envelope.number,
                "topic": envelope.topic,
                "data": envelope.data.hex(),
                "id": envelope.id.hex(),
                "signed": envelope.preimage().hex(),
            }
        )
    return found


def _field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2]) + encode_varint(len(value)) + value


def _message(*fields: tuple[int, bytes]) -> bytes:
    """Fields as given; signed rightly by ED over fields 1-4 in their order."""
    bare = b"".join(_field(number, value) for number, value in fields)
    return bare + _field(5, ED.sign(b"libp2p-pubsub:" + bare))


def _invalid() -> list[dict[str, str]]:
    good = _signed(1, b"hello")
    author, number, topic = (1, ED.peer_id.raw), (3, (1).to_bytes(8)), (4, T.encode())
    data = (2, b"hello")
    rsa = PeerId.from_key_protobuf(bytes(300))
    flipped = bytes([good.signature[0] ^ 1]) + good.signature[1:]
    cases = {
        "no signature": ("gossip-message", _encoded(replace(good, signature=b""))),
        "no author": ("gossip-message", _message(data, number, topic)),
        "number of seven bytes": ("unusable", _message(author, data, (3, bytes(7)), topic)),
        "no number": ("unusable", _message(author, data, topic)),
        "no topic": ("unusable", _message(author, data, number)),
        "topic of 257 bytes": ("unusable", _message(author, data, number, (4, b"t" * 257))),
        "topic that is not UTF-8": ("unusable", _message(author, data, number, (4, b"\xff"))),
        "no data field": ("unusable", _message(author, number, topic)),
        "unknown field": ("unusable", _encoded(good) + _field(7, b"x")),
        "empty key": ("unusable", _encoded(good) + _field(6, b"")),
        "author with an RSA key": ("unverifiable", _encoded(replace(good, author=rsa))),
        "flipped signature": ("forged", _encoded(replace(good, signature=flipped))),
        "another's signature": (
            "forged",
            _encoded(replace(good, signature=OTHER.sign(good.preimage()))),
        ),
        "signed without the prefix": (
            "forged",
            _encoded(replace(good, signature=ED.sign(good.preimage()[14:]))),
        ),
        "another number": ("forged", _encoded(replace(good, number=2))),
        "another topic": ("forged", _encoded(replace(good, topic="/other"))),
        "another author": ("forged", _encoded(replace(good, author=OTHER.peer_id))),
        "another's key": (
            "forged",
            _encoded(replace(good, key=OTHER.peer_id.key_protobuf or b"")),
        ),
    }
    return [
        {"name": name, "code": code, "encoded": raw.hex()} for name, (code, raw) in cases.items()
    ]


def _rpcs() -> list[dict[str, Any]]:
    one, two = b"\1" * 46, b"\2" * 46
    cases: dict[str, tuple[Rpc, dict[str, Any]]] = {
        "subscribe": (Rpc(subscriptions=(Subscription(T, True),)), {"subscribe": [T]}),
        "unsubscribe": (Rpc(subscriptions=(Subscription(T, False),)), {"unsubscribe": [T]}),
        "graft": (Rpc(graft=(T,)), {"graft": [T]}),
        "prune": (Rpc(prune=(Prune(T, 60),)), {"prune": [[T, 60]]}),
        "ihave": (Rpc(ihave=(Have(T, (one, two)),)), {"ihave": [[T, one.hex(), two.hex()]]}),
        "iwant": (Rpc(iwant=(one,)), {"iwant": [one.hex()]}),
        "idontwant": (Rpc(idontwant=(one, two)), {"idontwant": [one.hex(), two.hex()]}),
    }
    return [
        {"name": name, "encoded": rpc.to_bytes().hex(), "says": says}
        for name, (rpc, says) in cases.items()
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
