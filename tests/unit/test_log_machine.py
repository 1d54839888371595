"""A replica by hand: places, parents, limits, and the epochs to write under."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import trio

from fogp2p.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from fogp2p.identity import ephemeral
from fogp2p.protocols.log import MemoryStorage, Stored
from fogp2p.protocols.log import machine as log_machine
from fogp2p.protocols.log.config import ANSWER_TIMEOUT_S, MAX_HEADS, MAX_MEMBERS, MAX_PARENTS
from fogp2p.protocols.log.entries import (
    Admit,
    Draft,
    Entry,
    Kind,
    Remove,
    Role,
    encode_body,
    seal_entry,
)
from fogp2p.protocols.log.keys import Keyring, ReaderKey, seal_epoch
from fogp2p.protocols.log.machine import (
    ForkFound,
    MembersChanged,
    Placed,
    Replica,
    found_draft,
)
from fogp2p.protocols.log.membership import Verdict
from fogp2p.protocols.log.messages import (
    Frontier,
    Listed,
    Query,
    Reply,
    Want,
    decode_message,
    encode_message,
)
from fogp2p.protocols.log.sync import PeerSync, Push, Say

SECRETS = [bytes([n + 1]) * 32 for n in range(24)]
PEOPLE = [ephemeral(random.Random(f"unit/{n}")) for n in range(24)]
KEYS = [person.peer_id.ed25519 or b"" for person in PEOPLE]


def found() -> tuple[Replica, Entry]:
    entry = seal_entry(found_draft(KEYS[0], "g", bytes(16)), PEOPLE[0].sign)
    replica = Replica(entry.id)
    (placed, changed) = replica.ingest(entry)
    assert isinstance(placed, Placed) and isinstance(changed, MembersChanged)
    return replica, entry


def write(replica: Replica, author: int, kind: Kind = Kind.MESSAGE, body: bytes = b"") -> Entry:
    epoch = bytes(32) if kind is Kind.MESSAGE else None
    draft = replica.draft(KEYS[author], kind, body, epoch=epoch)
    entry = seal_entry(draft, PEOPLE[author].sign)
    replica.ingest(entry)
    return entry


def admit(replica: Replica, *people: int) -> None:
    for each in people:
        write(replica, 0, Kind.ADMIT, encode_body(Admit(KEYS[each], Role.WRITE, 1)))


def refused(replica: Replica, draft: Draft, author: int = 0) -> str:
    before = replica.fingerprint
    with pytest.raises(RemoteProtocolError) as caught:
        replica.ingest(seal_entry(draft, PEOPLE[author].sign))
    assert replica.fingerprint == before
    return caught.value.code


@pytest.mark.spec("LOG-011")
def test_an_entry_that_lies_about_its_place_is_refused() -> None:
    replica, founding = found()
    admit(replica, 1)
    ones = write(replica, 1)
    draft = replica.draft(KEYS[0], Kind.MESSAGE, b"", epoch=bytes(32))
    assert refused(replica, replace(draft, height=draft.height + 1)) == "log-entry"
    assert refused(replica, replace(draft, height=draft.height - 1)) == "log-entry"
    assert refused(replica, replace(draft, position=draft.position + 1)) == "log-entry"
    others = replace(draft, previous=ones.id, parents=(), position=1, height=ones.height + 1)
    assert refused(replica, others) == "log-entry"
    wrong = Remove(KEYS[1], founding.id)
    removal = replica.draft(KEYS[0], Kind.REMOVE, encode_body(wrong), also=[founding.id])
    assert refused(replica, removal) == "log-entry"
    second = found_draft(KEYS[0], "another", bytes(16))
    assert refused(replica, second) == "log-group"
    assert refused(replica, replace(draft, group=b"\1" * 32)) == "log-group"


@pytest.mark.spec("LOG-020", "LOG-021")
def test_what_was_not_permitted_by_its_past_is_refused() -> None:
    replica, _ = found()
    admit(replica, 1)
    heads = replica.heads()
    assert refused(replica, stranger(replica, heads), 2) == "log-member"
    writer = replica.draft(KEYS[1], Kind.ADMIT, encode_body(Admit(KEYS[2], Role.WRITE, 2)))
    assert refused(replica, writer, 1) == "log-member"
    upwards = encode_body(Admit(KEYS[2], Role.ADMIT, 3))
    write(replica, 0, Kind.ADMIT, upwards)
    same = replica.draft(KEYS[2], Kind.ADMIT, encode_body(Admit(KEYS[3], Role.WRITE, 3)))
    assert refused(replica, same, 2) == "log-member"
    with pytest.raises(LocalProtocolError) as caught:
        replica.draft(KEYS[5], Kind.MESSAGE, b"", epoch=bytes(32))
    assert caught.value.code == "log-permission"


def stranger(replica: Replica, heads: tuple[bytes, ...]) -> Draft:
    height = 1 + max(node.height for name in heads if (node := replica.node(name)) is not None)
    return Draft(replica.group, KEYS[2], 0, None, heads, height, 0, Kind.MESSAGE, bytes(32), b"")


def test_more_heads_than_an_entry_may_name() -> None:
    replica, _ = found()
    admit(replica, *range(1, 22))
    heads = replica.heads()
    drafts = [replica.draft(KEYS[n], Kind.MESSAGE, b"", epoch=bytes(32)) for n in range(1, 22)]
    for n, draft in enumerate(drafts, 1):
        replica.ingest(seal_entry(draft, PEOPLE[n].sign))
    assert len(replica.heads()) == 21 and heads not in replica.heads()
    joined = write(replica, 0)
    assert len(joined.parents) == MAX_PARENTS
    assert len(replica.heads()) == 21 - MAX_PARENTS + 1 <= MAX_HEADS
    write(replica, 0)
    assert len(replica.heads()) == 1


def test_a_group_has_128_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_machine, "MAX_MEMBERS", 3)
    replica, _ = found()
    admit(replica, 1, 2)
    draft = replica.draft(KEYS[0], Kind.ADMIT, encode_body(Admit(KEYS[3], Role.WRITE, 1)))
    assert refused(replica, draft) == "log-member"
    with pytest.raises(LimitExceeded):
        many = [KEYS[0]] + [ephemeral(random.Random(n)).peer_id.ed25519 or b"" for n in range(128)]
        seal_epoch(replica.group, bytes(32), many, [bytes(32)] * 129)
    assert MAX_MEMBERS == 128


def test_a_full_log_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_machine, "MAX_GROUP_ENTRIES", 3)
    replica, _ = found()
    write(replica, 0)
    write(replica, 0)
    with pytest.raises(LimitExceeded) as caught:
        write(replica, 0)
    assert "new group" in caught.value.hint and len(replica) == 3
    assert len(replica.refused) == 1


def test_what_waits_is_placed_as_soon_as_it_can() -> None:
    replica, founding = found()
    admit(replica, 1)
    entries = [founding, *[write(replica, n % 2) for n in range(20)]]
    every = sorted(replica.verdicts(), key=lambda name: replica.node(name).height)  # type: ignore[union-attr]
    other = Replica(replica.group)
    admission = next(name for name in every if name not in {e.id for e in entries})
    for entry in reversed(entries):
        assert all(isinstance(e, Placed | MembersChanged) for e in other.ingest(entry))
    assert len(other) == 1 and len(other.pending) == 20 and admission not in other


@pytest.mark.spec("LOG-004")
def test_kinds_of_later_versions_are_kept_and_judged() -> None:
    replica, _ = found()
    admit(replica, 1)
    draft = replica.draft(KEYS[1], Kind.LEAVE, b"of tomorrow")
    (placed,) = replica.ingest(seal_entry(replace(draft, kind=77), PEOPLE[1].sign))
    assert isinstance(placed, Placed) and placed.verdict is Verdict.STANDS
    assert KEYS[1] in replica.members and len(write(replica, 0).parents) == 1


@pytest.mark.spec("LOG-052")
def test_the_epoch_to_write_under() -> None:
    group, reader = bytes(32), ReaderKey(SECRETS[0])
    other = ReaderKey(SECRETS[1]).public
    mine = reader.public
    ring = Keyring(group, reader)
    draws = [bytes([n + 1]) * 32 for n in range(2)]
    both = seal_epoch(group, b"\1" * 32, [mine, other], draws)
    alone = seal_epoch(group, b"\2" * 32, [mine], draws[:1])
    foreign = seal_epoch(group, b"\3" * 32, [other], draws[:1])
    ring.add(b"b", 5, both)
    ring.add(b"a", 5, both)
    ring.add(b"old", 4, both)
    ring.add(b"alone", 9, alone)
    ring.add(b"foreign", 10, foreign)

    def chosen(*members: bytes, but: bytes = b"") -> bytes | None:
        epoch = ring.usable(members, lambda name: name != but)
        return epoch.id if epoch is not None else None

    assert chosen(mine, other) == b"a"  # the highest, then the smallest id
    assert chosen(mine, other, but=b"a") == b"b"
    assert chosen(mine) == b"alone" and chosen(other) is None
    assert "0101" not in repr(ring.usable([mine, other], lambda name: True))
    assert Keyring(group, None).usable([mine], lambda name: True) is None


def test_a_peer_that_does_not_answer_is_asked_again() -> None:
    replica, _ = found()
    sync = PeerSync(replica, is_asker=True, draw=random.Random(1).randbytes)
    far = Frontier(replica.group, 500, bytes(32), (b"\1" * 32,))
    sync.receive(far, 0.0)
    assert isinstance(sync.actions.popleft().message, Query)  # type: ignore[union-attr]
    sync.tell()
    assert not sync.actions, "busy with the question"
    assert sync.next_deadline() == ANSWER_TIMEOUT_S
    sync.handle_time(ANSWER_TIMEOUT_S)
    assert not sync.is_busy and sync.broken_promises == 0
    near = Frontier(replica.group, 2, b"\1" * 32, (b"\1" * 32,))
    sync.receive(near, 20.0)
    assert sync.actions.popleft() == Say(Want(replica.group, (b"\1" * 32,)))
    sync.handle_time(40.0)
    assert sync.broken_promises == 1
    sync.receive(Want(replica.group, (replica.group,)), 41.0)
    assert sync.actions.popleft() == Push((replica.group,))
    sync.repeat()
    assert isinstance(sync.actions.popleft(), Say)


async def test_storage_refuses_a_gap() -> None:
    storage = MemoryStorage()
    await storage.commit(b"g", [Stored(1, b"a", b"1")], {"screen": 1})
    with pytest.raises(LocalProtocolError) as caught:
        await storage.commit(b"g", [Stored(3, b"c", b"3")])
    assert caught.value.code == "log-storage"
    assert await storage.read(b"g", 0, 10) == (Stored(1, b"a", b"1"),)
    assert await storage.fetch(b"g", [b"c", b"a"]) == {b"a": b"1"}
    assert (await storage.mark(b"g", "screen"), await storage.mark(b"x", "screen")) == (1, 0)
    await trio.lowlevel.checkpoint()


def test_an_empty_list_is_no_split() -> None:
    for listed in (Listed((), None), Listed((), b"\1"), Listed((b"\1" * 32,), None)):
        reply = Reply(bytes(32), bytes(8), 1, (listed,))
        assert decode_message(encode_message(reply)) == reply


def test_a_second_entry_at_position_0_does_not_end_the_group() -> None:
    """The founder forks at its first position: it is muted, the founding entry stands."""
    replica, founding = found()
    admit(replica, 1)
    draft = Draft(
        replica.group, KEYS[0], 0, None, (founding.id,), 1, 0, Kind.MESSAGE, bytes(32), b""
    )
    events = replica.ingest(seal_entry(draft, PEOPLE[0].sign))
    assert any(isinstance(event, ForkFound) for event in events)
    assert KEYS[0] in replica.members and KEYS[1] not in replica.members
    with pytest.raises(LocalProtocolError) as caught:
        write(replica, 0)
    assert caught.value.code == "log-forked"
