"""specs/log written again from its text, sharing nothing with the library.

Reads the vectors in a directory: ids, signatures, verdicts, fingerprints, sealed keys and bodies;
exits 1 for any difference.
"""

import hashlib
import hmac
import json
import sys
from pathlib import Path

import cbor2
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from nacl import bindings as sodium
from nacl.signing import VerifyKey


class Entry:
    def __init__(self, data: bytes) -> None:
        content, signature = cbor2.loads(data)
        self.id = hashlib.sha256(content).digest()
        field = cbor2.loads(content)
        self.author, self.position, self.previous = field[2], field[3], field[4]
        self.past = [*([field[4]] if field[4] else []), *field[5]]
        self.height, self.kind, self.body = field[6], field[8], field[10]
        VerifyKey(self.author).verify(b"fog/log/1 entry\0" + self.id, signature)


class Log:
    """Section 6, by its sentences and without haste."""

    def __init__(self, entries: list) -> None:
        self.entries = {entry.id: entry for entry in entries}
        self.before: dict = {}
        for entry in sorted(entries, key=lambda e: e.height):
            above = [self.entries[name] for name in entry.past]
            assert entry.height == 1 + max((e.height for e in above), default=-1)
            self.before[entry.id] = {e.id for e in above}.union(*(self.before[e.id] for e in above))
        places: dict = {}
        for entry in entries:
            places.setdefault((entry.author, entry.position), []).append(entry)
        self.forks: dict = {}
        for (author, position), found in places.items():
            if len(found) > 1:
                self.forks[author] = min(position, self.forks.get(author, position))
        bodies = {e.id: cbor2.loads(e.body) for e in entries if e.kind in (1, 2)}
        self.admissions = [(e, e.author, 2, 0) for e in entries if e.kind == 0]
        self.admissions += [
            (e, *(bodies[e.id][n] for n in (1, 2, 3))) for e in entries if e.kind == 1
        ]
        self.removals = [(e, *(bodies[e.id][n] for n in (1, 2))) for e in entries if e.kind == 2]
        self.removals += [(e, e.author, e.id) for e in entries if e.kind == 3]

    def muted(self, entry: Entry) -> bool:
        return entry.author in self.forks and entry.position >= self.forks[entry.author]

    def chain(self, name: bytes) -> set:
        found = set()
        while name:
            found.add(name)
            name = self.entries[name].previous
        return found

    def acts(self, entry: Entry, role: int, below: int = 99) -> bool:
        return any(
            self.holds(a, entry)
            for a in self.admissions
            if a[1] == entry.author
            and a[0].id in self.before[entry.id]
            and a[2] >= role
            and a[3] < below
        )

    def stands(self, a: tuple) -> bool:
        return a[0].kind == 0 or (not self.muted(a[0]) and self.acts(a[0], 2, a[3]))

    def holds(self, a: tuple, entry: Entry) -> bool:
        ended = any(
            self.ends(r, entry) and self.has_effect(r, a)
            for r in self.removals
            if r[1] == entry.author
        )
        return self.stands(a) and not ended

    def ends(self, r: tuple, entry: Entry) -> bool:
        if r[0].id in self.before[entry.id]:
            return True
        if r[0].kind == 3 and entry.kind == 2:
            return False
        return entry.id not in self.chain(r[2])

    def has_effect(self, r: tuple, a: tuple) -> bool:
        if r[0].id in self.before[a[0].id]:
            return False
        return r[0].kind == 3 or self.acts(r[0], 2, a[3])

    def verdict(self, entry: Entry) -> str:
        if self.muted(entry) and entry.kind != 2:
            return "muted"
        if entry.kind == 0:
            return "stands"
        below = next((a[3] for a in self.admissions if a[0] is entry), 99)
        return "stands" if self.acts(entry, 2 if entry.kind in (1, 2) else 1, below) else "removed"

    def members(self) -> list:
        found: dict = {}
        for a in self.admissions:
            if self.stands(a) and not any(
                self.has_effect(r, a) for r in self.removals if r[1] == a[1]
            ):
                best = found.setdefault(a[1], [a[1].hex(), 0, 99])
                if (a[2], -a[3]) > (best[1], -best[2]):
                    best[1:] = [a[2], a[3]]
        return [found[key] for key in sorted(found)]


def fingerprint(keys: list, salt: bytes = b"") -> bytes:
    total = sum(int.from_bytes(hashlib.shake_128(k).digest(256), "big") for k in keys) % 2**2048
    data = salt + len(keys).to_bytes(8, "big") + total.to_bytes(256, "big")
    return hashlib.sha256(b"fog/log/1 range\0" + data).digest()


def read_logs(folder: Path) -> int:
    logs = json.loads((folder / "logs.json").read_text("ascii"))["transcript"]
    for kept in logs:
        entries = [Entry(bytes.fromhex(each["encoded"])) for each in kept["entries"]]
        log = Log(entries)
        assert [log.verdict(e) for e in entries] == [e["verdict"] for e in kept["entries"]], kept
        assert log.members() == kept["members"], kept["name"]
        assert sorted([a.hex(), p] for a, p in log.forks.items()) == kept["forks"]
        keys = [e.height.to_bytes(4, "big") + e.id for e in entries]
        assert fingerprint(keys).hex() == kept["fingerprint"]
    return len(logs)


def read_session(folder: Path) -> None:
    session = json.loads((folder / "messages.json").read_text("ascii"))["session"]
    sides = [[bytes.fromhex(key) for key in session[side]] for side in ("asker", "other")]
    assert fingerprint(sides[0]).hex() == session["asker_whole"]
    for step in session["steps"]:
        query, reply = (cbor2.loads(bytes.fromhex(step[side])) for side in ("query", "reply"))
        for (lower, upper, _), found in zip(query[4], reply[4], strict=True):
            held = [key for key in sides[1] if lower <= key < upper]
            if not isinstance(found[1], list):
                assert found == [[key[4:] for key in held], None]
                continue
            for end, count, short in found:
                part = [key for key in held if lower <= key < end]
                assert (count, short) == (len(part), fingerprint(part, query[2])[:16])
                lower = end
            assert lower == upper
    assert session["need"] == [k[4:].hex() for k in sides[1] if k not in sides[0]]
    assert session["have"] == [k[4:].hex() for k in sides[0] if k not in sides[1]]


def hkdf(chaining: bytes, secret: bytes) -> tuple:
    temporary = hmac.digest(chaining, secret, "sha256")
    first = hmac.digest(temporary, b"\1", "sha256")
    return first, hmac.digest(temporary, first + b"\2", "sha256")


def open_sealed(group: bytes, public: bytes, seed: bytes, box: bytes) -> bytes:
    """Noise N, responder's side, by the Noise specification."""
    secret = sodium.crypto_sign_ed25519_sk_to_curve25519(sodium.crypto_sign_seed_keypair(seed)[1])
    static = sodium.crypto_scalarmult_base(secret)
    digest = chaining = b"Noise_N_25519_ChaChaPoly_SHA256".ljust(32, b"\0")
    for data in (cbor2.dumps(["fog/log/1 epoch", group, public]), static, box[:32]):
        digest = hashlib.sha256(digest + data).digest()
    _, key = hkdf(chaining, sodium.crypto_scalarmult(secret, box[:32]))
    return ChaCha20Poly1305(key).decrypt(bytes(12), box[32:], digest)


def read_sealed(folder: Path) -> None:
    kept = json.loads((folder / "sealed.json").read_text("ascii"))
    group, key = bytes.fromhex(kept["group"]), bytes.fromhex(kept["key"])
    committed = hmac.digest(key, b"fog/log/1 commitment\0" + group, "sha256")
    assert committed.hex() == kept["commitment"]
    for public, box in kept["sealed"]:
        seed = bytes.fromhex(kept["secrets"][public])
        assert open_sealed(group, bytes.fromhex(public), seed, bytes.fromhex(box)) == key
    body = kept["body"]
    bound = cbor2.dumps(
        [
            "fog/log/1 body",
            group,
            bytes.fromhex(body["epoch"]),
            bytes.fromhex(body["author"]),
            body["position"],
        ]
    )
    sealed, nonce = bytes.fromhex(body["sealed"]), bytes.fromhex(body["nonce"])
    assert sealed[:24] == nonce
    plain = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed[24:], bound, nonce, key)
    assert plain.hex() == body["plain"]


def main(folder: Path) -> None:
    count = read_logs(folder)
    read_session(folder)
    read_sealed(folder)
    assert not any(name.startswith("fogp2p") for name in sys.modules)
    sys.stdout.write(f"{count} logs agree\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
