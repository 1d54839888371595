"""The two machines of a pairing, and the book."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from fogp2p.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from fogp2p.framing import encode_frame
from fogp2p.ids import PeerId
from fogp2p.protocols.invite.book import Book, InviteRecord, JoinRecord, Stage, decode_book
from fogp2p.protocols.invite.codes import Kind, Words, password
from fogp2p.protocols.invite.config import MAX_CONTACTS, MAX_FINISHED, MAX_JOINS, MAX_OPEN
from fogp2p.protocols.invite.errors import NoSuchInvite
from fogp2p.protocols.invite.machine import (
    INVITER,
    JOINER,
    NEED_DATA,
    Asked,
    Inviter,
    Joiner,
    Offered,
    Proved,
    Shown,
    State,
    WrongGuess,
)
from fogp2p.protocols.invite.messages import (
    Card,
    Confirmation,
    Contact,
    Hello,
    Intent,
    Keys,
    Message,
    Offer,
    Pake,
    Reason,
    Refusal,
    Stored,
    encode_message,
    printable_name,
)
from fogp2p.protocols.invite.pake import Exchange

BOB, ADA, EVE = (PeerId.from_ed25519(bytes([n]) * 32) for n in (1, 2, 3))
CODE = Words(7, ("copper", "lake"))
MESSAGES: list[Message] = [
    Hello(7, Intent.PAIR),
    Offer(((7, 60),)),
    Refusal(Reason.BUSY),
    Pake(b"A" + bytes(32)),
    Confirmation(bytes(32)),
    Card(b"x", bytes(32)),
    Stored(bytes(32)),
]


def _pair(code: Words = CODE) -> tuple[Joiner, Inviter]:
    joiner = Joiner(
        local=BOB, remote=ADA, entropy=bytes([1]) * 64, nameplate=7, password=password(code)
    )
    return joiner, Inviter(local=ADA, remote=BOB, entropy=bytes([2]) * 64)


def _tell(machine: Joiner | Inviter, message: Message) -> object:
    machine.receive_data(encode_frame(encode_message(message)))
    return machine.next_event()


def _until(side: str, state: State) -> Joiner | Inviter:
    """The machine of one side that waits for a message in `state`."""
    joiner, inviter = _pair()
    for _ in range(5):
        if side == "joiner" and joiner.state is state:
            return joiner
        if side == "inviter" and inviter.state is state:
            return inviter
        inviter.receive_data(joiner.data_to_send())
        match inviter.next_event():
            case Asked():
                inviter.pair(7, 60, password(CODE))
            case Proved():
                inviter.accept(Contact("ada", ADA))
            case Shown():
                inviter.stored()
        if side == "inviter" and inviter.state is state:
            return inviter
        data = inviter.data_to_send()
        if side == "joiner" and state is State.CARD and joiner.state is State.CONFIRMATION:
            data = data[: 1 + data[0]]  # the confirmation without the card
        joiner.receive_data(data)
        match joiner.next_event():
            case Offered():
                joiner.begin()
            case Shown():
                joiner.present(Contact("bob", BOB))
    raise AssertionError(state)


@pytest.mark.spec("INV-010")
@pytest.mark.parametrize(
    ("side", "state"),
    [("inviter", state) for state in INVITER] + [("joiner", state) for state in JOINER],
)
def test_a_message_that_does_not_belong_is_the_end(side: str, state: State) -> None:
    table = INVITER if side == "inviter" else JOINER
    for message in MESSAGES:
        machine = _until(side, state)
        if type(message) in table[state]:
            continue
        with pytest.raises(RemoteProtocolError) as caught:
            _tell(machine, message)
        assert caught.value.code == "invite-order" and machine.state is State.FAILED
        with pytest.raises(RemoteProtocolError):
            machine.next_event()


def test_every_state_is_waiting_ours_or_over() -> None:
    waiting = set(INVITER) | set(JOINER)
    ours = {State.OFFERED, State.ASKED, State.PROVED, State.GUESSED, State.SHOWN, State.KEPT}
    over = {State.DONE, State.REFUSED, State.FAILED}
    assert waiting | ours | over == set(State)
    assert not (waiting & ours or waiting & over or ours & over)


def test_out_of_turn_is_our_own_mistake_and_changes_nothing() -> None:
    joiner, inviter = _pair()
    for call in (
        lambda: inviter.pair(7, 60, b"x"),
        lambda: inviter.accept(Contact("", ADA)),
        lambda: inviter.refuse(Reason.BUSY),
        lambda: inviter.offer(()),
        inviter.stored,
        joiner.begin,
        joiner.finish,
        lambda: joiner.present(Contact("", BOB)),
    ):
        with pytest.raises(LocalProtocolError):
            call()
    assert (joiner.state, inviter.state) == (State.OFFER, State.HELLO)
    inviter.receive_data(joiner.data_to_send())
    assert isinstance(inviter.next_event(), Asked)
    with pytest.raises(LocalProtocolError):
        inviter.next_event()
    with pytest.raises(LocalProtocolError):
        Exchange(b"", joiner=BOB, inviter=ADA, is_joiner=True, entropy=bytes(63))


def test_a_wrong_guess_cannot_be_accepted() -> None:
    joiner, inviter = _pair(Words(7, ("copper", "zoo")))
    inviter.receive_data(joiner.data_to_send())
    inviter.next_event()
    inviter.pair(7, 60, password(CODE))
    joiner.receive_data(inviter.data_to_send())
    joiner.next_event()
    joiner.begin()
    inviter.receive_data(joiner.data_to_send())
    assert inviter.next_event() == NEED_DATA
    joiner.receive_data(inviter.data_to_send())
    joiner.next_event()
    inviter.receive_data(joiner.data_to_send())
    assert isinstance(inviter.next_event(), WrongGuess)
    with pytest.raises(LocalProtocolError):
        inviter.accept(Contact("ada", ADA))
    assert inviter.data_to_send() == b""


@pytest.mark.spec("INV-011")
@pytest.mark.parametrize(
    "body",
    [
        b"B" + b"\1" + bytes(31),  # the neutral element
        b"B" + bytes(32),  # order 4
        b"B" + bytes.fromhex("ec" + "ff" * 30 + "7f"),  # order 2
        b"B" + b"\2" + bytes(31),  # no point of the curve
        b"A" + b"\x58" + b"\x66" * 31,  # our own side
        b"S" + b"\x58" + b"\x66" * 31,
    ],
)
def test_bad_points_are_refused_and_nothing_is_proven_on_them(body: bytes) -> None:
    joiner, inviter = _pair()
    inviter.receive_data(joiner.data_to_send())
    inviter.next_event()
    inviter.pair(7, 60, password(CODE))
    joiner.receive_data(inviter.data_to_send())
    joiner.next_event()
    joiner.begin()
    joiner.data_to_send()
    with pytest.raises(RemoteProtocolError) as caught:
        _tell(joiner, Pake(body))
    assert caught.value.code == "invite-pake" and joiner.data_to_send() == b""


@pytest.mark.spec("INV-013", "INV-014")
def test_a_false_inviter_cannot_prove_itself() -> None:
    joiner, _ = _pair()
    _tell(joiner, Offer(((7, 60),)))
    joiner.begin()
    joiner.data_to_send()
    false = Exchange(
        password(Words(7, ("copper", "zoo"))),
        joiner=BOB,
        inviter=ADA,
        is_joiner=False,
        entropy=bytes([9]) * 64,
    )
    assert _tell(joiner, Pake(false.start())) == NEED_DATA
    with pytest.raises(RemoteProtocolError) as caught:
        _tell(joiner, Confirmation(bytes(32)))
    assert caught.value.code == "invite-tag"


def test_another_offer_than_asked_for_and_early_ends() -> None:
    joiner, inviter = _pair()
    with pytest.raises(RemoteProtocolError) as caught:
        _tell(joiner, Offer(((8, 60),)))
    assert caught.value.code == "invite-order"
    with pytest.raises(RemoteProtocolError) as caught:
        inviter.receive_end()
    assert caught.value.code == "invite-cut"


def test_keys_are_not_shown() -> None:
    keys = Keys(b"k" * 32, bytes(32))
    assert "kkkk" not in repr(keys)
    with pytest.raises(TypeError):
        pickle.dumps(keys)
    roles = {keys.confirmation(role) for role in ("joiner", "inviter")}
    roles |= {keys.stored(role) for role in ("joiner", "inviter")}
    roles |= {keys.card(role, b"") for role in ("joiner", "inviter")}
    assert len(roles) == 6


def test_names_are_cut_and_made_printable() -> None:
    assert printable_name("  a\x1b[2Jb\u202e ") == "a\ufffd[2Jb\ufffd"
    assert len(printable_name("x" * 100)) == 64


# --- the book ------------------------------------------------------------------------------------


def _record(number: int = 7, **changes: object) -> InviteRecord:
    record = InviteRecord(f"i-{number}", number, Kind.WORDS, ("copper", "lake"), "", 0, 1000)
    return replace(record, **changes)  # type: ignore[arg-type]


def _join(number: int = 7) -> JoinRecord:
    return JoinRecord(f"j-{number}", number, Kind.WORDS, ("copper", "lake"), "", 0, 1000)


@pytest.mark.spec("INV-031", "INV-033", "INV-034", "INV-050")
def test_who_may_pair_when() -> None:
    book = Book()
    assert book.judge(7, BOB, 0) is Reason.UNKNOWN
    book.add_invite(_record())
    assert isinstance(book.judge(7, BOB, 999), InviteRecord)
    assert book.judge(7, BOB, 1000) is Reason.EXPIRED
    assert book.claim("i-7", BOB, 999) is None
    assert book.claim("i-7", EVE, 999) is Reason.USED
    day = 86_400_000
    assert isinstance(book.judge(7, BOB, 999 + day), InviteRecord)
    assert book.judge(7, BOB, 1000 + day) is Reason.EXPIRED
    assert book.judge(7, EVE, 999) is Reason.USED
    # What the owner of an invite types wrong later does not take it away.
    assert [book.wrong_guess("i-7") for _ in range(3)] == [2, 1, 0]
    assert book.invite("i-7").stage is Stage.ACCEPTED
    book.stored("i-7", Contact("bob", BOB), 999)
    book.verified("i-7")
    assert book.judge(7, BOB, 999) is Reason.USED and book.invite("i-7").secret is None
    book.add_invite(_record(8))
    book.cancel("i-8")
    assert book.judge(8, BOB, 0) is Reason.EXPIRED
    with pytest.raises(NoSuchInvite):
        book.cancel("i-8")


def test_everything_has_a_bound() -> None:
    book = Book()
    for number in range(1, MAX_OPEN + 1):
        book.add_invite(_record(number))
    with pytest.raises(LimitExceeded):
        book.add_invite(_record(900))
    for number in range(100, 200):
        book.expire(1000)
        book.add_invite(_record(number))
    assert len(book.invites) <= MAX_FINISHED + MAX_OPEN
    for number in range(1, MAX_JOINS + 1):
        book.add_join(_join(number))
    assert book.add_join(replace(_join(1), id="j-x")).id == "j-1"
    with pytest.raises(LimitExceeded):
        book.add_join(_join(900))
    book.add_invite(_record(901, id="i-z"))
    for number in range(MAX_CONTACTS):
        book.stored("i-z", Contact("x" * 64, PeerId.from_ed25519(number.to_bytes(32))), 0)
    with pytest.raises(LimitExceeded):
        book.stored("i-z", Contact("", PeerId.from_ed25519(b"\xff" * 32)), 0)
    assert len(decode_book(book.encode()).contacts) == MAX_CONTACTS


@pytest.mark.parametrize(
    "record",
    [
        _record(secret=None),
        _record(secret=bytes(16)),
        _record(secret=("copper",)),
        _record(stage=Stage.ACCEPTED),
    ],
)
def test_a_file_that_contradicts_itself_is_damaged(record: InviteRecord) -> None:
    book = Book()
    book.invites["i-7"] = record
    with pytest.raises(RemoteProtocolError):
        decode_book(book.encode())
