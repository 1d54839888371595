"""A pairing as two pure machines, one for each side.

Theory of operation. The joiner says which nameplate it means; the inviter offers or refuses. Then
SPAKE2, bound to both peer ids: the joiner moves first and *proves its key first*. An inviter that
is told a wrong proof has learned of a guess, counts it, and has given nothing away; a joiner that
leaves before its proof has learned nothing either, so leaving costs no guess. Only behind a right
proof does the inviter show its own proof and its contact. Then both store, the joiner last.

Where a decision or a write to disk belongs between two messages, the machine stops: it returns an
event, and goes on when it is told to (`offer`, `pair`, `begin`, `refuse`, `accept`, ...).
Randomness and passwords are arguments; time is the handler's, who drops a machine that takes too
long. Spec: specs/invite/invite-v1.md sections 5-7.
"""

from __future__ import annotations

import enum
import hmac
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fogp2p.errors import LocalProtocolError, RemoteProtocolError
from fogp2p.framing import FrameDecoder, encode_frame
from fogp2p.ids import PeerId, ProtocolId

from .config import MAX_MESSAGE_BYTES
from .messages import (
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
    check_tag,
    decode_contact,
    decode_message,
    encode_contact,
    encode_message,
    transcript_of,
)
from .pake import Exchange

__all__ = [
    "INVITER",
    "JOINER",
    "NEED_DATA",
    "PROTOCOL_ID",
    "Asked",
    "Event",
    "Finished",
    "Inviter",
    "Joiner",
    "Kept",
    "Offered",
    "Proved",
    "Refused",
    "Shown",
    "State",
    "WrongGuess",
]

PROTOCOL_ID: Final = ProtocolId("/fog/invite/1.0.0")
NEED_DATA: Final = "need data"


class State(enum.Enum):
    """Where a pairing stands: waiting for the peer ("awaiting"), for this program, or over."""

    HELLO = "awaiting hello"
    OFFER = "awaiting offer"
    PAKE = "awaiting pake"
    CONFIRMATION = "awaiting confirmation"
    CARD = "awaiting card"
    STORED = "awaiting stored"
    OFFERED = "offered"
    ASKED = "asked"
    PROVED = "proved"
    GUESSED = "guessed wrong"
    SHOWN = "shown"
    KEPT = "kept"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Asked:
    """To the inviter: a hello. Answer with `offer` or `refuse`."""

    hello: Hello


@dataclass(frozen=True, slots=True)
class Proved:
    """To the inviter: the joiner has the code. Write that down, then `accept` or `refuse`."""


@dataclass(frozen=True, slots=True)
class WrongGuess:
    """To the inviter: the joiner has another code. Write that down, then `refuse`."""


@dataclass(frozen=True, slots=True)
class Offered:
    """To the joiner: what the inviter has. Go on with `begin`; the end if it only asked."""

    offer: Offer


@dataclass(frozen=True, slots=True)
class Refused:
    """To the joiner: the inviter does not want to. The end."""

    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Shown:
    """The other side is proven and this is its contact: store it, then `present` or `stored`."""

    contact: Contact


@dataclass(frozen=True, slots=True)
class Kept:
    """To the joiner: the inviter has stored our contact. Store that, then `finish`."""


@dataclass(frozen=True, slots=True)
class Finished:
    """To the inviter: the joiner has stored ours. The end."""


Event = Asked | Proved | WrongGuess | Offered | Refused | Shown | Kept | Finished

# Every legal move of each side: which message may come in which state, and where it leads to. Any
# other message is a violation. States that wait for this program take no message at all.
_Table = Mapping[State, Mapping[type[Message], State]]
INVITER: Final[_Table] = {
    State.HELLO: {Hello: State.ASKED},
    State.PAKE: {Pake: State.CONFIRMATION},
    State.CONFIRMATION: {Confirmation: State.PROVED},
    State.CARD: {Card: State.SHOWN},
    State.STORED: {Stored: State.DONE},
}
JOINER: Final[_Table] = {
    State.OFFER: {Offer: State.OFFERED, Refusal: State.REFUSED},
    State.PAKE: {Pake: State.CONFIRMATION, Refusal: State.REFUSED},
    State.CONFIRMATION: {Confirmation: State.CARD, Refusal: State.REFUSED},
    State.CARD: {Card: State.SHOWN},
    State.STORED: {Stored: State.KEPT},
}
_WAITS_FOR_US: Final = frozenset(
    {State.OFFERED, State.ASKED, State.PROVED, State.GUESSED, State.SHOWN, State.KEPT}
)
_OVER: Final = frozenset({State.DONE, State.REFUSED, State.FAILED})


class _Machine(ABC):
    """Frames in, frames out, and the table. What a message means is the subclass'."""

    table: _Table
    role: str
    other: str
    heavy: frozenset[State]

    def __init__(self, first: State, *, local: PeerId, remote: PeerId, entropy: bytes) -> None:
        self.state = first
        self._local = local
        self._remote = remote
        self._entropy = entropy
        self._decoder = FrameDecoder(max_bytes=MAX_MESSAGE_BYTES)
        self._frames: list[bytes] = []
        self._keys: Keys | None = None
        self._exchange: Exchange | None = None
        self._failure: RemoteProtocolError | None = None
        self._out = b""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be said."""
        return self.state in _OVER

    @property
    def is_heavy(self) -> bool:
        """Whether the next message costs milliseconds: then call `next_event` in a thread."""
        return self.state in self.heavy

    def data_to_send(self) -> bytes:
        """Take the bytes that have to go to the peer."""
        out, self._out = self._out, b""
        return out

    def receive_data(self, data: bytes) -> None:
        """Add bytes from the peer; then ask `next_event`."""
        self._decoder.receive_data(data)

    def receive_end(self) -> None:
        """The peer ended the stream. Raises RemoteProtocolError("invite-cut") before the end."""
        if not self.is_over:
            self._fail(RemoteProtocolError("the peer left in the middle", code="invite-cut"))

    def next_event(self) -> Event | str:
        """The next event, or NEED_DATA.

        Raises RemoteProtocolError, and the same for ever: `varint`, `frame-size`, `cbor-...`,
        "address", "peer-id", "invite-order", "invite-pake", "invite-tag", "invite-contact".
        Raises LocalProtocolError("invite-turn") while an answer of this program is due.
        """
        if self._failure is not None:
            raise self._failure
        if self.state in _WAITS_FOR_US:
            raise LocalProtocolError("it is our turn", code="invite-turn")
        try:
            while (frame := self._decoder.next_frame()) is not None:
                if (event := self._take(frame)) is not None:
                    return event
        except RemoteProtocolError as failure:
            self._fail(failure)
        return NEED_DATA

    def _take(self, frame: bytes) -> Event | None:
        message = decode_message(frame)
        then = self.table.get(self.state, {}).get(type(message))
        if then is None:
            raise RemoteProtocolError(
                f"{type(message).__name__.lower()} does not belong here", code="invite-order"
            )
        self._note(message, frame)
        event = self._handle(message)
        # Handling may have led elsewhere (a refusal, an end).
        if self.state in self.table:
            self.state = then
        return event

    @abstractmethod
    def _handle(self, message: Message) -> Event | None:
        """Take a message that may come now."""

    def _turn(self, state: State) -> None:
        if self.state is not state:
            raise LocalProtocolError(f"not in the state {self.state.value}", code="invite-turn")

    def _say(self, message: Message) -> None:
        payload = encode_message(message)
        self._note(message, payload)
        self._out += encode_frame(payload, max_bytes=MAX_MESSAGE_BYTES)

    def _note(self, message: Message, payload: bytes) -> None:
        """The transcript: hello, offer and both messages of SPAKE2."""
        if isinstance(message, (Hello, Offer, Pake)):
            self._frames.append(payload)

    def _start(self, password: bytes) -> Exchange:
        is_joiner = self.role == "joiner"
        joiner, inviter = (self._local, self._remote) if is_joiner else (self._remote, self._local)
        return Exchange(
            password, joiner=joiner, inviter=inviter, is_joiner=is_joiner, entropy=self._entropy
        )

    def _proven(self) -> Keys:
        assert self._keys is not None, "the table leads here only behind the exchange"
        return self._keys

    def _say_contact(self, contact: Contact) -> None:
        body = encode_contact(contact)
        self._say(Card(body, self._proven().card(self.role, body)))

    def _read_contact(self, card: Card) -> Contact:
        check_tag(self._proven().card(self.other, card.contact), card.tag, "card")
        contact = decode_contact(card.contact)
        if contact.peer != self._remote:
            raise RemoteProtocolError("a card of somebody else", code="invite-contact")
        return contact

    def _fail(self, failure: RemoteProtocolError) -> None:
        self.state = State.FAILED
        self._failure = failure
        raise failure


class Inviter(_Machine):
    """The side that made the code, for one stream."""

    table = INVITER
    role, other = "inviter", "joiner"
    heavy = frozenset({State.PAKE})

    def __init__(self, *, local: PeerId, remote: PeerId, entropy: bytes) -> None:
        """`entropy`: 64 fresh random bytes."""
        super().__init__(State.HELLO, local=local, remote=remote, entropy=entropy)
        self._password = b""

    def offer(self, invites: tuple[tuple[int, int], ...]) -> None:
        """Answer a hello that only asks. Raises LocalProtocolError out of turn."""
        self._turn(State.ASKED)
        self._say(Offer(invites))
        self.state = State.DONE

    def pair(self, nameplate: int, seconds_left: int, password: bytes) -> None:
        """Answer a hello that wants to pair. Raises LocalProtocolError out of turn."""
        self._turn(State.ASKED)
        self._password = password
        self._say(Offer(((nameplate, seconds_left),)))
        self.state = State.PAKE

    def refuse(self, reason: Reason, guesses_left: int = 0) -> None:
        """Answer a hello or a proof. Raises LocalProtocolError out of turn."""
        if self.state not in (State.ASKED, State.PROVED, State.GUESSED):
            raise LocalProtocolError("nothing to refuse", code="invite-turn")
        self._say(Refusal(reason, guesses_left))
        self.state = State.REFUSED

    def accept(self, contact: Contact) -> None:
        """The proof was right and is written down: show ours, and our contact."""
        self._turn(State.PROVED)
        self._say(Confirmation(self._proven().confirmation(self.role)))
        self._say_contact(contact)
        self.state = State.CARD

    def stored(self) -> None:
        """The joiner's contact is written down."""
        self._turn(State.SHOWN)
        self._say(Stored(self._proven().stored(self.role)))
        self.state = State.STORED

    def _handle(self, message: Message) -> Event | None:
        match message:
            case Hello():
                return Asked(message)
            case Pake():
                exchange = self._start(self._password)
                self._password = b""
                answer = exchange.start()
                key = exchange.finish(message.body)
                self._say(Pake(answer))
                self._keys = Keys(key, transcript_of(self._frames))
                return None
            case Confirmation():
                expected = self._proven().confirmation(self.other)
                if hmac.compare_digest(expected, message.tag):
                    return Proved()
                self.state = State.GUESSED
                return WrongGuess()
            case Card():
                return Shown(self._read_contact(message))
            case Stored():
                check_tag(self._proven().stored(self.other), message.tag, "receipt")
                return Finished()
            case _:
                raise AssertionError("the table has no other")


class Joiner(_Machine):
    """The side that was given the code, for one stream."""

    table = JOINER
    role, other = "joiner", "inviter"
    heavy = frozenset({State.PAKE})

    def __init__(
        self,
        *,
        local: PeerId,
        remote: PeerId,
        entropy: bytes,
        nameplate: int,
        password: bytes | None,
    ) -> None:
        """`entropy`: 64 fresh random bytes. Without a password it only asks what is offered, with
        nameplate 0 for all of it."""
        super().__init__(State.OFFER, local=local, remote=remote, entropy=entropy)
        self._nameplate = nameplate
        self._password = password
        self._say(Hello(nameplate, Intent.ASK if password is None else Intent.PAIR))

    def begin(self) -> None:
        """Start SPAKE2, once the attempt is written down. Takes 3 ms: call it in a thread."""
        self._turn(State.OFFERED)
        assert self._password is not None, "one that only asks is done by now"
        self._exchange = self._start(self._password)
        self._password = None
        self._say(Pake(self._exchange.start()))
        self.state = State.PAKE

    def present(self, contact: Contact) -> None:
        """The inviter's contact is written down as pending: show ours."""
        self._turn(State.SHOWN)
        self._say_contact(contact)
        self.state = State.STORED

    def finish(self) -> None:
        """The contact is written down for good: tell the inviter."""
        self._turn(State.KEPT)
        self._say(Stored(self._proven().stored(self.role)))
        self.state = State.DONE

    def _handle(self, message: Message) -> Event | None:
        match message:
            case Refusal():
                return Refused(message)
            case Offer():
                return self._offered(message)
            case Pake():
                assert self._exchange is not None
                key = self._exchange.finish(message.body)
                self._exchange = None
                self._keys = Keys(key, transcript_of(self._frames))
                self._say(Confirmation(self._keys.confirmation(self.role)))
                return None
            case Confirmation():
                expected = self._proven().confirmation(self.other)
                check_tag(expected, message.tag, "confirmation")
                return None
            case Card():
                return Shown(self._read_contact(message))
            case Stored():
                check_tag(self._proven().stored(self.other), message.tag, "receipt")
                return Kept()
            case _:
                raise AssertionError("the table has no other")

    def _offered(self, offer: Offer) -> Event:
        nameplates = [nameplate for nameplate, _ in offer.invites]
        if self._nameplate and nameplates != [self._nameplate]:
            raise RemoteProtocolError("another invite was asked for", code="invite-order")
        if self._password is None:
            self.state = State.DONE
        return Offered(offer)
