"""Packets of the libp2p Mix protocol: Sphinx headers, LIONESS payloads, reply blocks.

Everything here is pure; links, delays and path choice come on top. Spec: specs/mix/mix-v1.md.
"""

from .address import NextHop, decode_address, encode_address
from .payload import Forward, decode_forward, decode_reply, encode_forward, encode_reply, pad, unpad
from .replay import ReplayFilter, ReplayFilters
from .sphinx import (
    PACKET_BYTES,
    Delivered,
    Hop,
    Relayed,
    Returned,
    Unwrapped,
    build,
    unwrap,
    unwrap_batch,
)
from .surb import ReplyBlock, ReplySecret, make_reply_block, recover_reply, use_reply_block
from .workers import unwrap_in_workers

__all__ = [
    "PACKET_BYTES",
    "Delivered",
    "Forward",
    "Hop",
    "NextHop",
    "Relayed",
    "ReplayFilter",
    "ReplayFilters",
    "ReplyBlock",
    "ReplySecret",
    "Returned",
    "Unwrapped",
    "build",
    "decode_address",
    "decode_forward",
    "decode_reply",
    "encode_address",
    "encode_forward",
    "encode_reply",
    "make_reply_block",
    "pad",
    "recover_reply",
    "unpad",
    "unwrap",
    "unwrap_batch",
    "unwrap_in_workers",
    "use_reply_block",
]
