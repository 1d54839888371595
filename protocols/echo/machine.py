"""The receiving side as a value: frames in, answers out. Spec: specs/echo/echo-v1.md."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from fogp2p.codec import Schema, decode, encode
from fogp2p.framing import FrameDecoder, encode_frame
from fogp2p.ids import Version
from fogp2p.limits import KIB

__all__ = ["MAX_MESSAGE_BYTES", "NAME", "V1_0", "V1_1", "Answer", "Echo", "decode_answer"]

NAME: Final = "fog/echo"
V1_0: Final = Version(1, 0)
V1_1: Final = Version(1, 1)
OFFER_1_0: Final = (V1_0,)
OFFER_1_1: Final = (V1_0, V1_1)
MAX_MESSAGE_BYTES: Final = 64 * KIB
# The message with a count and a digest around it.
MAX_ANSWER_BYTES: Final = MAX_MESSAGE_BYTES + 64


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `received` and `digest` are what the receiver vouches for; None in 1.0."""

    data: bytes
    received: int | None
    digest: bytes | None


class Echo:
    """Answers the messages of one stream."""

    def __init__(self, version: Version) -> None:
        self._version = version
        self._decoder = FrameDecoder(max_bytes=MAX_MESSAGE_BYTES)
        self._hash = hashlib.sha256()
        self.messages = 0
        self.received = 0

    def receive_data(self, data: bytes) -> bytes:
        """Take bytes; return the answers to send. Raises RemoteProtocolError as `FrameDecoder`."""
        self._decoder.receive_data(data)
        out = b""
        while (message := self._decoder.next_frame()) is not None:
            self.messages += 1
            self.received += len(message)
            self._hash.update(message)
            out += self._answer(message)
        return out

    def _answer(self, message: bytes) -> bytes:
        if self._version == V1_0:
            return encode_frame(message, max_bytes=MAX_MESSAGE_BYTES)
        answer = encode({1: message, 2: self.received, 3: self._hash.digest()})
        return encode_frame(answer, max_bytes=MAX_ANSWER_BYTES)


def decode_answer(frame: bytes, version: Version) -> Answer:
    """Read one answer. Raises RemoteProtocolError as `codec.decode`."""
    if version == V1_0:
        return Answer(frame, None, None)
    schema = Schema.load("echo/v1.cddl", "answer")
    fields = decode(frame, schema=schema, max_bytes=MAX_ANSWER_BYTES)
    return Answer(fields[1], fields[2], fields[3])
