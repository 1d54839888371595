"""Blobs: readers that take any bytes, and the order in which chunks are asked for."""

from __future__ import annotations

import hashlib
import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fogp2p.errors import RemoteProtocolError
from fogp2p.protocols.blob import CHUNK_BYTES, Cid, Manifest, Swarm, decode_manifest, file_name
from fogp2p.protocols.blob.messages import (
    bitmap_bytes,
    bitmap_of,
    decode_request,
    indices_of,
    read_reply,
)

CHUNKS = [bytes([n]) * 10 for n in range(12)]
SIZE = 11 * 262_144 + 10


class _Small(Manifest):
    """A manifest whose chunks are ten bytes, so that tests are quick."""

    def chunk_bytes(self, index: int) -> int:
        return 10


MANIFEST = _Small(SIZE, tuple(hashlib.sha256(chunk).digest() for chunk in CHUNKS))


@given(st.binary(max_size=300), st.integers(0, 40))
def test_any_bytes_are_read_or_refused(data: bytes, count: int) -> None:
    reads: list[Any] = [
        lambda: decode_request(data),
        lambda: decode_manifest(data, Cid.of_manifest(data)),
        lambda: Cid.from_bytes(data),
        lambda: Cid.parse(data.decode("latin-1")),
        lambda: read_reply(data),
        lambda: indices_of(data, count),
    ]
    for read in reads:
        try:
            read()
        except RemoteProtocolError as error:
            assert error.code.startswith(("blob-", "cbor-"))


@given(st.sets(st.integers(0, 99)), st.integers(100, 140))
def test_bitmaps_round_trip(present: set[int], count: int) -> None:
    assert indices_of(bitmap_of(count, present), count) == present


@given(st.sets(st.integers(0, 99)), st.sets(st.integers(0, 99)), st.integers(100, 140))
def test_changed_bytes_make_the_bitmap(before: set[int], after: set[int], count: int) -> None:
    bitmap = bytearray(bitmap_of(count, before))
    for number, byte in bitmap_bytes(before ^ after, after.__contains__).items():
        bitmap[number] = byte
    assert bitmap == bitmap_of(count, after)


@pytest.mark.attack(132)
@pytest.mark.spec("BLO-021")
@given(st.text(max_size=400))
def test_a_name_is_one_harmless_part_of_a_path(offered: str) -> None:
    kept = file_name(offered)
    assert kept and kept not in (".", "..") and not kept.startswith(".")
    assert not set(kept) & set('/\\<>:"|?*\0') and kept.isprintable()
    assert len(kept.encode()) <= 255 and file_name(kept) == kept


class Download(RuleBasedStateMachine):
    """Sources come, answer, lie, fail and go; every chunk arrives exactly once."""

    def __init__(self) -> None:
        super().__init__()
        self.swarm = Swarm(MANIFEST, [3], random.Random(1))
        self.owned: dict[int, frozenset[int]] = {}
        self.asked: list[tuple[int, int]] = []
        self.stored = {3}

    @rule(source=st.integers(0, 4), has=st.frozensets(st.integers(0, 11)))
    def join(self, source: int, has: frozenset[int]) -> None:
        if not self.swarm.is_banned(source):
            self.swarm.join(source, has)
            self.owned[source] = has

    @rule(source=st.integers(0, 4))
    def ask(self, source: int) -> None:
        index = self.swarm.next_for(source)
        if index is not None:
            assert index in self.owned[source] and index not in self.stored
            assert (source, index) not in self.asked
            self.asked.append((source, index))

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), what=st.sampled_from(["good", "good", "good", "lie", "lacks"]))
    def answer(self, data: st.DataObject, what: str) -> None:
        source, index = self.asked.pop(data.draw(st.integers(0, len(self.asked) - 1)))
        if what == "lacks":
            self.swarm.failed(source, index)
            self.owned[source] -= {index}
            return
        try:
            new = self.swarm.took(source, index, CHUNKS[index] if what == "good" else b"lie")
        except RemoteProtocolError as error:
            assert what == "lie" and error.code == "blob-chunk"
            assert self.swarm.is_banned(source)
            self.leave(source)
            return
        assert new == (index not in self.stored)
        self.stored.add(index)

    @rule(source=st.integers(0, 4))
    def leave(self, source: int) -> None:
        self.swarm.leave(source)
        self.owned.pop(source, None)
        self.asked = [each for each in self.asked if each[0] != source]

    @rule()
    def finish(self) -> None:
        """One honest source with everything is always enough."""
        self.swarm.join("all", frozenset(range(12)))
        while (index := self.swarm.next_for("all")) is not None:
            assert self.swarm.took("all", index, CHUNKS[index])
            self.stored.add(index)
        assert self.swarm.is_done and self.stored == set(range(12))

    @invariant()
    def counts(self) -> None:
        assert self.swarm.missing == 12 - len(self.stored)


TestDownload = Download.TestCase
TestDownload.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


def test_what_few_have_is_asked_for_first() -> None:
    swarm = Swarm(MANIFEST, [], random.Random(5))
    for source in range(3):
        swarm.join(source, frozenset(range(12)) - {7})
    swarm.join("rare", frozenset(range(12)))
    assert swarm.next_for("rare") == 7


@pytest.mark.parametrize("count", [8, 40, 1_000])
def test_peers_begin_in_different_places_and_ask_for_neighbours(count: int) -> None:
    manifest = Manifest(count * CHUNK_BYTES, tuple(bytes(32) for _ in range(count)))
    orders = []
    for seed in range(20):
        swarm = Swarm(manifest, [], random.Random(seed))
        swarm.join("all", frozenset(range(count)))
        orders.append([swarm.next_for("all") or 0 for _ in range(count)])
        assert sorted(orders[-1]) == list(range(count))
    assert len({order[0] for order in orders}) >= 5, "else they have nothing for one another"
    neighbours = sum(b == a + 1 for order in orders for a, b in pairwise(order))
    assert neighbours / (20 * count) > (0.9 if count == 1_000 else 0)


def test_the_end_is_asked_of_others_too() -> None:
    swarm = Swarm(MANIFEST, range(11), random.Random(5))
    swarm.join("slow", frozenset(range(12)))
    swarm.join("quick", frozenset(range(12)))
    assert swarm.next_for("slow") == 11 == swarm.next_for("quick")
    assert swarm.next_for("quick") is None
    assert swarm.took("quick", 11, CHUNKS[11]) and swarm.is_done
    assert not swarm.took("slow", 11, CHUNKS[11])
