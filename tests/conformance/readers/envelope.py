"""The signed envelope of libp2p, in its one form."""

from echo import varint

TAGS = b"\x0a\x12\x1a\x2a"


class Refused(Exception):
    pass


def need(condition: bool) -> None:
    if not condition:
        raise Refused


def parts(data: bytes) -> list[bytes]:
    """Cut by trying: the whole must be what these four fields make (REG-002)."""
    found, at = [], 0
    for tag in TAGS:
        need(at < len(data) and data[at] == tag)
        length, shift, at = 0, 0, at + 1
        while True:
            need(at < len(data) and shift < 63)
            length |= (data[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if data[at - 1] < 128:
                break
        need(at + length <= len(data))
        found.append(data[at : at + length])
        at += length
    again = b"".join(bytes([t]) + varint(len(p)) + p for t, p in zip(TAGS, found, strict=True))
    need(again == data)
    return found
