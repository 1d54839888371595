"""The Noise security protocol of libp2p: handshake, identity proof, and a channel of messages.

The handshake itself (XX, 25519, ChaChaPoly, SHA256) is the `noiseprotocol` library's, which libp2p
uses too. The channel after it works on many messages at a time, because that is where the time of
a busy connection goes. Spec: libp2p/specs noise/README.md.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from google.protobuf.message import DecodeError
from noise.connection import Keypair, NoiseConnection
from noise.exceptions import NoiseHandshakeError, NoiseInvalidMessage, NoiseValueError

from fogp2p.errors import RemoteProtocolError
from fogp2p.identity import Identity, verify
from fogp2p.ids import PeerId

from .generated import NoiseHandshakePayload
from .wire_config import NOISE_MAX_CIPHERTEXT, NOISE_MAX_HANDSHAKE, NOISE_MAX_PLAINTEXT

__all__ = ["Channel", "NoiseHandshake"]

_NAME: Final = b"Noise_XX_25519_ChaChaPoly_SHA256"
_SIGNED_PREFIX: Final = b"noise-libp2p-static-key:"
_LENGTH: Final = 2
_MAX_NONCE: Final = 2**64 - 1


class NoiseHandshake:
    """One side of the handshake. Bytes in, bytes out; `channel` when it is finished."""

    def __init__(self, identity: Identity, *, initiator: bool, expected: PeerId | None) -> None:
        self._identity = identity
        self._initiator = initiator
        self._expected = expected
        self._noise = NoiseConnection.from_name(_NAME)
        self._noise.set_keypair_from_private_bytes(Keypair.STATIC, identity.noise_private_key())
        if initiator:
            self._noise.set_as_initiator()
        else:
            self._noise.set_as_responder()
        self._noise.start_handshake()
        # The library drops its reference when the handshake ends; the peer's key is still needed.
        self._state = self._noise.noise_protocol.handshake_state
        self._step = 0
        self._buffer = b""
        self.remote_peer: PeerId | None = None
        """Who is at the other end: proven once `is_finished`."""

    @property
    def is_finished(self) -> bool:
        """Whether all three messages have passed."""
        return self._step == 3

    def start(self) -> bytes:
        """The initiator's first message; nothing for the responder."""
        return self._write(b"") if self._initiator else b""

    def receive_data(self, data: bytes) -> bytes:
        """Take bytes; return what to send now.

        Raises RemoteProtocolError: "noise-size", "noise-handshake" (malformed or altered),
        "noise-identity" (no valid proof of a supported key), "noise-peer" (not who was dialled).
        """
        self._buffer += data
        answer = b""
        while not self.is_finished and (message := self._next_message()) is not None:
            payload = self._read(message)
            if self._step == 2 and self._initiator:
                self._check(payload)
                answer += self._write(self._proof())
            elif self._step == 1:
                answer += self._write(self._proof())
            elif self._step == 3:
                self._check(payload)
        return answer

    def channel(self) -> Channel:
        """The secured channel, with the bytes that came behind the handshake."""
        protocol = self._noise.noise_protocol
        return Channel(
            protocol.cipher_state_encrypt.k, protocol.cipher_state_decrypt.k, self._buffer
        )

    def _next_message(self) -> bytes | None:
        if len(self._buffer) < _LENGTH:
            return None
        end = _LENGTH + int.from_bytes(self._buffer[:_LENGTH])
        if end > NOISE_MAX_HANDSHAKE:
            raise _violation("size", "handshake message too long")
        if len(self._buffer) < end:
            return None
        message, self._buffer = self._buffer[_LENGTH:end], self._buffer[end:]
        return message

    def _write(self, payload: bytes) -> bytes:
        try:
            message = bytes(self._noise.write_message(payload))
        except ValueError as exc:  # a shared secret of zero: the peer's key has small order
            raise _violation("handshake", "unusable key of the peer") from exc
        self._step += 1
        return len(message).to_bytes(_LENGTH) + message

    def _read(self, message: bytes) -> bytes:
        try:
            payload = bytes(self._noise.read_message(message))
        except (
            InvalidTag,
            NoiseHandshakeError,
            NoiseInvalidMessage,
            NoiseValueError,
            ValueError,
            IndexError,
        ) as exc:
            raise _violation("handshake", "handshake message does not verify") from exc
        self._step += 1
        return payload

    def _proof(self) -> bytes:
        signature = self._identity.sign(_SIGNED_PREFIX + self._identity.noise_public)
        message = NoiseHandshakePayload(
            identity_key=self._identity.peer_id.key_protobuf or b"", identity_sig=signature
        )
        return bytes(message.SerializeToString())

    def _check(self, payload: bytes) -> None:
        """The peer's key signed the static key of this very handshake."""
        try:
            message = NoiseHandshakePayload.FromString(payload)
        except DecodeError as exc:
            raise _violation("identity", "no identity in the handshake") from exc
        peer = PeerId.from_key_protobuf(message.identity_key)
        static = bytes(self._state.rs.public_bytes)
        if not verify(peer, _SIGNED_PREFIX + static, message.identity_sig):
            raise _violation("identity", "identity without a valid signature")
        if self._expected is not None and peer != self._expected:
            raise _violation("peer", f"{peer.short} answers instead of {self._expected.short}")
        self.remote_peer = peer

    def __repr__(self) -> str:
        return f"NoiseHandshake(step {self._step})"


class Channel:
    """Encrypts and decrypts the messages after the handshake, several at a time."""

    __slots__ = ("_buffer", "_received", "_receiving", "_sending", "_sent")

    def __init__(self, send_key: bytes, receive_key: bytes, early: bytes) -> None:
        self._sending = ChaCha20Poly1305(send_key)
        self._receiving = ChaCha20Poly1305(receive_key)
        self._sent = 0
        self._received = 0
        self._buffer = early

    def encrypt(self, data: bytes) -> bytes:
        """Seal `data` in as few messages as possible."""
        out: list[bytes] = []
        for at in range(0, len(data), NOISE_MAX_PLAINTEXT):
            nonce = bytes(4) + self._sent.to_bytes(8, "little")
            self._sent += 1
            sealed = self._sending.encrypt(nonce, data[at : at + NOISE_MAX_PLAINTEXT], None)
            out.append(len(sealed).to_bytes(_LENGTH))
            out.append(sealed)
        return b"".join(out)

    def decrypt(self, data: bytes) -> bytes:
        """Open all whole messages in what has arrived so far; the rest is kept.

        Raises RemoteProtocolError("noise-auth"): the connection is then worthless.
        """
        if self._buffer:
            data = self._buffer + data
        out: list[bytes] = []
        at, size = 0, len(data)
        while size - at >= _LENGTH:
            end = at + _LENGTH + int.from_bytes(data[at : at + _LENGTH])
            if end > size:
                break
            nonce = bytes(4) + self._received.to_bytes(8, "little")
            self._received += 1
            try:
                out.append(self._receiving.decrypt(nonce, data[at + _LENGTH : end], None))
            except InvalidTag as exc:
                raise _violation("auth", "message does not authenticate") from exc
            at = end
        self._buffer = data[at:]
        return out[0] if len(out) == 1 else b"".join(out)

    def __repr__(self) -> str:
        return f"Channel(sent={self._sent}, received={self._received})"


def _violation(code: str, what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"noise: {what}", code=f"noise-{code}", close_hint="disconnect")


assert NOISE_MAX_CIPHERTEXT == 0xFFFF
