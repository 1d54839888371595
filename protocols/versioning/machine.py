"""The version handshake as a pure machine.

Theory of operation: six steps. (1) The initiator says hello, (2) the responder says hello, (3) both
compute the choice by the same rule, (4) the initiator sends its choice, signed over the transcript
and both peer ids, (5) the responder sends its own, (6) both are ready. A changed byte, a stripped
feature or a replayed message makes the signed transcripts differ, so it is noticed before anything
else is spoken. The peer with the smaller id is the initiator, so that both know their role without
knowing who dialled.

Randomness (the nonce), time (`now`), the signature and its verification are arguments.
Spec: specs/versioning/versioning-v1.md.
"""

from __future__ import annotations

import enum
import hmac
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from fogp2p.errors import LocalProtocolError, RemoteProtocolError
from fogp2p.framing import FrameDecoder, encode_frame
from fogp2p.ids import PeerId, ProtocolId

from .catalogue import Catalogue
from .config import HANDSHAKE_TIMEOUT_S, MAX_HELLO_BYTES
from .messages import (
    NONCE_BYTES,
    Agreement,
    Choice,
    Hello,
    choose,
    decode_choice,
    decode_hello,
    encode_choice,
    encode_hello,
    signed_bytes,
)

__all__ = [
    "NEED_DATA",
    "PROTOCOL_ID",
    "TRANSITIONS",
    "Agreed",
    "ChoiceReceived",
    "Event",
    "HelloReceived",
    "Machine",
    "State",
    "TimedOut",
]

PROTOCOL_ID: Final = ProtocolId("/fog/version/1.0.0")


class State(enum.Enum):
    """Where a run of the handshake stands."""

    AWAITING_HELLO = "awaiting hello"
    AWAITING_CHOICE = "awaiting choice"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class HelloReceived:
    """Steps 1 and 2."""

    hello: Hello


@dataclass(frozen=True, slots=True)
class ChoiceReceived:
    """Steps 4 and 5; the signature is valid and the choice is ours."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """Step 6."""

    agreement: Agreement
    hello: Hello


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The peer took too long."""


@dataclass(frozen=True, slots=True)
class PeerFailed:
    """The peer broke the rules, or there is nothing in common."""


Event = HelloReceived | Agreed
NEED_DATA: Final = "need data"

# Every legal move. A missing cell is a violation by the peer; FAILED and READY are for ever.
TRANSITIONS: Final[Mapping[State, Mapping[type, State]]] = {
    State.AWAITING_HELLO: {
        HelloReceived: State.AWAITING_CHOICE,
        PeerFailed: State.FAILED,
        TimedOut: State.FAILED,
    },
    State.AWAITING_CHOICE: {
        ChoiceReceived: State.READY,
        PeerFailed: State.FAILED,
        TimedOut: State.FAILED,
    },
    State.READY: {},
    State.FAILED: {},
}


class Machine:
    """One side of one run."""

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        local: PeerId,
        remote: PeerId,
        nonce: bytes,
        now: float,
        sign: Callable[[bytes], bytes],
        verify: Callable[[PeerId, bytes, bytes], bool],
    ) -> None:
        """`nonce`: 32 fresh random bytes. Raises LocalProtocolError when it is not that."""
        if len(nonce) != NONCE_BYTES or local == remote:
            raise LocalProtocolError("nonce of 32 bytes and two peers wanted", code="version-start")
        self.is_initiator: Final = local < remote
        self._local = local
        self._remote = remote
        self._sign = sign
        self._verify = verify
        self._hello = Hello.of(catalogue, nonce)
        self._hello_bytes = encode_hello(self._hello)
        self._remote_hello: Hello | None = None
        self._remote_bytes = b""
        self._agreement: Agreement | None = None
        self._deadline = now + HANDSHAKE_TIMEOUT_S
        self._decoder = FrameDecoder(max_bytes=MAX_HELLO_BYTES)
        self._events: deque[Event] = deque()
        self._failure: RemoteProtocolError | None = None
        self._out = b""
        self.state = State.AWAITING_HELLO
        if self.is_initiator:
            self._say(self._hello_bytes)

    @property
    def remote_hello(self) -> Hello | None:
        """What the peer said first, once it has."""
        return self._remote_hello

    @property
    def agreement(self) -> Agreement | None:
        """What was agreed, once the run is ready."""
        return self._agreement if self.state is State.READY else None

    def data_to_send(self) -> bytes:
        """Take the bytes that have to go to the peer."""
        out, self._out = self._out, b""
        return out

    def next_deadline(self) -> float | None:
        """When `handle_time` has to be called at the latest."""
        return self._deadline if self.state not in (State.READY, State.FAILED) else None

    def handle_time(self, now: float) -> None:
        """Raises RemoteProtocolError("version-timeout") when the peer took too long."""
        deadline = self.next_deadline()
        if deadline is not None and now >= deadline:
            self._fail(
                RemoteProtocolError("peer did not finish the handshake", code="version-timeout"),
                TimedOut,
            )

    def receive_data(self, data: bytes) -> None:
        """Add bytes from the peer; then ask `next_event`."""
        self._decoder.receive_data(data)

    def receive_end(self) -> None:
        """The peer ended the stream. Raises RemoteProtocolError("version-cut") before the end."""
        if self.state not in (State.READY, State.FAILED):
            self._fail(
                RemoteProtocolError("peer ended the handshake early", code="version-cut"),
                PeerFailed,
            )

    def next_event(self) -> Event | str:
        """The next event, or NEED_DATA.

        Raises RemoteProtocolError, and the same for ever: `varint`, `frame-size`, `cbor-...`,
        "version-hello", "version-common" (no common version of the handshake),
        "version-downgrade" (another transcript or choice was signed), "version-order".
        """
        if self._failure is not None:
            raise self._failure
        try:
            while not self._events:
                frame = self._decoder.next_frame()
                if frame is None:
                    return NEED_DATA
                self._take(frame)
        except RemoteProtocolError as failure:
            self._fail(failure, PeerFailed)
        return self._events.popleft()

    def _take(self, frame: bytes) -> None:
        match self.state:
            case State.AWAITING_HELLO:
                self._take_hello(frame)
            case State.AWAITING_CHOICE:
                self._take_choice(frame)
            case State.READY | State.FAILED:
                raise RemoteProtocolError("message after the handshake", code="version-order")

    def _take_hello(self, frame: bytes) -> None:
        hello = decode_hello(frame)
        if hmac.compare_digest(hello.nonce, self._hello.nonce):
            raise RemoteProtocolError("peer repeats our own hello", code="version-hello")
        self._remote_hello, self._remote_bytes = hello, frame
        agreement = choose(self._hello, hello)
        if not self.is_initiator:
            # Said even when nothing is common, so that the other side learns why.
            self._say(self._hello_bytes)
        if agreement is None:
            raise RemoteProtocolError(
                f"no common version of the handshake: {_listed(self._hello)} here, "
                f"{_listed(hello)} there",
                code="version-common",
                hint="update the older of the two programs",
            )
        self._agreement = agreement
        self._move(HelloReceived)
        self._events.append(HelloReceived(hello))
        if self.is_initiator:
            self._say_choice()

    def _take_choice(self, frame: bytes) -> None:
        choice = decode_choice(frame)
        assert self._agreement is not None and self._remote_hello is not None
        theirs = "responder" if self.is_initiator else "initiator"
        expected = self._signed(theirs)
        same = choice.agreement == self._agreement
        if not same or not self._verify(self._remote, expected, choice.signature):
            raise RemoteProtocolError(
                "the peer agreed to something else: a message was altered on its way",
                code="version-downgrade",
                close_hint="disconnect",
            )
        self._move(ChoiceReceived)
        if not self.is_initiator:
            self._say_choice()
        self._events.append(Agreed(self._agreement, self._remote_hello))

    def _signed(self, role: str) -> bytes:
        assert self._agreement is not None
        ours, theirs = self._hello_bytes, self._remote_bytes
        first, second = (ours, theirs) if self.is_initiator else (theirs, ours)
        peers = (self._local, self._remote) if self.is_initiator else (self._remote, self._local)
        return signed_bytes(first, second, self._agreement, *peers, role)

    def _say_choice(self) -> None:
        assert self._agreement is not None
        signature = self._sign(self._signed("initiator" if self.is_initiator else "responder"))
        self._say(encode_choice(Choice(self._agreement, signature)))

    def _say(self, payload: bytes) -> None:
        self._out += encode_frame(payload, max_bytes=MAX_HELLO_BYTES)

    def _move(self, event: type) -> None:
        self.state = TRANSITIONS[self.state][event]

    def _fail(self, failure: RemoteProtocolError, event: type) -> None:
        if self.state is not State.READY:
            self._move(event)
        self._failure = failure
        raise failure


def _listed(hello: Hello) -> str:
    return ", ".join(str(version) for version in hello.handshake)
