"""Messages after the handshake (Noise sections 5.1 and 11.3-11.4)."""

from __future__ import annotations

from typing import Final

from fogp2p.errors import LocalProtocolError, RemoteProtocolError

from .config import MAX_MESSAGE_BYTES, MAX_REPLAY_WINDOW, REPLAY_WINDOW
from .primitives import MAX_NONCE, TAG_BYTES, Cipher, check_size

__all__ = ["OrderedTransport", "ReplayWindow", "UnorderedTransport"]

MAX_PLAINTEXT_BYTES: Final = MAX_MESSAGE_BYTES - TAG_BYTES


class OrderedTransport:
    """For a reliable byte stream: each direction counts its own messages."""

    def __init__(self, sending: Cipher | None, receiving: Cipher | None) -> None:
        self._sending = sending
        self._receiving = receiving
        self._sent = 0
        self._received = 0
        self._failure: RemoteProtocolError | None = None

    def encrypt(self, plaintext: bytes, ad: bytes = b"") -> bytes:
        """Encrypt the next message, at most 65,519 bytes.

        Raises LocalProtocolError: "noise-size", "noise-direction" for the receiving side of a
        one-way pattern, "noise-nonce" after 2**64 - 1 messages.
        """
        cipher = _direction(self._sending)
        _check_plaintext(plaintext)
        if self._sent >= MAX_NONCE:
            raise LocalProtocolError("nonces used up: make a new session", code="noise-nonce")
        sealed = cipher.encrypt(self._sent, ad, plaintext)
        self._sent += 1
        return sealed

    def decrypt(self, ciphertext: bytes, ad: bytes = b"") -> bytes:
        """Decrypt the peer's next message.

        Raises RemoteProtocolError "noise-size", "noise-auth" or "noise-nonce"; the session is then
        dead and raises the same for ever, because nothing after a lost or altered message counts.
        """
        if self._failure is not None:
            raise self._failure
        cipher = _direction(self._receiving)
        try:
            check_size(ciphertext)
            _check_nonce(self._received, MAX_NONCE - 1)
            plaintext = cipher.decrypt(self._received, ad, ciphertext)
        except RemoteProtocolError as failure:
            self._failure = failure
            raise
        self._received += 1
        return plaintext

    def rekey_sending(self) -> None:
        """Go on under the next key; the peer must do `rekey_receiving` at the same message."""
        self._sending = _direction(self._sending).rekeyed()

    def rekey_receiving(self) -> None:
        """The counterpart of the peer's `rekey_sending`. Counters go on (Noise section 11.3)."""
        self._receiving = _direction(self._receiving).rekeyed()

    def __repr__(self) -> str:
        return f"OrderedTransport(sent={self._sent}, received={self._received})"


class UnorderedTransport:
    """For datagrams: each message travels with its nonce, and none is accepted twice."""

    def __init__(
        self,
        sending: Cipher | None,
        receiving: Cipher | None,
        *,
        window: int = REPLAY_WINDOW,
        max_nonce: int = MAX_NONCE - 1,
    ) -> None:
        """`window`: 1 to 65,536 messages. `max_nonce`: the largest nonce either side may use."""
        if not 0 <= max_nonce < MAX_NONCE:
            raise LocalProtocolError("nonces end at 2**64 - 2", code="noise-nonce")
        self._sending = sending
        self._receiving = receiving
        self._max_nonce = max_nonce
        self._next = 0
        self._window = ReplayWindow(window)

    def encrypt(self, plaintext: bytes, ad: bytes = b"") -> tuple[int, bytes]:
        """Return (nonce, ciphertext). Raises LocalProtocolError as `OrderedTransport.encrypt`."""
        cipher = _direction(self._sending)
        _check_plaintext(plaintext)
        if self._next > self._max_nonce:
            raise LocalProtocolError("nonces used up: make a new session", code="noise-nonce")
        nonce, self._next = self._next, self._next + 1
        return nonce, cipher.encrypt(nonce, ad, plaintext)

    def decrypt(self, nonce: int, ciphertext: bytes, ad: bytes = b"") -> bytes:
        """Decrypt one message. An error drops that message only; the session lives on.

        Raises RemoteProtocolError: "noise-nonce" out of range, "noise-replay" already seen or
        older than the window, "noise-size", "noise-auth". Only an authentic message moves the
        window, so nobody can push it forward without the key.
        """
        cipher = _direction(self._receiving)
        _check_nonce(nonce, self._max_nonce)
        check_size(ciphertext)
        if not self._window.is_fresh(nonce):
            raise RemoteProtocolError("Noise message seen before or too old", code="noise-replay")
        plaintext = cipher.decrypt(nonce, ad, ciphertext)
        self._window.mark(nonce)
        return plaintext

    def rekey_sending(self) -> None:
        """Go on under the next key. Tell the peer: messages of the old key no longer decrypt."""
        self._sending = _direction(self._sending).rekeyed()

    def rekey_receiving(self) -> None:
        """The counterpart of the peer's `rekey_sending`."""
        self._receiving = _direction(self._receiving).rekeyed()

    def __repr__(self) -> str:
        return f"UnorderedTransport(next={self._next}, {self._window!r})"


class ReplayWindow:
    """Remembers which of the latest numbers were seen; anything older counts as seen.

    The numbers are exact integers, so there is no edge at 2**32 or 2**64 (RFC 6479's idea).
    """

    __slots__ = ("_highest", "_seen", "_size")

    def __init__(self, size: int = REPLAY_WINDOW) -> None:
        """`size` is 1 to 65,536. Raises LocalProtocolError."""
        if not 1 <= size <= MAX_REPLAY_WINDOW:
            raise LocalProtocolError("replay window of 1 to 65,536 wanted", code="noise-window")
        self._size = size
        self._highest = -1
        self._seen = 0  # bit k: the number `_highest - k` was seen

    def is_fresh(self, number: int) -> bool:
        """Whether `number` >= 0 is neither seen nor older than the window. Changes nothing."""
        age = self._highest - number
        return age < 0 or (age < self._size and not self._seen >> age & 1)

    def mark(self, number: int) -> None:
        """Note `number` as seen. Call it only for what `is_fresh` and authentic."""
        age = self._highest - number
        if age >= 0:
            self._seen |= 1 << age
            return
        shift = min(-age, self._size)
        self._seen = (self._seen << shift | 1) & ((1 << self._size) - 1)
        self._highest = number

    def __repr__(self) -> str:
        return f"ReplayWindow(size={self._size}, highest={self._highest})"


def _direction(cipher: Cipher | None) -> Cipher:
    if cipher is None:
        raise LocalProtocolError(
            "a one-way pattern carries messages from the initiator only", code="noise-direction"
        )
    return cipher


def _check_plaintext(plaintext: bytes) -> None:
    if len(plaintext) > MAX_PLAINTEXT_BYTES:
        raise LocalProtocolError("Noise plaintext over 65,519 bytes", code="noise-size")


def _check_nonce(nonce: int, largest: int) -> None:
    if not 0 <= nonce <= largest:
        raise RemoteProtocolError("Noise nonce out of range", code="noise-nonce")
