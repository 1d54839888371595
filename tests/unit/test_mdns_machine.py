"""LAN discovery without sockets: packets and the machine."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fogp2p.addresses import Multiaddr, Scope, parse_address
from fogp2p.errors import RemoteProtocolError
from fogp2p.ids import PeerId
from fogp2p.transports.mdns.config import MdnsConfig
from fogp2p.transports.mdns.machine import Machine
from fogp2p.transports.mdns.messages import (
    Announcement,
    Query,
    announcement,
    content_label,
    content_query,
    parse,
    query,
)

SERVICE = "_p2p._udp.local."
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
IP = ipaddress.ip_address("192.168.1.7")
ME, YOU = (PeerId.from_ed25519(bytes([n]) * 32) for n in (1, 2))


def _address(peer: PeerId, number: int = 7) -> Multiaddr:
    return parse_address(f"/ip4/192.168.1.{number}/tcp/4001/p2p/{peer}")


def _machine(source: Scope = Scope.LAN) -> Machine:
    return Machine(MdnsConfig(), f"{'a' * 32}.{SERVICE}", ME, source, now=0.0)


def _told(peer: PeerId, *numbers: int, ttl: int = 120, name: str = "b" * 32) -> Announcement:
    packet = announcement(SERVICE, name, [_address(peer, n) for n in numbers], IP, ttl)
    (found,) = parse(packet, SERVICE)
    assert isinstance(found, Announcement)
    return found


def test_packets_round_trip_with_repeated_keys() -> None:
    told = _told(YOU, 7, 8, 9)
    assert (told.peer, told.ttl_s, len(told.addresses)) == (YOU, 120, 3)
    assert told.name == f"{'b' * 32}.{SERVICE}"
    asked = parse(query(SERVICE, [(told.name, 100)]), SERVICE)
    assert asked == Query(frozenset({told.name}))
    assert parse(query("_other._udp.local."), SERVICE) == ()
    assert (
        parse(announcement("_p2p-x._udp.local.", "c" * 32, [_address(YOU)], IP, 1), SERVICE) == ()
    )


def test_who_has_a_content_is_asked_by_a_subtype() -> None:
    label = content_label(b"cid")
    assert len(label) == 32 and label == content_label(b"cid") != content_label(b"other")
    asked = content_query(SERVICE, label)
    assert b"cid" not in asked, "who listens learns no name"
    assert parse(asked, SERVICE) == Query(frozenset(), frozenset({label}), is_for_all=False)
    assert parse(content_query("_other._udp.local.", label), SERVICE) == ()
    packet = announcement(SERVICE, "b" * 32, [_address(YOU)], IP, 120, label)
    (told,) = parse(packet, SERVICE)
    assert isinstance(told, Announcement) and (told.peer, told.label) == (YOU, label)
    assert len(packet) <= 1400
    for wrong in ("a" * 31, "a" * 33, ""):
        packet = announcement(SERVICE, "b" * 32, [_address(YOU)], IP, 120, f"{wrong}.x")
        assert parse(packet, SERVICE) == ()


def test_a_content_of_ours_is_answered_for_and_no_other() -> None:
    ours, others = content_label(b"ours"), content_label(b"others")
    contents = {ours: None}
    machine = Machine(MdnsConfig(), f"{'a' * 32}.{SERVICE}", ME, Scope.LAN, 0.0, contents)
    machine.receive_query(Query(frozenset(), frozenset({others}), is_for_all=False), 10.0, 0.5)
    assert machine.content_due(20.0) is None and not machine.answer_due(20.0)
    machine.receive_query(Query(frozenset(), frozenset({ours, others}), False), 20.0, 0.5)
    assert machine.content_due(20.01) is None and machine.content_due(20.08) == ours
    assert machine.content_due(21.0) is None and not machine.answer_due(21.0)
    del contents[ours]
    machine.receive_query(Query(frozenset(), frozenset({ours}), False), 30.0, 0.5)
    assert machine.content_due(31.0) is None


@pytest.mark.attack(30)
def test_a_storm_of_questions_about_contents_is_answered_five_times_a_second() -> None:
    labels = [content_label(bytes([n])) for n in range(50)]
    machine = Machine(MdnsConfig(), f"{'a' * 32}.{SERVICE}", ME, Scope.LAN, 0.0, set(labels))
    answers = 0
    for step in range(1_000):  # ten seconds
        now = 1.0 + step / 100
        machine.receive_query(Query(frozenset(), frozenset(labels), False), now, 1.0)
        answers += machine.content_due(now) is not None
    assert 45 <= answers <= 51


def test_who_says_it_has_a_content_is_held_to_the_rules_of_addresses() -> None:
    machine = _machine()
    label = content_label(b"cid")
    told = _told(YOU, 7)
    assert machine.receive_provider(dataclasses.replace(told, label=label), 5.0) is not None
    for worthless in (
        dataclasses.replace(told, peer=ME),
        dataclasses.replace(told, ttl_s=0),
        dataclasses.replace(told, addresses=(parse_address("/ip4/127.0.0.1/tcp/1"),)),
    ):
        assert machine.receive_provider(worthless, 5.0) is None
    assert machine.peers == 0, "it is no sighting"


def test_what_js_libp2p_sends_is_understood() -> None:
    recorded = json.loads((FIXTURES / "mdns" / "js.json").read_text("utf-8"))
    assert parse(bytes.fromhex(recorded["query"]), SERVICE) == Query(frozenset())
    (told,) = parse(bytes.fromhex(recorded["announcement"]), SERVICE)  # type: ignore[misc]
    assert str(told.peer) == recorded["peer"] and told.ttl_s == 120
    assert str(told.addresses[0]).startswith("/ip4/127.0.0.1/tcp/")


def test_packets_stay_below_an_ethernet_frame() -> None:
    many = [_address(YOU, n % 250 + 1) for n in range(100)]
    packet = announcement(SERVICE, "b" * 32, many, IP, 120)
    assert len(packet) <= 1400
    assert parse(packet, SERVICE)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=600), st.integers(0, 2**32))
def test_any_bytes_parse_or_raise_our_error(data: bytes, seed: int) -> None:
    source = random.Random(seed)
    label = source.choice(("", content_label(b"cid")))
    packet = bytearray(announcement(SERVICE, "b" * 32, [_address(YOU)], IP, 120, label))
    for _ in range(source.randrange(1, 6)):
        packet[source.randrange(len(packet))] = source.randrange(256)
    for hostile in (data, bytes(packet), bytes(packet)[: source.randrange(len(packet))]):
        try:
            parse(hostile, SERVICE)
        except RemoteProtocolError as error:
            assert error.code == "mdns"


def test_questions_come_quickly_and_then_rarely() -> None:
    machine = _machine()
    asked = []
    now = 0.0
    while now < 40:
        now = machine.next_deadline()
        if machine.query_due(now) is not None:
            asked.append(now)
    assert asked[:6] == [0.0, 0.5, 1.5, 4.5, 14.5, 24.5]


def test_answers_are_delayed_limited_and_suppressed() -> None:
    machine = _machine()
    machine.receive_query(Query(frozenset()), now=10.0, chance=0.5)
    assert not machine.answer_due(10.05)
    assert machine.answer_due(10.0701)
    machine.receive_query(Query(frozenset()), now=10.2, chance=0.0)
    assert not machine.answer_due(11.0)
    assert machine.answer_due(11.08)
    machine.receive_query(Query(frozenset({f"{'a' * 32}.{SERVICE}"})), now=20.0, chance=0.0)
    assert not machine.answer_due(30.0)


def test_peers_are_news_once_until_they_expire_or_leave() -> None:
    machine = _machine()
    news = machine.receive_announcement(_told(YOU, 7), now=0.0)
    assert news is not None and news.expires_at == 120.0
    assert machine.receive_announcement(_told(YOU, 7), now=60.0) is None
    assert machine.receive_announcement(_told(YOU, 8), now=61.0) is not None
    assert machine.addresses_of(YOU)
    forged = machine.receive_announcement(_told(YOU, 8, ttl=0, name="c" * 32), now=62.0)
    assert forged is None and machine.peers == 1  # another name cannot say goodbye
    gone = machine.receive_announcement(_told(YOU, 8, ttl=0), now=62.0)
    assert gone is not None and gone.expires_at == 62.0
    machine.receive_announcement(_told(YOU, 7), now=70.0)
    machine.expire(now=190.1)
    assert machine.peers == 0


def test_our_own_announcement_is_no_news() -> None:
    machine = _machine()
    assert machine.receive_announcement(_told(ME, 7), now=0.0) is None
    assert machine.receive_announcement(_told(YOU, 7, name="a" * 32), now=0.0) is None


@pytest.mark.attack(19)
@pytest.mark.parametrize(
    ("source", "address", "kept"),
    [
        (Scope.LAN, "/ip4/127.0.0.1/tcp/22", False),
        (Scope.LAN, "/ip6/::1/tcp/22", False),
        (Scope.LAN, "/ip4/0.0.0.0/tcp/1", False),
        (Scope.LAN, "/ip4/224.0.0.251/tcp/1", False),
        (Scope.LAN, "/ip4/10.1.2.3/tcp/1", True),
        (Scope.LOOPBACK, "/ip4/127.0.0.1/tcp/22", True),
    ],
)
def test_addresses_aimed_at_ourselves_are_dropped(source: Scope, address: str, kept: bool) -> None:
    machine = _machine(source)
    told = Announcement(f"{'b' * 32}.{SERVICE}", 120, YOU, (parse_address(address),))
    assert (machine.receive_announcement(told, now=0.0) is not None) is kept


@pytest.mark.attack(30)
def test_mdns_flood() -> None:
    """A storm of packets and of invented peers: counted, bounded, and over in a minute."""
    machine = _machine()
    assert sum(machine.may_read(0.5) for _ in range(10_000)) == 200
    source = random.Random(1)
    strangers = [PeerId.from_ed25519(source.randbytes(32)) for _ in range(5_000)]
    accepted = sum(
        machine.receive_announcement(
            Announcement(f"{n:032x}.{SERVICE}", 120, peer, (_address(peer),)), now=1.0
        )
        is not None
        for n, peer in enumerate(strangers)
    )
    assert accepted == 50 and machine.peers == 50 and machine.dropped > 4_000
    assert machine.receive_announcement(_told(YOU, 7), now=62.0) is not None


@pytest.mark.attack(30)
def test_huge_and_strange_records_are_refused() -> None:
    with pytest.raises(RemoteProtocolError):
        parse(bytes(65_000), SERVICE)
    control = announcement(SERVICE, "b" * 32, [_address(YOU)], IP, 120).replace(
        b"dnsaddr=/ip4", b"dnsaddr=\x1b[2J"
    )
    with contextlib.suppress(RemoteProtocolError):
        assert parse(control, SERVICE) == ()
