"""One HTTP/1.1 request over a unix socket, for commands that must be quick.

`http.client` does the same and more, and importing it (with `email` and `ssl` behind it) takes as
long as Python's own start. Here the other side is our own peer: it answers with a length and closes
the connection when asked to. Anything else counts as no answer.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Final

__all__ = ["BadAnswer", "exchange"]

# Our answers have about ten header lines.
_MAX_HEAD_BYTES: Final = 16 * 1024
_PART_BYTES: Final = 64 * 1024


class BadAnswer(Exception):
    """What came is no whole HTTP answer."""


def exchange(
    path: Path, method: str, target: str, body: bytes | None, *, timeout_s: float, max_bytes: int
) -> tuple[int, bytes]:
    """(status, body) of the answer. Raises OSError (TimeoutError past `timeout_s`), BadAnswer.

    `target` has no spaces or control characters: it is quoted already.
    """
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    end = time.monotonic() + timeout_s
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout_s)
        sock.connect(str(path))
        sock.sendall(head.encode("ascii") + b"\r\n" + (body or b""))
        data = bytearray()
        while (length := _whole(data, max_bytes)) is None:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            sock.settimeout(left)
            part = sock.recv(_PART_BYTES)
            if not part:
                raise BadAnswer("it ended too early")
            data += part
    start = data.index(b"\r\n\r\n") + 4
    return _status(data), bytes(data[start : start + length])


def _whole(data: bytearray, max_bytes: int) -> int | None:
    """The body's length once all of it is there."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if len(data) > _MAX_HEAD_BYTES:
            raise BadAnswer("its head has no end")
        return None
    length = _length(data[:end])
    if length > max_bytes:
        raise BadAnswer(f"it has more than {max_bytes} bytes")
    return length if len(data) - end - 4 >= length else None


def _length(head: bytearray) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return int(value)
    raise BadAnswer("it does not say how long it is")


def _status(data: bytearray) -> int:
    version, _, rest = bytes(data[:_MAX_HEAD_BYTES]).partition(b" ")
    if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
        raise BadAnswer("it is not HTTP")
    return int(rest[:3])
