"""The outer packet: version 1 and 2, compression, padding, route, signature.

Theory of operation: a packet is signed over its own encoding with TTL 0, without signature and
without the RSR flag, padded. DEFLATE has many encodings of one text, so the bytes a packet was
received with are kept beside the text they decompress to, and the signed bytes are rebuilt from
them, never by compressing again. Spec: specs/bitchat section 5.
"""

from __future__ import annotations

import enum
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from fogp2p.errors import LocalProtocolError, RemoteProtocolError

from .config import (
    COMPRESS_FROM_BYTES,
    DEFLATE_LEVEL,
    MAX_FRAME_BYTES,
    MAX_PAYLOAD_BYTES,
    MAX_RATIO,
    MAX_ROUTE_HOPS,
    MAX_TTL,
    PEER_ID_BYTES,
    SIGNATURE_BYTES,
)
from .identity import BROADCAST
from .wire import refuse, signature_is_valid

__all__ = ["Packet", "PacketType", "decode_packet", "pad_frame", "strip_padding"]


class PacketType(enum.IntEnum):
    """Known types. Unknown ones decode as well: they are relayed."""

    ANNOUNCE = 0x01
    MESSAGE = 0x02
    LEAVE = 0x03
    COURIER_ENVELOPE = 0x04
    NOISE_HANDSHAKE = 0x10
    NOISE_ENCRYPTED = 0x11
    FRAGMENT = 0x20
    REQUEST_SYNC = 0x21
    FILE_TRANSFER = 0x22
    BOARD_POST = 0x23
    PREKEY_BUNDLE = 0x24
    GROUP_MESSAGE = 0x25
    PING = 0x26
    PONG = 0x27
    NOSTR_CARRIER = 0x28
    VOICE_FRAME = 0x29
    ANNOUNCE_V2 = 0x2C


_PADDED_TYPES: Final = (PacketType.NOISE_HANDSHAKE, PacketType.NOISE_ENCRYPTED)
_BLOCKS: Final = (256, 512, 1024, 2048)
_MIN_PADDING: Final = 16
_MAX_PADDING: Final = 255  # one byte says how much

_HAS_RECIPIENT, _HAS_SIGNATURE, _COMPRESSED, _HAS_ROUTE, _RSR = 0x01, 0x02, 0x04, 0x08, 0x10


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet.

    `type` 0-255; `ttl` 0-255 as received (see `hops_left`); `timestamp_ms` since 1970; `sender` 8
    bytes; `recipient` 8 bytes or None; `payload` decompressed; `route`: intermediate hops, 8 bytes
    each, version 2 only; `signature` 64 bytes or None; `is_rsr`: answer to a sync request.
    `compressed`: the payload as on the wire when it was compressed there, else None.
    """

    type: int
    ttl: int
    timestamp_ms: int
    sender: bytes
    payload: bytes
    recipient: bytes | None = None
    route: tuple[bytes, ...] = ()
    signature: bytes | None = None
    is_rsr: bool = False
    version: int = 1
    compressed: bytes | None = None

    @classmethod
    def create(
        cls,
        kind: PacketType,
        payload: bytes,
        *,
        sender: bytes,
        timestamp_ms: int,
        recipient: bytes | None = None,
        route: tuple[bytes, ...] = (),
        version: int = 1,
        ttl: int = MAX_TTL,
    ) -> Packet:
        """A new packet, compressed where both apps would. Raises LocalProtocolError."""
        packet = cls(
            kind,
            ttl,
            timestamp_ms,
            sender,
            payload,
            recipient,
            route,
            version=version,
            compressed=_compress(payload, version),
        )
        packet._check()
        return packet

    @property
    def is_broadcast(self) -> bool:
        """Whether it is for everybody: no recipient, or eight times 0xFF."""
        return self.recipient is None or self.recipient == BROADCAST

    @property
    def hops_left(self) -> int:
        """The TTL, never more than 7 whatever the packet says."""
        return min(self.ttl, MAX_TTL)

    def encode(self, *, padded: bool | None = None) -> bytes:
        """The frame. Noise packets are padded unless `padded` says otherwise.

        Raises LocalProtocolError("bitchat-field") for a field out of range.
        """
        self._check()
        frame = self._frame(self.ttl, self.signature, rsr=self.is_rsr)
        pad = self.type in _PADDED_TYPES if padded is None else padded
        return pad_frame(frame) if pad else frame

    def signing_preimage(self) -> bytes:
        """The bytes that are signed (specs/bitchat BTC-020)."""
        return pad_frame(self._frame(0, None, rsr=False))

    def signed(self, sign: Callable[[bytes], bytes]) -> Packet:
        """The packet with the Ed25519 signature that `sign` makes of the preimage."""
        return replace(self, signature=sign(self.signing_preimage()))

    def is_signed_by(self, public_key: bytes) -> bool:
        """Whether it bears a valid signature of this Ed25519 key (32 bytes)."""
        if self.signature is None:
            return False
        return signature_is_valid(public_key, self.signing_preimage(), self.signature)

    def relayed(self) -> Packet:
        """The packet to pass on: one hop less, everything signed as it was received.

        Raises LocalProtocolError when no hop is left.
        """
        if self.hops_left == 0:
            raise LocalProtocolError("no hop left", code="bitchat-ttl")
        return replace(self, ttl=self.hops_left - 1)

    def _frame(self, ttl: int, signature: bytes | None, *, rsr: bool) -> bytes:
        size = 4 if self.version == 2 else 2
        body = self.payload
        if self.compressed is not None:
            body = len(self.payload).to_bytes(size) + self.compressed
        route = self._route_bytes()
        flags = (
            (_HAS_RECIPIENT if self.recipient is not None else 0)
            | (_HAS_SIGNATURE if signature is not None else 0)
            | (_COMPRESSED if self.compressed is not None else 0)
            | (_HAS_ROUTE if route else 0)
            | (_RSR if rsr else 0)
        )
        return b"".join(
            (
                bytes((self.version, self.type, ttl)),
                self.timestamp_ms.to_bytes(8),
                bytes((flags,)),
                len(body).to_bytes(size),
                self.sender,
                self.recipient or b"",
                route,
                body,
                signature or b"",
            )
        )

    def _route_bytes(self) -> bytes:
        if self.version == 1 or not self.route:
            return b""
        return bytes((len(self.route),)) + b"".join(self.route)

    def _check(self) -> None:
        ids = [self.sender, *self.route, *([self.recipient] if self.recipient is not None else [])]
        largest = 0xFFFF if self.version == 1 else MAX_PAYLOAD_BYTES
        body = len(self.payload) if self.compressed is None else len(self.compressed) + 2
        if (
            self.version not in (1, 2)
            or not (0 <= self.type <= 255 and 0 <= self.ttl <= 255)
            or not 0 <= self.timestamp_ms < 2**64
            or any(len(identifier) != PEER_ID_BYTES for identifier in ids)
            or len(self.route) > MAX_ROUTE_HOPS
            or (self.route and self.version == 1)
            or (self.signature is not None and len(self.signature) != SIGNATURE_BYTES)
            or max(len(self.payload), body) > largest
        ):
            raise LocalProtocolError(
                "BitChat packet with a field out of range", code="bitchat-field"
            )


def decode_packet(frame: bytes) -> Packet:
    """Read a frame, padded or not. Bytes behind the packet are ignored, as both apps do.

    Raises RemoteProtocolError: `bitchat-size`, `bitchat-version`, `bitchat-short`,
    `bitchat-compression`.
    """
    if len(frame) > MAX_FRAME_BYTES:
        raise refuse("size", "frame too long")
    try:
        return _parse(frame)
    except RemoteProtocolError:
        stripped = strip_padding(frame)
        if stripped is frame:
            raise
        return _parse(stripped)


def pad_frame(frame: bytes) -> bytes:
    """Pad to the next of 256, 512, 1024 and 2048 bytes, or not at all (specs/bitchat BTC-013)."""
    block = next((size for size in _BLOCKS if len(frame) + _MIN_PADDING <= size), 0)
    missing = block - len(frame)
    return frame + bytes((missing,)) * missing if 0 < missing <= _MAX_PADDING else frame


def strip_padding(frame: bytes) -> bytes:
    """`frame` without what `pad_frame` appends; the same object when there is none."""
    if not frame:
        return frame
    count = frame[-1]
    found = 1 <= count <= len(frame) and frame.endswith(bytes((count,)) * count)
    return frame[:-count] if found else frame


class _Cursor:
    """Reads forward through a frame and refuses to read past its end."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise refuse("short", "packet ends early")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def integer(self, count: int) -> int:
        return int.from_bytes(self.take(count))


def _parse(frame: bytes) -> Packet:
    cursor = _Cursor(frame)
    version, kind, ttl = cursor.take(3)
    if version not in (1, 2):
        raise refuse("version", "unknown packet version")
    timestamp = cursor.integer(8)
    flags = cursor.integer(1)
    size = 4 if version == 2 else 2
    length = cursor.integer(size)
    if length > MAX_PAYLOAD_BYTES:
        raise refuse("size", "payload too long")
    sender = cursor.take(PEER_ID_BYTES)
    recipient = cursor.take(PEER_ID_BYTES) if flags & _HAS_RECIPIENT else None
    route: tuple[bytes, ...] = ()
    if version == 2 and flags & _HAS_ROUTE:
        route = tuple(cursor.take(PEER_ID_BYTES) for _ in range(cursor.integer(1)))
    body = cursor.take(length)
    signature = cursor.take(SIGNATURE_BYTES) if flags & _HAS_SIGNATURE else None
    compressed = None
    if flags & _COMPRESSED:
        body, compressed = _inflate(body, size)
    return Packet(
        type=kind,
        ttl=ttl,
        timestamp_ms=timestamp,
        sender=sender,
        payload=body,
        recipient=recipient,
        route=route,
        signature=signature,
        is_rsr=bool(flags & _RSR),
        version=version,
        compressed=compressed,
    )


def _compress(payload: bytes, version: int) -> bytes | None:
    """The payload as raw DEFLATE, or None where the apps send it as it is."""
    unlikely = len(set(payload)) >= 0.9 * min(len(payload), 256)
    too_long = version == 1 and len(payload) > 0xFFFF
    if len(payload) < COMPRESS_FROM_BYTES or unlikely or too_long:
        return None
    encoder = zlib.compressobj(DEFLATE_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    squeezed = encoder.compress(payload) + encoder.flush()
    return squeezed if len(squeezed) < len(payload) else None


def _inflate(body: bytes, size: int) -> tuple[bytes, bytes]:
    """(payload, compressed bytes). Memory is bounded by the declared size, which is checked."""
    declared, squeezed = int.from_bytes(body[:size]), body[size:]
    if len(body) <= size or not 0 < declared <= MAX_PAYLOAD_BYTES:
        raise refuse("compression", "impossible size of the original")
    if declared > MAX_RATIO * len(squeezed):
        raise refuse("compression", "compressed beyond belief")
    decoder = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        payload = decoder.decompress(squeezed, declared + 1)
    except zlib.error as exc:
        raise refuse("compression", "not raw DEFLATE") from exc
    if len(payload) != declared or not decoder.eof or decoder.unused_data:
        raise refuse("compression", "original has another size than declared")
    return payload, squeezed
