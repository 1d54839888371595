"""What a mix message carries: padding, the inner protocol's name, reply blocks, bytes.

Padded message (3,968 bytes): length of the zeros (2, big-endian) | zeros | data. Forward data:
varint length and name of the inner protocol | count of reply blocks (1) | the blocks | bytes. Reply
data: 0x00 | bytes. Spec: specs/mix section 6.
"""

from __future__ import annotations

from dataclasses import dataclass

from fogp2p.errors import LocalProtocolError, RemoteProtocolError
from fogp2p.framing import decode_varint, encode_varint
from fogp2p.ids import ProtocolId, protocol_id

from .config import DATA_BYTES, MAX_CODEC_BYTES, MAX_SURBS, MESSAGE_BYTES, SURB_BYTES
from .surb import ReplyBlock

__all__ = [
    "Forward",
    "decode_forward",
    "decode_reply",
    "encode_forward",
    "encode_reply",
    "pad",
    "unpad",
]


@dataclass(frozen=True, slots=True)
class Forward:
    """A message to an exit: which inner protocol, the bytes for it, and ways to answer."""

    protocol: ProtocolId
    body: bytes
    reply_blocks: tuple[ReplyBlock, ...] = ()


def pad(data: bytes) -> bytes:
    """Fill `data` (at most 3,966 bytes) up to a mix message. Raises LocalProtocolError."""
    if len(data) > DATA_BYTES:
        raise LocalProtocolError("more data than a mix message holds", code="mix-size")
    zeros = DATA_BYTES - len(data)
    return zeros.to_bytes(2) + bytes(zeros) + data


def unpad(message: bytes) -> bytes:
    """The data in a mix message. Raises RemoteProtocolError("mix-padding")."""
    zeros = int.from_bytes(message[:2])
    if len(message) != MESSAGE_BYTES or zeros > DATA_BYTES or any(message[2 : 2 + zeros]):
        raise RemoteProtocolError("mix message with bad padding", code="mix-padding")
    return message[2 + zeros :]


def encode_forward(forward: Forward) -> bytes:
    """The data of a forward message. Raises LocalProtocolError when it does not fit."""
    name = forward.protocol.encode("ascii")
    if not 1 <= len(name) <= MAX_CODEC_BYTES or len(forward.reply_blocks) > MAX_SURBS:
        raise LocalProtocolError(
            "protocol name over 127 bytes or more than 5 reply blocks", code="mix-size"
        )
    blocks = b"".join(block.to_bytes() for block in forward.reply_blocks)
    head = encode_varint(len(name)) + name + bytes([len(forward.reply_blocks)])
    data = head + blocks + forward.body
    if len(data) > DATA_BYTES:
        raise LocalProtocolError("more data than a mix message holds", code="mix-size")
    return data


def decode_forward(data: bytes) -> Forward:
    """Read the data of a forward message.

    Raises RemoteProtocolError: "mix-codec" (name), "mix-surb" (count or block), "varint".
    """
    head = decode_varint(data)
    if head is None or head[0] == 0 or head[0] > len(data) - head[1]:
        raise RemoteProtocolError("mix message without a protocol name", code="mix-codec")
    length, start = head
    at = start + length
    count = data[at] if at < len(data) else -1
    end = at + 1 + count * SURB_BYTES
    if not 0 <= count <= MAX_SURBS or end > len(data):
        raise RemoteProtocolError("mix message with a bad reply block count", code="mix-surb")
    blocks = tuple(
        ReplyBlock.from_bytes(data[place : place + SURB_BYTES])
        for place in range(at + 1, end, SURB_BYTES)
    )
    return Forward(_name(data[start:at]), data[end:], blocks)


def encode_reply(body: bytes) -> bytes:
    """The data of a reply: an empty protocol name, and `body` (at most 3,965 bytes)."""
    return b"\0" + body


def decode_reply(data: bytes) -> bytes:
    """The body of a reply. Raises RemoteProtocolError("mix-codec")."""
    if not data.startswith(b"\0"):
        raise RemoteProtocolError("mix reply that names a protocol", code="mix-codec")
    return data[1:]


def _name(raw: bytes) -> ProtocolId:
    try:
        return protocol_id(raw.decode("ascii"))
    except (UnicodeDecodeError, LocalProtocolError) as exc:
        raise RemoteProtocolError("not a protocol name", code="mix-codec") from exc
