"""Any bytes, cut anywhere, at either side of a pairing."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fogp2p.addresses import parse_address
from fogp2p.errors import LocalProtocolError, RemoteProtocolError
from fogp2p.ids import PeerId
from fogp2p.protocols.invite.book import Book, InviteRecord, JoinRecord, Known, Stage, decode_book
from fogp2p.protocols.invite.codes import Kind, Words, password, word_list
from fogp2p.protocols.invite.machine import (
    NEED_DATA,
    Asked,
    Inviter,
    Joiner,
    Kept,
    Offered,
    Proved,
    Shown,
)
from fogp2p.protocols.invite.messages import (
    Contact,
    decode_contact,
    decode_message,
    encode_contact,
    encode_message,
)
from fogp2p.testing.vectors import load_vectors

BOB, ADA = (PeerId.from_ed25519(bytes([n]) * 32) for n in (1, 2))
CODE = Words(7, ("copper", "lake"))
MESSAGES = [bytes.fromhex(case["encoded"]) for case in load_vectors("invite")["messages"].valid]
RUN = load_vectors("invite")["transcripts"].transcript[0]
PARTS = {
    role: b"".join(bytes.fromhex(s["bytes"]) for s in RUN["said"] if s["from"] == role)
    for role in ("joiner", "inviter")
}


def _machine(role: str, entropy: int = 1) -> Joiner | Inviter:
    fresh = bytes([entropy]) * 64
    if role == "inviter":
        return Inviter(local=ADA, remote=BOB, entropy=fresh)
    return Joiner(local=BOB, remote=ADA, entropy=fresh, nameplate=7, password=password(CODE))


def _go_on(machine: Joiner | Inviter, event: object) -> None:
    """What a handler says to each event."""
    match event, machine:
        case Asked(), Inviter():
            machine.pair(7, 60, password(CODE))
        case Proved(), Inviter():
            machine.accept(Contact("ada", ADA))
        case Shown(), Inviter():
            machine.stored()
        case Offered(), Joiner() if not machine.is_over:
            machine.begin()
        case Shown(), Joiner():
            machine.present(Contact("bob", BOB))
        case Kept(), Joiner():
            machine.finish()


def _drive(machine: Joiner | Inviter, chunks: list[bytes]) -> tuple[list[str], str]:
    """The events and how it ended."""
    events: list[str] = []
    try:
        for chunk in chunks:
            machine.receive_data(chunk)
            while not machine.is_over and (event := machine.next_event()) != NEED_DATA:
                events.append(type(event).__name__)
                _go_on(machine, event)
        machine.receive_end()
    except RemoteProtocolError as failure:
        return events, failure.code
    except LocalProtocolError as mistake:
        # The only one that a peer's bytes lead to: a wrong guess has to be refused.
        assert mistake.code == "invite-turn" and events[-1] == "WrongGuess"
        return events, "guessed"
    return events, machine.state.value


@settings(max_examples=150)
@given(st.sampled_from(["joiner", "inviter"]), st.lists(st.binary(max_size=80), max_size=8))
def test_any_bytes_give_events_or_a_remote_error(role: str, chunks: list[bytes]) -> None:
    _drive(_machine(role), chunks)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["joiner", "inviter"]),
    st.lists(st.sampled_from(MESSAGES), min_size=1, max_size=5),
    st.randoms(use_true_random=False),
)
def test_any_messages_cut_anywhere_do_the_same(
    role: str, messages: list[bytes], source: object
) -> None:
    whole = b"".join(bytes([len(each)]) + each for each in messages)
    cuts = sorted({source.randrange(len(whole) + 1) for _ in range(6)})  # type: ignore[attr-defined]
    edges = [0, *cuts, len(whole)]
    chunks = [whole[a:b] for a, b in pairwise(edges)]
    at_once, cut = _drive(_machine(role), [whole]), _drive(_machine(role), chunks)
    assert at_once == cut


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["joiner", "inviter"]), st.integers(0), st.integers(0, 7))
def test_one_bit_of_a_real_pairing_never_gives_a_contact(role: str, at: int, bit: int) -> None:
    """The other side's words from the vectors, with a bit turned round on the way."""
    other = "inviter" if role == "joiner" else "joiner"
    data = bytearray(PARTS[other])
    data[at % len(data)] ^= 1 << bit
    machine: Joiner | Inviter
    peers = {side: PeerId.parse(RUN[side]["peer"]) for side in ("joiner", "inviter")}
    entropy = bytes.fromhex(RUN[role]["entropy"])
    if role == "joiner":
        machine = Joiner(
            local=peers[role],
            remote=peers[other],
            entropy=entropy,
            nameplate=7,
            password=password(CODE),
        )
    else:
        machine = Inviter(local=peers[role], remote=peers[other], entropy=entropy)
    events, end = _drive(machine, [bytes(data)])
    assert end != "done"
    # Only the receipt, the last message, may be the one that was hit behind the contact.
    if "Shown" in events:
        assert at % len(data) >= len(data) - 40


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_a_contact_a_book_or_refused(data: bytes) -> None:
    for read in (decode_message, decode_contact, decode_book):
        try:
            read(data)
        except RemoteProtocolError:
            continue


addresses = st.lists(
    st.builds(lambda ip: parse_address(f"/ip4/{ip}/tcp/1"), st.ip_addresses(v=4)), max_size=4
).map(tuple)
peers = st.binary(min_size=32, max_size=32).map(PeerId.from_ed25519)
names = st.text(max_size=64)
words = st.tuples(st.sampled_from(word_list()), st.sampled_from(word_list()))


@given(names, peers, addresses)
def test_contacts_come_back(name: str, peer: PeerId, told: tuple) -> None:  # type: ignore[type-arg]
    contact = decode_contact(encode_contact(Contact(name, peer, told)))
    assert (contact.peer, contact.addresses) == (peer, told)
    assert contact.name.isprintable() and len(contact.name) <= 64


@pytest.mark.parametrize("data", MESSAGES)
def test_messages_have_one_encoding(data: bytes) -> None:
    message = decode_message(data)
    assert decode_message(encode_message(message)) == message


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 999), words, names, st.integers(0, 2**40), peers), max_size=5)
)
def test_books_come_back(drawn: list[tuple[int, tuple[str, str], str, int, PeerId]]) -> None:
    book = Book()
    for at, (number, secret, name, when, peer) in enumerate(drawn):
        book.latest_ms = max(book.latest_ms, when)
        invite = InviteRecord(f"i-{at}", number, Kind.WORDS, secret, name, when, when + 1)
        book.invites[invite.id] = invite
        link = InviteRecord(
            f"l-{at}", number, Kind.LINK, bytes(16), name, when, when + 1, Stage.STORED, 2, peer
        )
        book.invites[link.id] = link
        join = JoinRecord(
            f"j-{at}", number, Kind.WORDS, secret, name, when, when + 1, Stage.ACCEPTED, peer
        )
        book.joins[join.id] = join
        book.contacts[peer] = Known(peer, name, Kind.LINK, when)
    again = decode_book(book.encode())
    assert (again.invites, again.joins) == (book.invites, book.joins)
    assert (again.contacts, again.latest_ms) == (book.contacts, book.latest_ms)
