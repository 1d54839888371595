"""specs/log: verdicts and members of whole logs, a session of synchronising, sealed keys."""

import hashlib
import json
from pathlib import Path

import cbor2
from log_rules import Log
from log_sealed import read_sealed
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


def check(folder: Path) -> int:
    read_session(folder)
    read_sealed(folder)
    return 2 + read_logs(folder)
