"""BitChat on the wire, as the phone apps speak it. Pure: bytes in, values out, and back.

The modules follow the specification (specs/bitchat/bitchat-v1.md): `packet` for the frame around
everything, `announce`, `private` (inside Noise sessions), `fragments`, `sync`, `media`, `courier`
and `community` for what it carries. The mesh that moves packets is not part of this room yet.
"""

from .announce import Announce, decode_announce, encode_announce, verified_announce
from .fragments import Reassembler, split
from .identity import display_text, fingerprint, peer_id
from .packet import Packet, PacketType, decode_packet
from .private import (
    NoisePayloadType,
    PrivateMessage,
    decode_noise_payload,
    decode_private_message,
    encode_noise_payload,
    encode_private_message,
)
from .sync import Filter, SyncRequest, build_filter, packet_id

__all__ = [
    "Announce",
    "Filter",
    "NoisePayloadType",
    "Packet",
    "PacketType",
    "PrivateMessage",
    "Reassembler",
    "SyncRequest",
    "build_filter",
    "decode_announce",
    "decode_noise_payload",
    "decode_packet",
    "decode_private_message",
    "display_text",
    "encode_announce",
    "encode_noise_payload",
    "encode_private_message",
    "fingerprint",
    "packet_id",
    "peer_id",
    "split",
    "verified_announce",
]
