"""Group logs: how fast entries are verified and delivered, and what being level again costs.

Bytes are those of encoded messages, counted at the receiver. The baseline of reconciliation is the
naive exchange: both sides send each other the ids of all they have, then what is missing.
`python -m benchmarks.grouplog [--runs 5]`
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence

from benchmarks.report import report, rounded, summary
from fogp2p.identity import ephemeral
from fogp2p.protocols.log.entries import (
    Admit,
    Entry,
    Kind,
    Role,
    decode_entry,
    encode_body,
    is_signed,
    seal_entry,
)
from fogp2p.protocols.log.machine import Placed, Replica, found_draft
from fogp2p.protocols.log.messages import encode_message
from fogp2p.protocols.log.reconcile import Asker, answer

AUTHORS = [ephemeral(random.Random(f"bench/{n}")) for n in range(5)]
KEYS = [author.peer_id.ed25519 or b"" for author in AUTHORS]
COMMON = 10_000
DIFFERENCES = (2, 10, 100, 1_000)
BODY_BYTES = 140
ID_BYTES = 34  # with its head


class Writer:
    """Five authors who write in turn."""

    def __init__(self) -> None:
        founding = seal_entry(found_draft(KEYS[0], "bench", bytes(16)), AUTHORS[0].sign)
        self.replica = Replica(founding.id)
        self.entries: list[Entry] = []
        self.take(founding)
        for key in KEYS[1:]:
            self.write(0, Kind.ADMIT, encode_body(Admit(key, Role.WRITE, 1)))

    def take(self, entry: Entry) -> None:
        self.replica.ingest(entry)
        self.entries.append(entry)

    def write(self, author: int, kind: Kind, body: bytes) -> None:
        epoch = bytes(32) if kind is Kind.MESSAGE else None
        draft = self.replica.draft(KEYS[author], kind, body, epoch=epoch)
        self.take(seal_entry(draft, AUTHORS[author].sign))

    def write_many(self, count: int, authors: Sequence[int]) -> None:
        for n in range(count):
            self.write(authors[n % len(authors)], Kind.MESSAGE, bytes(BODY_BYTES))


def copy_of(writer: Writer) -> Writer:
    other = Writer()
    for entry in writer.entries[len(other.entries) :]:
        other.take(entry)
    return other


def delivered_per_s(entries: list[bytes]) -> float:
    """Decode, verify and place; counted are the entries delivered."""
    replica = Replica(decode_entry(entries[0]).group)
    delivered, start = 0, time.perf_counter()
    for data in entries:
        entry = decode_entry(data)
        assert is_signed(entry)
        delivered += sum(isinstance(event, Placed) for event in replica.ingest(entry))
    took = time.perf_counter() - start
    assert delivered == len(entries) == len(replica)
    return delivered / took


def reconcile(one: Writer, other: Writer) -> tuple[int, int, float]:
    """(rounds, bytes of comparing, seconds) until the difference is known."""
    asker = Asker(one.replica.index, one.replica.group, random.Random(1).randbytes(8))
    rounds = size = 0
    start = time.perf_counter()
    while (query := asker.next_query()) is not None:
        reply = answer(other.replica.index, query)
        size += len(encode_message(query)) + len(encode_message(reply))
        rounds += 1
        asker.receive(reply)
    took = time.perf_counter() - start
    lacking = {e.id for e in other.entries} - {e.id for e in one.entries}
    assert set(asker.need) == lacking, "found exactly"
    return rounds, size, took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    base = Writer()
    base.write_many(COMMON, range(5))
    data = [entry.data for entry in base.entries]
    rates = [delivered_per_s(data) for _ in range(runs)]
    figures: dict[str, object] = {"verified_and_delivered_per_s": summary(rates)}
    ratios: dict[str, float] = {}
    for difference in DIFFERENCES:
        one, other = copy_of(base), copy_of(base)
        one.write_many(difference // 2, [1, 2])
        other.write_many(difference // 2, [3, 4])
        took = [reconcile(one, other) for _ in range(runs)]
        rounds, compared, _ = took[0]
        entries = sum(len(e.data) for e in (one.entries + other.entries)[-difference // 2 :]) * 2
        naive = ID_BYTES * (len(one.entries) + len(other.entries))
        ratios[f"{difference} apart"] = rounded(naive / compared)
        figures[f"{difference} apart"] = {
            "rounds": rounds,
            "bytes_compared": compared,
            "bytes_of_the_difference": entries,
            "bytes_naive_exchange_of_ids": naive,
            "ms": summary([1e3 * each[2] for each in took]),
        }
    report(
        "grouplog",
        ["pynacl", "cbor2"],
        {
            "workload": f"{COMMON} entries in common, five authors, bodies of {BODY_BYTES} bytes,"
            " both sides wrote half of the difference",
            "ratios_naive_to_ranges": ratios,
            "figures": figures,
        },
    )


if __name__ == "__main__":
    main()
