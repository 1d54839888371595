"""The handshake: a value that turns messages into keys (Noise section 5.3).

Theory of operation: the pattern's table of tokens is the transition table. Message k of the table
is written by the initiator when k is even and by the responder when it is odd. Each token either
moves a public key (`e`, `s`) or mixes a shared secret into the symmetric state (`ee`, `es`, `se`,
`ss`, first letter: the initiator's key). A call out of turn changes nothing and raises
LocalProtocolError; a bad message from the peer kills the handshake for good.
"""

from __future__ import annotations

from typing import Final

from fogp2p.errors import LocalProtocolError, RemoteProtocolError

from .config import MAX_MESSAGE_BYTES, REPLAY_WINDOW
from .patterns import Pattern, Token
from .primitives import (
    KEY_BYTES,
    TAG_BYTES,
    Cipher,
    KeyPair,
    SymmetricState,
    check_public,
    check_size,
)
from .transport import OrderedTransport, UnorderedTransport

__all__ = ["Handshake"]


class Handshake:
    """One side of one handshake."""

    def __init__(
        self,
        pattern: Pattern,
        *,
        initiator: bool,
        ephemeral: KeyPair,
        static: KeyPair | None = None,
        remote_static: bytes | None = None,
        prologue: bytes = b"",
    ) -> None:
        """Begin.

        `ephemeral` is a fresh key pair, used for this handshake only. `static` and
        `remote_static` (32 bytes) are wanted exactly where the pattern says so; a key pair that
        the pattern does not use is refused, as is a `remote_static` that arrives in a message.
        `prologue` is data both sides must agree on. Raises LocalProtocolError.
        """
        _check_key("own static key", static, pattern.needs_static(initiator))
        _check_key("remote static key", remote_static, pattern.knows_remote(initiator))
        if remote_static is not None:
            check_public(remote_static)
        self.pattern: Final = pattern
        self.is_initiator: Final = initiator
        self._ephemeral = ephemeral
        self._static = static
        self._remote_static = remote_static
        self._remote_ephemeral: bytes | None = None
        self._step = 0
        self._failure: RemoteProtocolError | None = None
        self._split = False
        self._state = SymmetricState(pattern.protocol_name, prologue)
        for known, first in (
            (pattern.knows_remote(False), True),
            (pattern.knows_remote(True), False),
        ):
            if known:
                self._state.mix_hash(self._public_static(of_initiator=first))

    @property
    def is_finished(self) -> bool:
        """Whether all messages have been exchanged."""
        return self._step == len(self.pattern.messages)

    @property
    def is_my_turn(self) -> bool:
        """Whether `write_message` comes next."""
        return not self.is_finished and (self._step % 2 == 0) == self.is_initiator

    @property
    def remote_static(self) -> bytes | None:
        """The peer's static key. Proven only when the handshake is finished."""
        return self._remote_static

    @property
    def handshake_hash(self) -> bytes:
        """The 32-byte channel binding, equal on both sides (Noise section 11.2)."""
        if not self.is_finished:
            raise LocalProtocolError("the handshake is not finished", code="noise-order")
        return self._state.hash

    def write_message(self, payload: bytes = b"") -> bytes:
        """Return the next handshake message, carrying `payload`.

        How well the payload is protected depends on pattern and step (Noise section 7.7). Raises
        LocalProtocolError out of turn or when the message would exceed 65,535 bytes, and
        RemoteProtocolError("noise-key") when a key received earlier turns out unusable.
        """
        self._check_turn(mine=True)
        tokens = self.pattern.messages[self._step]
        if self._length(tokens) + len(payload) > MAX_MESSAGE_BYTES:
            raise LocalProtocolError("Noise payload too long", code="noise-size")
        out = bytearray()
        try:
            for token in tokens:
                out += self._write_token(token)
        except RemoteProtocolError as failure:
            self._failure = failure
            raise
        out += self._state.encrypt_and_hash(payload)
        self._step += 1
        return bytes(out)

    def read_message(self, message: bytes) -> bytes:
        """Take the peer's next handshake message and return its payload.

        Raises RemoteProtocolError: "noise-size", "noise-key" or "noise-auth"; the handshake is then
        dead and raises the same error for ever. Raises LocalProtocolError out of turn.
        """
        self._check_turn(mine=False)
        try:
            payload = self._read(message)
        except RemoteProtocolError as failure:
            self._failure = failure
            raise
        self._step += 1
        return payload

    def ordered_transport(self) -> OrderedTransport:
        """End the handshake: messages arrive in order, each exactly once."""
        return OrderedTransport(*self._finish())

    def unordered_transport(
        self, *, window: int = REPLAY_WINDOW, max_nonce: int = 2**64 - 2
    ) -> UnorderedTransport:
        """End the handshake: messages carry their nonce and may be lost, late or repeated."""
        return UnorderedTransport(*self._finish(), window=window, max_nonce=max_nonce)

    def _finish(self) -> tuple[Cipher | None, Cipher | None]:
        """The ciphers for sending and receiving; None for the direction a one-way pattern lacks."""
        if not self.is_finished or self._split:
            raise LocalProtocolError("no finished handshake, or already used", code="noise-order")
        self._split = True  # the same keys and nonces must never be used by two transports
        forth, back = self._state.split()
        answer = None if self.pattern.one_way else back
        return (forth, answer) if self.is_initiator else (answer, forth)

    def _check_turn(self, *, mine: bool) -> None:
        if self._failure is not None:
            raise self._failure
        if self.is_finished or self.is_my_turn is not mine:
            raise LocalProtocolError("not this side's turn to do that", code="noise-order")

    def _read(self, message: bytes) -> bytes:
        check_size(message)
        tokens = self.pattern.messages[self._step]
        if len(message) < self._length(tokens):
            raise RemoteProtocolError("Noise handshake message cut short", code="noise-size")
        at = 0
        for token in tokens:
            at = self._read_token(token, message, at)
        return self._state.decrypt_and_hash(message[at:])

    def _length(self, tokens: tuple[Token, ...]) -> int:
        """Bytes of a message with these tokens and an empty payload."""
        length, keyed = 0, self._state.has_key
        for token in tokens:
            match token:
                case "e":
                    length += KEY_BYTES
                case "s":
                    length += KEY_BYTES + (TAG_BYTES if keyed else 0)
                case _:
                    keyed = True
        return length + (TAG_BYTES if keyed else 0)

    def _write_token(self, token: Token) -> bytes:
        match token:
            case "e":
                self._state.mix_hash(self._ephemeral.public)
                return self._ephemeral.public
            case "s":
                assert self._static is not None  # checked against the pattern at the start
                return self._state.encrypt_and_hash(self._static.public)
            case _:
                self._mix_secret(token)
                return b""

    def _read_token(self, token: Token, message: bytes, at: int) -> int:
        match token:
            case "e":
                self._remote_ephemeral = message[at : at + KEY_BYTES]
                self._state.mix_hash(self._remote_ephemeral)
                return at + KEY_BYTES
            case "s":
                end = at + KEY_BYTES + (TAG_BYTES if self._state.has_key else 0)
                self._remote_static = self._state.decrypt_and_hash(message[at:end])
                return end
            case _:
                self._mix_secret(token)
                return at

    def _mix_secret(self, token: Token) -> None:
        first, second = token[0], token[1]
        mine, theirs = (first, second) if self.is_initiator else (second, first)
        pair = self._ephemeral if mine == "e" else self._static
        remote = self._remote_ephemeral if theirs == "e" else self._remote_static
        assert pair is not None and remote is not None  # every pattern sends keys before using them
        self._state.mix_key(pair.exchange(remote))

    def _public_static(self, *, of_initiator: bool) -> bytes:
        if of_initiator is self.is_initiator:
            assert self._static is not None
            return self._static.public
        assert self._remote_static is not None
        return self._remote_static

    def __repr__(self) -> str:
        role = "initiator" if self.is_initiator else "responder"
        return f"Handshake({self.pattern.name}, {role}, step {self._step})"


def _check_key(what: str, key: object, wanted: bool) -> None:
    if (key is not None) != wanted:
        raise LocalProtocolError(
            f"this pattern wants {'a' if wanted else 'no'} {what} on this side", code="noise-key"
        )
