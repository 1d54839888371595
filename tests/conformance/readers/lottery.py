"""specs/lottery: draws by integer arithmetic, and the seeds of tickets from their proofs."""

import hashlib
import json
from pathlib import Path

import cbor2
from nacl.bindings import crypto_core_ed25519_add
from nacl.signing import SigningKey


class Words:
    def __init__(self, seed, purpose, digest):
        said = cbor2.dumps(["fog/lottery/draw/1", seed, purpose, digest], canonical=True)
        self.stream, self.at = hashlib.shake_256(said).digest(1 << 16), 0

    def next(self):
        self.at += 8
        return int.from_bytes(self.stream[self.at - 8 : self.at], "big")

    def below(self, n):
        """LOT-021 and LOT-024 are the same rule: each value has q words, the rest are skipped."""
        while (value := self.next() // (2**64 // n)) >= n:
            pass
        return value


def pick(words, weights):
    ticket = words.below(sum(weights))
    for index, weight in enumerate(weights):
        if ticket < weight:
            return index
        ticket -= weight
    raise AssertionError


def layers(words, members, count):
    for last in range(len(members) - 1, 0, -1):
        other = words.below(last + 1)
        members[last], members[other] = members[other], members[last]
    dealt, loads = [[] for _ in range(count)], [0] * count
    for name, weight in members:
        lightest = loads.index(min(loads))
        dealt[lightest].append(name.hex())
        loads[lightest] += weight
    return dealt


def draws(case):
    members = sorted((bytes.fromhex(name), weight) for name, weight in case["candidates"])
    said = b"".join(bytes([len(n)]) + n + w.to_bytes(8, "big") for n, w in members)
    digest = hashlib.sha256(said).digest()
    assert digest.hex() == case["digest"]
    new = (bytes.fromhex(case["seed"]), case["purpose"], digest)
    names, weights = [name.hex() for name, _ in members], [weight for _, weight in members]
    words = Words(*new)
    assert [names[pick(words, weights)] for _ in case["draw"]] == case["draw"]
    words = Words(*new)
    for name in case["draw_distinct"]:
        index = pick(words, weights)
        assert names[index] == name
        weights[index] = 0
    assert layers(Words(*new), members, len(case["stratify"])) == case["stratify"]


def ticket(case):
    said = cbor2.loads(bytes.fromhex(case["encoded"]))
    assert said[1] == bytes(SigningKey(bytes.fromhex(case["secret_key"])).verify_key)
    assert [said[2], said[3].hex(), said[4]] == [case["epoch"], case["beacon"], case["purpose"]]
    point = said[5][:32]  # Gamma; RFC 9381 section 5.2 hashes it times the cofactor, 8
    for _ in range(3):
        point = crypto_core_ed25519_add(point, point)
    assert hashlib.sha512(b"\x04\x03" + point + b"\x00").hexdigest() == case["seed"]


def check(folder: Path) -> int:
    found = json.loads((folder / "draws.json").read_text("ascii"))["valid"]
    tickets = json.loads((folder / "ticket.json").read_text("ascii"))["valid"]
    for case in found:
        draws(case)
    for case in tickets:
        ticket(case)
    return len(found) + len(tickets)
