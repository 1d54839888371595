"""Print the vectors of specs/log.

Run `python specs/log/generate.py DIRECTORY`; CI compares the result with the kept files.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from fogp2p.codec import encode
from fogp2p.errors import RemoteProtocolError
from fogp2p.identity import Identity
from fogp2p.protocols.log.entries import (
    Admit,
    Entry,
    Kind,
    Remove,
    Role,
    decode_entry,
    encode_body,
    is_signed,
    seal_entry,
    signed_bytes,
)
from fogp2p.protocols.log.keys import seal_body, seal_epoch
from fogp2p.protocols.log.machine import Replica, found_draft
from fogp2p.protocols.log.messages import (
    Entries,
    Frontier,
    Interest,
    LogMessage,
    Want,
    decode_message,
    encode_message,
    interest_tag,
)
from fogp2p.protocols.log.reconcile import Asker, RangeIndex, answer

SECRETS: Final = [bytes([n + 1]) * 32 for n in range(4)]
IDENTITIES: Final = [Identity("ed25519", secret, bytes(32), bytes(32)) for secret in SECRETS]
KEYS: Final = [identity.peer_id.ed25519 or b"" for identity in IDENTITIES]
ADA, BEN, EVE, DAN = range(4)
WALL_MS: Final = 1_795_000_000_000


class Book:
    """A replica and whoever writes in it."""

    def __init__(self) -> None:
        founding = found_draft(KEYS[ADA], "vectors", bytes(16), sent_ms=WALL_MS)
        self.entries: list[Entry] = []
        entry = seal_entry(founding, IDENTITIES[ADA].sign)
        self.replica = Replica(entry.id)
        self.take(entry)

    def copy(self) -> Book:
        """Another replica with the same entries."""
        other = Book()
        for entry in self.entries[1:]:
            other.take(entry)
        return other

    def take(self, entry: Entry) -> None:
        """Place an entry."""
        self.replica.ingest(entry)
        self.entries.append(entry)

    def write(
        self, author: int, kind: Kind, body: bytes = b"", also: Iterable[bytes] = ()
    ) -> Entry:
        """Write the next entry of an author."""
        epoch = bytes(32) if kind is Kind.MESSAGE else None
        draft = self.replica.draft(
            KEYS[author], kind, body, epoch=epoch, sent_ms=WALL_MS, also=also
        )
        entry = seal_entry(draft, IDENTITIES[author].sign)
        self.take(entry)
        return entry

    def admit(self, by: int, who: int, role: Role, level: int) -> None:
        """Write an admission."""
        self.write(by, Kind.ADMIT, encode_body(Admit(KEYS[who], role, level)))

    def remove(self, by: int, who: int) -> None:
        """Write a removal that leaves standing what is known."""
        last = self.replica.latest(KEYS[who])
        also = () if last is None else (last,)
        self.write(by, Kind.REMOVE, encode_body(Remove(KEYS[who], last)), also)


def main(target: Path) -> None:
    """Write the vectors into `target`."""
    target.mkdir(parents=True, exist_ok=True)
    documents = {
        "entries": _entries(),
        "messages": _messages(),
        "logs": _logs(),
        "sealed": _sealed(),
    }
    for name, document in documents.items():
        text = json.dumps(document, indent=1, sort_keys=True) + "\n"
        (target / f"{name}.json").write_text(text, encoding="ascii")


# --- entries ----------------------------------------------------------------------------------


def _entries() -> dict[str, Any]:
    book = Book()
    book.admit(ADA, BEN, Role.ADMIT, 1)
    book.write(BEN, Kind.MESSAGE, b"sealed bytes")
    draws = [bytes([n + 9]) * 32 for n in range(2)]
    sealed = seal_epoch(book.replica.group, bytes([7]) * 32, KEYS[:2], draws)
    book.write(ADA, Kind.EPOCH, encode_body(sealed))
    book.remove(ADA, BEN)
    book.write(ADA, Kind.LEAVE)
    base = book.entries[2]
    content = _content(base)
    bad: dict[str, dict[int | str, Any]] = {
        "no group": {**content, 1: None},
        "follows nothing": {**content, 5: []},
        "height 0": {**content, 6: 0},
        "position without previous": {**content, 3: 1},
        "previous at position 0": {**content, 4: bytes(32)},
        "parents descend": {**content, 5: [b"\2" * 32, b"\1" * 32]},
        "parent twice": {**content, 5: [b"\1" * 32, b"\1" * 32]},
        "17 parents": {**content, 5: [bytes([n]) * 32 for n in range(17)]},
        "a message without epoch": {**content, 9: None},
        "an unknown kind with epoch": {**content, 8: 6},
        "kind 256": {**content, 8: 256},
        "body too large": {**content, 10: bytes(16_385)},
        "author of 31 bytes": {**content, 2: bytes(31)},
        "no kind": {key: value for key, value in content.items() if key != 8},
        "founding that follows": {**content, 8: 0, 9: None},
        "leave with a body": {**content, 8: 3, 9: None, 10: b"x"},
        "admit at level 0": {**content, 8: 1, 9: None, 10: encode({1: KEYS[2], 2: 1, 3: 0})},
        "admit at level 64": {**content, 8: 1, 9: None, 10: encode({1: KEYS[2], 2: 1, 3: 64})},
        "admit of role 3": {**content, 8: 1, 9: None, 10: encode({1: KEYS[2], 2: 3, 3: 1})},
        "admit of no point": {**content, 8: 1, 9: None, 10: encode({1: bytes(32), 2: 1, 3: 1})},
        "last is no parent": {
            **content,
            8: 2,
            9: None,
            10: encode({1: KEYS[2], 2: b"\x55" * 32}),
        },
        "epoch members descend": {
            **content,
            8: 4,
            9: None,
            10: encode({1: bytes(32), 2: [[k, bytes(80)] for k in (b"\2" * 32, b"\1" * 32)]}),
        },
        "epoch for nobody": {**content, 8: 4, 9: None, 10: encode({1: bytes(32), 2: []})},
    }
    later = {**content, 8: 6, 9: None, 10: b"of a later version", 42: [1, {"a": None}]}
    forged = base.data[:-1] + bytes([base.data[-1] ^ 1])
    return {
        "secrets": [secret.hex() for secret in SECRETS],
        "valid": [
            *(_valid(Kind(entry.kind).name.lower(), entry) for entry in book.entries),
            _valid("of a later version", decode_entry(_signed(later, BEN))),
        ],
        "invalid": [
            *(_refused(name, _signed(value, BEN), decode_entry) for name, value in bad.items()),
            _refused("content is no map", encode([encode([1]), bytes(64)]), decode_entry),
            _refused("no signature", encode([base.data[4:-66]]), decode_entry),
            _refused("bytes behind it", base.data + b"\0", decode_entry),
            {"name": "forged", "encoded": forged.hex(), "code": "log-signature"},
        ],
    }


def _content(entry: Entry) -> dict[int | str, Any]:
    return {
        1: entry.group,
        2: entry.author,
        3: entry.position,
        4: entry.previous,
        5: list(entry.parents),
        6: entry.height,
        7: entry.sent_ms,
        8: entry.kind,
        9: entry.epoch,
        10: entry.body,
    }


def _signed(content: dict[int | str, Any], author: int) -> bytes:
    data = encode(content)
    name = hashlib.sha256(data).digest()
    return encode([data, IDENTITIES[author].sign(signed_bytes(name))])


def _valid(name: str, entry: Entry) -> dict[str, Any]:
    assert is_signed(entry)
    return {
        "name": name,
        "encoded": entry.data.hex(),
        "id": entry.id.hex(),
        "group": entry.group.hex(),
        "author": entry.author.hex(),
        "position": entry.position,
        "past": [each.hex() for each in entry.past],
        "height": entry.height,
        "kind": entry.kind,
        "body": entry.body.hex(),
    }


def _refused(name: str, data: bytes, read: Callable[[bytes], object]) -> dict[str, str]:
    try:
        read(data)
    except RemoteProtocolError as exc:
        return {"name": name, "encoded": data.hex(), "code": exc.code}
    raise AssertionError(f"an invalid vector was accepted: {name}")


# --- messages ---------------------------------------------------------------------------------


def _messages() -> dict[str, Any]:
    group, one, two = b"\x0a" * 32, b"\x01" * 32, b"\x02" * 32
    peer = IDENTITIES[ADA].peer_id.raw
    index, other = RangeIndex(), RangeIndex()
    for n in range(100):
        key = n.to_bytes(4) + hashlib.sha256(b"%d" % n).digest()
        if n != 41:
            index.add(key)
        if n not in (17, 99):
            other.add(key)
    asker = Asker(index, group, b"session!")
    session: list[dict[str, str]] = []
    said: list[LogMessage] = [
        Interest((interest_tag(group, peer),)),
        Frontier(group, 2, bytes(32), (one, two), True),
        Want(group, (two, one)),
        Entries(group, (b"an entry", b"another")),
    ]
    while (query := asker.next_query()) is not None:
        reply = answer(other, query)
        asker.receive(reply)
        said += [query, reply]
        session.append({"query": encode_message(query).hex(), "reply": encode_message(reply).hex()})
    bad = {
        "heads descend": [2, group, 2, bytes(32), [two, one], False],
        "65 heads": [2, group, 65, bytes(32), [bytes([n]) * 32 for n in range(65)], False],
        "wanted twice": [5, group, [one, one]],
        "nothing wanted": [5, group, []],
        "257 wanted": [5, group, [n.to_bytes(32) for n in range(257)]],
        "no entries": [6, group, []],
        "an entry too large": [6, group, [bytes(17_501)]],
        "17 ranges": [3, group, bytes(8), 1, [[bytes([n]), bytes([n + 1]), 0] for n in range(17)]],
        "a range of mode 2": [3, group, bytes(8), 1, [[b"", b"\xff", 2]]],
        "a bound of 37 bytes": [3, group, bytes(8), 1, [[b"", bytes(37), 0]]],
        "a split in one": [4, group, bytes(8), 1, [[[b"\xff", 1, bytes(16)]]]],
        "513 listed": [4, group, bytes(8), 1, [[[n.to_bytes(32) for n in range(513)], None]]],
        "type 7": [7, group],
    }
    return {
        "valid": [
            {"type": type(each).__name__.lower(), "encoded": encode_message(each).hex()}
            for each in said
        ],
        "invalid": [_refused(name, encode(value), decode_message) for name, value in bad.items()],
        "interest": {
            "group": group.hex(),
            "peer": peer.hex(),
            "tag": interest_tag(group, peer).hex(),
        },
        "session": {
            "salt": b"session!".hex(),
            "asker": [key.hex() for key in index.keys(b"")],
            "other": [key.hex() for key in other.keys(b"")],
            "asker_whole": index.whole().hex(),
            "steps": session,
            "need": [each.hex() for each in asker.need],
            "have": [each.hex() for each in asker.have],
        },
    }


# --- logs -------------------------------------------------------------------------------------


def _logs() -> dict[str, Any]:
    scenes = (_plain, _duel, _back_dated, _again, _left, _forked, _fallen_removal)
    return {"transcript": [_log(scene.__name__[1:], *scene()) for scene in scenes]}


def _log(name: str, *books: Book) -> dict[str, Any]:
    every = {entry.id: entry for book in books for entry in book.entries}
    replica = Replica(books[0].replica.group)
    ordered = sorted(every.values(), key=lambda entry: (entry.height, entry.id))
    for entry in ordered:
        replica.ingest(entry)
    verdicts = replica.verdicts()
    assert len(verdicts) == len(every)
    return {
        "name": name,
        "entries": [
            {"encoded": entry.data.hex(), "verdict": verdicts[entry.id].value} for entry in ordered
        ],
        "members": [
            [member.key.hex(), int(member.role), member.level]
            for member in sorted(replica.members.values(), key=lambda member: member.key)
        ],
        "forks": sorted([fork.author.hex(), fork.position] for fork in replica.forks.values()),
        "fingerprint": replica.fingerprint.hex(),
    }


def _group() -> Book:
    book = Book()
    book.admit(ADA, BEN, Role.ADMIT, 1)
    book.admit(ADA, EVE, Role.ADMIT, 2)
    return book


def _plain() -> tuple[Book, ...]:
    one = _group()
    two = one.copy()
    one.write(BEN, Kind.MESSAGE, b"x")
    two.write(EVE, Kind.MESSAGE, b"y")
    return one, two


def _duel() -> tuple[Book, ...]:
    one = _group()
    two = one.copy()
    one.remove(BEN, EVE)
    two.remove(EVE, BEN)
    two.admit(EVE, DAN, Role.WRITE, 3)
    two.write(DAN, Kind.MESSAGE, b"x")
    return one, two


def _back_dated() -> tuple[Book, ...]:
    one = _group()
    one.write(EVE, Kind.MESSAGE, b"early")
    two = one.copy()
    one.remove(ADA, EVE)
    for n in range(3):
        two.write(EVE, Kind.MESSAGE, b"%d" % n)
    return one, two


def _again() -> tuple[Book, ...]:
    one, two = _back_dated()
    for entry in two.entries:
        if entry.id not in one.replica:
            one.take(entry)
    one.admit(BEN, EVE, Role.WRITE, 2)
    one.write(EVE, Kind.MESSAGE, b"back")
    return (one,)


def _left() -> tuple[Book, ...]:
    one = _group()
    two = one.copy()
    one.write(BEN, Kind.LEAVE)
    two.admit(ADA, BEN, Role.WRITE, 5)  # not knowing that he left: he stays out
    return one, two


def _forked() -> tuple[Book, ...]:
    one = _group()
    one.write(BEN, Kind.MESSAGE, b"before")
    two = one.copy()
    one.remove(BEN, EVE)
    one.admit(BEN, DAN, Role.WRITE, 3)
    two.write(BEN, Kind.LEAVE)
    return one, two


def _fallen_removal() -> tuple[Book, ...]:
    one = _group()
    two = one.copy()
    one.remove(BEN, EVE)
    two.write(EVE, Kind.MESSAGE, b"what?")
    two.remove(ADA, BEN)
    return one, two


# --- sealed -----------------------------------------------------------------------------------


def _sealed() -> dict[str, Any]:
    group, key = b"\x0a" * 32, b"\x07" * 32
    members = sorted(KEYS[:3])
    ephemerals = [bytes([n + 20]) * 32 for n in range(3)]
    sealed = seal_epoch(group, key, members, ephemerals)
    epoch, nonce, plain = b"\x0b" * 32, b"\x0c" * 24, b"hello, members"
    return {
        "group": group.hex(),
        "key": key.hex(),
        "commitment": sealed.commitment.hex(),
        "secrets": {
            public.hex(): secret.hex() for public, secret in zip(KEYS, SECRETS, strict=True)
        },
        "ephemerals": [each.hex() for each in ephemerals],
        "sealed": [[member.hex(), box.hex()] for member, box in sealed.sealed],
        "body": {
            "epoch": epoch.hex(),
            "author": KEYS[BEN].hex(),
            "position": 5,
            "nonce": nonce.hex(),
            "plain": plain.hex(),
            "sealed": seal_body(key, nonce, group, epoch, KEYS[BEN], 5, plain).hex(),
        },
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
