"""Agreeing on a protocol: multistream-select 1.0 as pure machines.

Both sides first send `/multistream/1.0.0`. The opener then proposes names one after another; the
responder repeats a name it speaks and answers `na` to others. Every line is prefixed by its length
as a varint and ends in a newline. An opener with one name may send its first data right behind it.
Spec: multiformats/multistream-select.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from fogp2p.errors import LocalProtocolError, RemoteProtocolError
from fogp2p.framing import FrameDecoder, encode_frame
from fogp2p.ids import ProtocolId, protocol_id

from .wire_config import MAX_LINE_BYTES, MAX_PROPOSALS

__all__ = ["Opener", "Responder"]

_HEADER: Final = "/multistream/1.0.0"
_REFUSAL: Final = "na"


def _line(text: str) -> bytes:
    return encode_frame(text.encode("ascii") + b"\n", max_bytes=MAX_LINE_BYTES)


class _Lines:
    """Takes whole lines out of a byte stream, and leaves what follows the last one taken."""

    def __init__(self) -> None:
        self._buffer = b""

    def receive_data(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> str | None:
        """The next line, or None. Raises RemoteProtocolError("multistream-line")."""
        decoder = FrameDecoder(max_bytes=MAX_LINE_BYTES)
        decoder.receive_data(self._buffer[: MAX_LINE_BYTES + 16])
        frame = decoder.next_frame()
        if frame is None:
            return None
        self._buffer = self._buffer[len(encode_frame(frame)) :]
        try:
            text = frame.decode("ascii")
        except UnicodeDecodeError as exc:
            raise _violation("a line is not ASCII") from exc
        if not text.endswith("\n"):
            raise _violation("a line does not end")
        return text[:-1]

    def take_rest(self) -> bytes:
        """What follows the lines taken so far."""
        rest, self._buffer = self._buffer, b""
        return rest


class Opener:
    """The side that proposes. Send what `start` returns, then feed answers to `receive_data`."""

    def __init__(self, protocols: Sequence[ProtocolId]) -> None:
        if not protocols:
            raise LocalProtocolError("name at least one protocol", code="no-protocol")
        self._proposals = list(protocols)
        self._lines = _Lines()
        self._greeted = False
        self.agreed: ProtocolId | None = None
        """The protocol both speak, once the peer said so."""
        self.refused = False
        """Whether the peer speaks none of them."""

    def start(self) -> bytes:
        """The header and the first proposal."""
        return _line(_HEADER) + _line(self._proposals[0])

    @property
    def first(self) -> ProtocolId:
        """The name proposed first."""
        return self._proposals[0]

    @property
    def has_choice(self) -> bool:
        """Whether there is more than one name, so that the answer has to be awaited."""
        return len(self._proposals) > 1

    @property
    def is_finished(self) -> bool:
        """Whether there is an answer."""
        return self.refused or self.agreed is not None

    def receive_data(self, data: bytes) -> bytes:
        """Take bytes; return what to send now. Raises RemoteProtocolError("multistream-...")."""
        self._lines.receive_data(data)
        answer = b""
        while not self.is_finished and (line := self._lines.next()) is not None:
            if not self._greeted:
                if line != _HEADER:
                    raise _violation("the peer does not greet")
                self._greeted = True
            elif line == self._proposals[0]:
                self.agreed = self._proposals[0]
            elif line == _REFUSAL:
                del self._proposals[0]
                self.refused = not self._proposals
                if self._proposals:
                    answer += _line(self._proposals[0])
            else:
                raise _violation("the peer answers another protocol")
        return answer

    def take_rest(self) -> bytes:
        """Application bytes that came behind the answer."""
        return self._lines.take_rest()


class Responder:
    """The side that chooses. `speaks` says which names are served."""

    def __init__(self, speaks: Callable[[ProtocolId], bool]) -> None:
        self._speaks = speaks
        self._lines = _Lines()
        self._greeted = False
        self._proposals = 0
        self.agreed: ProtocolId | None = None
        """The protocol chosen."""

    def receive_data(self, data: bytes) -> bytes:
        """Take bytes; return what to send now. Raises RemoteProtocolError("multistream-...")."""
        self._lines.receive_data(data)
        answer = b""
        while self.agreed is None and (line := self._lines.next()) is not None:
            if not self._greeted:
                if line != _HEADER:
                    raise _violation("the peer does not greet")
                self._greeted = True
                answer += _line(_HEADER)
                continue
            self._proposals += 1
            if self._proposals > MAX_PROPOSALS:
                raise _violation("too many proposals")
            answer += self._answer(line)
        return answer

    def _answer(self, line: str) -> bytes:
        try:
            name = protocol_id(line)
        except LocalProtocolError:
            return _line(_REFUSAL)  # also for `ls`, which nothing needs
        if not self._speaks(name):
            return _line(_REFUSAL)
        self.agreed = name
        return _line(name)

    def take_rest(self) -> bytes:
        """Application bytes that came behind the proposal."""
        return self._lines.take_rest()


def _violation(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(
        f"multistream: {what}", code="multistream-line", close_hint="disconnect"
    )
