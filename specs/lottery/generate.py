"""Print the lottery's vectors. The RFC 9381 values are copied from the RFC, never computed here.

Run `python specs/lottery/generate.py DIRECTORY`; CI compares the result with the files kept here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from fogp2p.errors import RemoteProtocolError
from fogp2p.protocols.lottery import (
    Candidate,
    Candidates,
    Ticket,
    derive_public_key,
    draw,
    draw_distinct,
    prove,
    stratify,
    verify,
)

SECRET = bytes(range(32))
BEACON = bytes(range(100, 132))
ORDER = 2**252 + 27742317777372353535851937790883648493


def main(target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name, document in (("ticket", _tickets()), ("draws", _draws()), ("vrf-invalid", _vrf())):
        text = json.dumps(document, indent=1, sort_keys=True) + "\n"
        (target / f"{name}.json").write_text(text, encoding="ascii")


def _candidates(count: int) -> Candidates:
    return Candidates(
        Candidate(b"relay-%03d" % number, (number * 7919) % 50 + 1) for number in range(count)
    )


def _tickets() -> dict[str, Any]:
    valid = []
    for epoch, purpose in ((0, "p"), (29_000_000, "mix/path/1"), (2**63 - 1, "x" * 64)):
        ticket = Ticket.issue(SECRET, epoch=epoch, beacon=BEACON, purpose=purpose)
        valid.append(
            {
                "name": f"epoch {epoch}",
                "secret_key": SECRET.hex(),
                "beacon": BEACON.hex(),
                "epoch": epoch,
                "purpose": purpose,
                "encoded": ticket.to_bytes().hex(),
                "seed": ticket.seed().hex(),
            }
        )
    good = Ticket.issue(SECRET, epoch=7, beacon=BEACON, purpose="path")
    encoded = good.to_bytes()
    later = Ticket(good.public_key, 8, good.beacon, good.purpose, good.proof)
    cases = {
        "another epoch than was proven": later.to_bytes(),
        "cut short": encoded[:-1],
        "bytes behind the end": encoded + b"\0",
        "beacon of 15 bytes": encoded.replace(b"\x58\x20" + BEACON, b"\x4f" + BEACON[:15]),
        "a field twice": b"\xa6" + encoded[1:] + encoded[-83:],
    }
    invalid = [
        {"name": name, "encoded": data.hex(), "code": _ticket_code(data)}
        for name, data in cases.items()
    ]
    return {"valid": valid, "invalid": invalid}


def _ticket_code(data: bytes) -> str:
    try:
        Ticket.from_bytes(data).seed()
    except RemoteProtocolError as exc:
        return exc.code
    raise AssertionError("an invalid vector was accepted")


def _draws() -> dict[str, Any]:
    seed = Ticket.issue(SECRET, epoch=1, beacon=BEACON, purpose="draws").seed()
    valid = []
    for size, count in ((1, 3), (5, 20), (100, 40)):
        pool = _candidates(size)
        distinct = min(size, 10)
        layers = min(size, 3)
        valid.append(
            {
                "name": f"{size} candidates",
                "seed": seed.hex(),
                "candidates": [[m.name.hex(), m.weight] for m in pool.members],
                "digest": pool.digest.hex(),
                "purpose": "path",
                "draw": [m.name.hex() for m in draw(seed, "path", pool, count)],
                "draw_distinct": [
                    m.name.hex() for m in draw_distinct(seed, "path", pool, distinct)
                ],
                "stratify": [
                    [m.name.hex() for m in layer] for layer in stratify(seed, "path", pool, layers)
                ],
            }
        )
    return {"valid": valid}


def _vrf() -> dict[str, Any]:
    public = derive_public_key(SECRET)
    alpha = b"lottery"
    proof = prove(SECRET, alpha)
    response = int.from_bytes(proof[48:], "little") + ORDER
    small_order = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
    cases = {
        "unreduced scalar": (public, proof[:48] + response.to_bytes(32, "little")),
        "Gamma of small order": (public, small_order + proof[32:]),
        "Gamma not canonical": (public, (2**255 - 18).to_bytes(32, "little") + proof[32:]),
        "Gamma not on the curve": (public, b"\x02" + bytes(31) + proof[32:]),
        "key of small order": (small_order, proof),
        "key is the identity": (b"\x01" + bytes(31), proof),
        "one bit of c": (public, proof[:32] + bytes([proof[32] ^ 1]) + proof[33:]),
        "one bit of s": (public, proof[:48] + bytes([proof[48] ^ 1]) + proof[49:]),
        "all zero": (public, bytes(80)),
        "79 bytes": (public, proof[:79]),
        "another key": (derive_public_key(bytes(32)), proof),
    }
    invalid = []
    for name, (key, candidate) in cases.items():
        try:
            verify(key, alpha, candidate)
        except RemoteProtocolError as exc:
            invalid.append(
                {
                    "name": name,
                    "public_key": key.hex(),
                    "alpha": alpha.hex(),
                    "proof": candidate.hex(),
                    "code": exc.code,
                }
            )
        else:
            raise AssertionError(f"accepted: {name}")
    return {"invalid": invalid}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
