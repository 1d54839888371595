"""Single-use reply blocks (LIP-99 section 8.7).

A block lets somebody answer without knowing whom. It holds a ready-made header whose last hop is
its maker, and a key for the payload. The answer passes the path like any packet; each hop decrypts
a layer, so the maker puts the layers back on before the reply key takes the last one off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fogp2p.errors import LocalProtocolError, RemoteProtocolError

from .config import (
    ADDRESS_BYTES,
    HEADER_BYTES,
    MESSAGE_BYTES,
    PAYLOAD_BYTES,
    REPLY_KEY_BYTES,
    SURB_BYTES,
    SURB_ID_BYTES,
    ZERO_BYTES,
)
from .primitives import lioness_decrypt, lioness_encrypt
from .sphinx import NO_ADDRESS, NO_SURB, Hop, build_header

__all__ = ["ReplyBlock", "ReplySecret", "make_reply_block", "recover_reply", "use_reply_block"]


@dataclass(frozen=True, slots=True, repr=False)
class ReplyBlock:
    """What is given away. Whoever has it can answer, once."""

    first_address: bytes
    header: bytes
    reply_key: bytes

    def to_bytes(self) -> bytes:
        """The 734 bytes on the wire: address, header, key."""
        return self.first_address + self.header + self.reply_key

    @classmethod
    def from_bytes(cls, data: bytes) -> ReplyBlock:
        """Raises RemoteProtocolError("mix-surb") unless `data` has 734 bytes and an address."""
        if len(data) != SURB_BYTES or data[:ADDRESS_BYTES] == NO_ADDRESS:
            raise RemoteProtocolError("not a reply block", code="mix-surb")
        end = ADDRESS_BYTES + HEADER_BYTES
        return cls(data[:ADDRESS_BYTES], data[ADDRESS_BYTES:end], data[end:])

    def __repr__(self) -> str:
        return "ReplyBlock(...)"


@dataclass(frozen=True, slots=True, repr=False)
class ReplySecret:
    """What its maker keeps until the answer arrives or the block expires."""

    surb_id: bytes
    reply_key: bytes
    payload_seeds: tuple[bytes, ...]

    def __repr__(self) -> str:
        return f"ReplySecret({self.surb_id.hex()})"


def make_reply_block(
    path: Sequence[Hop], *, ephemeral: bytes, surb_id: bytes, reply_key: bytes
) -> tuple[ReplyBlock, ReplySecret]:
    """Prepare a block whose `path` (1 to 5 hops) ends with ourselves.

    `ephemeral` (32), `surb_id` (16, not all zero) and `reply_key` (16) are fresh random bytes.
    Raises LocalProtocolError.
    """
    if len(reply_key) != REPLY_KEY_BYTES or len(surb_id) != SURB_ID_BYTES or surb_id == NO_SURB:
        raise LocalProtocolError("wrong size of a reply block's part", code="mix-size")
    header, keys = build_header(path, ephemeral, NO_ADDRESS, surb_id)
    seeds = tuple(hop.payload_seed for hop in keys)
    block = ReplyBlock(path[0].address, header, reply_key)
    return block, ReplySecret(surb_id, reply_key, seeds)


def use_reply_block(block: ReplyBlock, message: bytes) -> bytes:
    """The packet that carries `message` (3,968 bytes) back; send it to `block.first_address`."""
    if len(message) != MESSAGE_BYTES:
        raise LocalProtocolError("a mix message has 3,968 bytes", code="mix-size")
    return block.header + lioness_encrypt(block.reply_key, bytes(ZERO_BYTES) + message)


def recover_reply(secret: ReplySecret, payload: bytes) -> bytes:
    """The message in a `Returned.payload`.

    Raises RemoteProtocolError("mix-payload") when it was altered on its way. Use each secret once.
    """
    if len(payload) != PAYLOAD_BYTES:
        raise RemoteProtocolError("mix payload of wrong size", code="mix-payload")
    for seed in reversed(secret.payload_seeds):
        payload = lioness_encrypt(seed, payload)
    payload = lioness_decrypt(secret.reply_key, payload)
    if payload[:ZERO_BYTES] != bytes(ZERO_BYTES):
        raise RemoteProtocolError("mix payload was altered", code="mix-payload")
    return payload[ZERO_BYTES:]
