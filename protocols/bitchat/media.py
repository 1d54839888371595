"""Files and live voice (specs/bitchat section 11)."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from fogp2p.errors import LocalProtocolError

from .config import (
    MAX_FILE_BYTES,
    MAX_SHORT_TEXT_BYTES,
    MAX_VOICE_PACKET_BYTES,
    MAX_VOICE_UNITS,
)
from .wire import fixed, integer, refuse, tagged, text, tlv

__all__ = [
    "File",
    "VoiceEnd",
    "VoiceFlag",
    "VoicePacket",
    "decode_file",
    "decode_voice",
    "encode_file",
    "encode_voice",
    "safe_file_name",
]

_NAME, _SIZE, _MIME, _CONTENT = range(1, 5)
_DEFAULT_MIME = "application/octet-stream"
# Names that address something else than a file in the directory they are put into.
_RESERVED_NAMES = frozenset({"", ".", ".."})


@dataclass(frozen=True, slots=True)
class File:
    """A file in one message: `name` as sent (see `safe_file_name`), MIME type, 1 byte to 1 MiB."""

    name: str
    mime: str
    content: bytes


def encode_file(file: File) -> bytes:
    """The TLV, with fields in the order both apps write. Raises LocalProtocolError."""
    if not 1 <= len(file.content) <= MAX_FILE_BYTES:
        raise LocalProtocolError("a BitChat file has 1 byte to 1 MiB", code="bitchat-field")
    return (
        tlv(_NAME, file.name.encode("utf-8"), width=2)
        + tlv(_SIZE, len(file.content).to_bytes(4), width=2)
        + tlv(_MIME, file.mime.encode("utf-8"), width=2)
        + bytes((_CONTENT,))
        + len(file.content).to_bytes(4)
        + file.content
    )


def decode_file(data: bytes) -> File:
    """Read the TLV; the content alone has a length of four bytes.

    Raises RemoteProtocolError: `bitchat-tlv`, `bitchat-field`, `bitchat-size`, `bitchat-text`.
    """
    fields = _file_fields(data)
    content = tagged(fields, _CONTENT, "content")
    if not content:
        raise refuse("field", "file without content")
    declared = fields.get(_SIZE)
    if declared is not None:
        if len(declared) not in (4, 8):
            raise refuse("field", "file size of impossible length")
        if int.from_bytes(declared) > MAX_FILE_BYTES:
            raise refuse("size", "file too large")
    name = text(fields.get(_NAME, b""), "file name", most=MAX_SHORT_TEXT_BYTES)
    mime = text(fields.get(_MIME, b""), "MIME type", most=MAX_SHORT_TEXT_BYTES)
    return File(name, mime or _DEFAULT_MIME, content)


def _file_fields(data: bytes) -> dict[int, bytes]:
    fields: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        kind = data[at]
        start = at + (5 if kind == _CONTENT else 3)
        end = start + int.from_bytes(data[at + 1 : start])
        if start > len(data) or end > len(data):
            raise refuse("tlv", "a field runs past the end")
        value = data[start:end]
        if kind == _CONTENT:
            # The iOS app joins several pieces of content.
            value = fields.get(kind, b"") + value
            if len(value) > MAX_FILE_BYTES:
                raise refuse("size", "file too large")
        elif kind in fields:
            raise refuse("tlv", "a field appears twice")
        fields[kind] = value
        at = end
    return fields


def safe_file_name(name: str) -> str:
    """`name` as a plain name inside one directory, at most 128 characters.

    Everything up to the last slash or backslash goes, control characters become underscores,
    leading dots go; nothing left gives "file".
    """
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    shown = "".join("_" if not c.isprintable() or c in ':*?"<>|' else c for c in base)
    shown = shown.strip().lstrip(".")[:128].rstrip(". ")
    return "file" if shown in _RESERVED_NAMES else shown


class VoiceFlag(enum.IntEnum):
    """What a voice packet is; exact values, not bits."""

    DATA = 0x00
    START = 0x01
    END = 0x02
    CANCEL = 0x04


@dataclass(frozen=True, slots=True)
class VoiceEnd:
    """How much there was."""

    packets: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class VoicePacket:
    """A piece of a voice burst.

    `burst_id` 8 bytes; `sequence` 0 for START and from 1 for DATA; `codec` for START (1: AAC-LC,
    16 kHz, mono); `units`: 1-8 access units for DATA; `end` for END.
    """

    burst_id: bytes
    sequence: int
    flag: VoiceFlag
    codec: int | None = None
    units: tuple[bytes, ...] = ()
    end: VoiceEnd | None = None


def encode_voice(packet: VoicePacket) -> bytes:
    """The payload, at most 210 bytes. Raises LocalProtocolError."""
    body = b""
    match packet.flag:
        case VoiceFlag.START if packet.codec is not None:
            body = bytes((packet.codec,))
        case VoiceFlag.DATA if 1 <= len(packet.units) <= MAX_VOICE_UNITS and all(packet.units):
            body = b"".join(len(unit).to_bytes(2) + unit for unit in packet.units)
        case VoiceFlag.END if packet.end is not None:
            body = packet.end.packets.to_bytes(2) + packet.end.duration_ms.to_bytes(4)
        case VoiceFlag.CANCEL:
            body = b""
        case _:
            raise LocalProtocolError("voice packet of impossible shape", code="bitchat-field")
    out = packet.burst_id + packet.sequence.to_bytes(2) + bytes((packet.flag,)) + body
    if len(packet.burst_id) != 8 or len(out) > MAX_VOICE_PACKET_BYTES:
        raise LocalProtocolError("voice packet too long", code="bitchat-field")
    return out


def decode_voice(payload: bytes) -> VoicePacket:
    """Raises RemoteProtocolError: `bitchat-size`, `bitchat-field`."""
    if not 11 <= len(payload) <= MAX_VOICE_PACKET_BYTES:
        raise refuse("size", "voice packet of impossible size")
    burst, sequence, body = payload[:8], int.from_bytes(payload[8:10]), payload[11:]
    try:
        flag = VoiceFlag(payload[10])
    except ValueError as exc:
        raise refuse("field", "unknown kind of voice packet") from exc
    if (sequence == 0) != (flag is VoiceFlag.START) and flag in (VoiceFlag.START, VoiceFlag.DATA):
        raise refuse("field", "voice packet with an impossible number")
    match flag:
        case VoiceFlag.START:
            codec = integer(body, 1, "voice codec")
            return VoicePacket(burst, sequence, flag, codec=codec)
        case VoiceFlag.DATA:
            return VoicePacket(burst, sequence, flag, units=_read_units(body))
        case VoiceFlag.END:
            body = fixed(body, 6, "end of voice")
            end = VoiceEnd(int.from_bytes(body[:2]), int.from_bytes(body[2:]))
            return VoicePacket(burst, sequence, flag, end=end)
        case VoiceFlag.CANCEL:
            fixed(body, 0, "cancelled voice")
            return VoicePacket(burst, sequence, flag)


def _read_units(body: bytes) -> tuple[bytes, ...]:
    units: list[bytes] = []
    at = 0
    while at < len(body):
        end = at + 2 + int.from_bytes(body[at : at + 2])
        if end > len(body) or end <= at + 2 or len(units) == MAX_VOICE_UNITS:
            raise refuse("field", "voice units of impossible size")
        units.append(body[at + 2 : end])
        at = end
    if not units:
        raise refuse("field", "voice packet without sound")
    return tuple(units)
