"""Sphinx packets: building them, and taking off one layer (LIP-99 section 8).

A packet is alpha (32) | beta (576) | gamma (16) | delta (3,984). Each hop derives a secret from
alpha and its private key, checks gamma over beta, decrypts beta with zeros appended, finds in front
the next address, a delay and the next gamma, blinds alpha, and decrypts one layer of delta.

The last hop is recognised by a zero delay *and* 16 zero bytes behind the routing block. That agrees
with LIP-99 and with the deployed implementation for every path length (specs/mix MIX-012).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fogp2p.errors import LocalProtocolError, RemoteProtocolError

from .config import (
    ADDRESS_BYTES,
    ALPHA_BYTES,
    BETA_BYTES,
    BLOCK_BYTES,
    DELAY_BYTES,
    HEADER_BYTES,
    MAX_BATCH,
    MAX_DELAY_MS,
    MAX_HOPS,
    MESSAGE_BYTES,
    PACKET_BYTES,
    PAYLOAD_BYTES,
    SURB_ID_BYTES,
    ZERO_BYTES,
)
from .primitives import (
    HopKeys,
    aes_ctr,
    lioness_decrypt,
    lioness_encrypt,
    mac,
    public_key,
    shared_secret,
)

__all__ = [
    "PACKET_BYTES",
    "Delivered",
    "Hop",
    "Relayed",
    "Returned",
    "Unwrapped",
    "build",
    "build_header",
    "unwrap",
    "unwrap_batch",
]

NO_ADDRESS: Final = bytes(ADDRESS_BYTES)
NO_SURB: Final = bytes(SURB_ID_BYTES)
_ZEROS: Final = bytes(ZERO_BYTES)
_KEPT: Final = BETA_BYTES - BLOCK_BYTES  # of the next beta, what still fits: 464


@dataclass(frozen=True, slots=True)
class Hop:
    """One relay of a path.

    `public_key`: X25519, 32 bytes. `address`: 94 bytes, where the hop *before* finds it.
    `delay_ms`: 1 to 65,535, how long this hop is asked to wait; not used for the last one.
    """

    public_key: bytes
    address: bytes
    delay_ms: int


@dataclass(frozen=True, slots=True)
class Relayed:
    """Send `packet` on to `address` after a delay drawn around `delay_ms`."""

    address: bytes
    delay_ms: int
    packet: bytes
    tag: bytes


@dataclass(frozen=True, slots=True)
class Delivered:
    """A forward message reached its exit; `destination` all zero means the exit itself."""

    destination: bytes
    message: bytes
    tag: bytes


@dataclass(frozen=True, slots=True)
class Returned:
    """An answer came back through our reply block `surb_id`; see `recover_reply`."""

    surb_id: bytes
    payload: bytes
    tag: bytes


Unwrapped = Relayed | Delivered | Returned


def build(
    path: Sequence[Hop],
    message: bytes,
    *,
    ephemeral: bytes,
    destination: bytes = NO_ADDRESS,
) -> bytes:
    """Wrap `message` (3,968 bytes, see `payload.pad`) for `path` (1 to 5 hops).

    `ephemeral` is 32 fresh secret bytes. The result, 4,608 bytes, is sent to `path[0]`. Raises
    LocalProtocolError for wrong sizes or a delay of 0 at a hop that is not the last.
    """
    if len(message) != MESSAGE_BYTES:
        raise LocalProtocolError("a mix message has 3,968 bytes", code="mix-size")
    header, keys = build_header(path, ephemeral, destination, NO_SURB)
    payload = _ZEROS + message
    for hop in reversed(keys):
        payload = lioness_encrypt(hop.payload_seed, payload)
    return header + payload


def build_header(
    path: Sequence[Hop], ephemeral: bytes, destination: bytes, surb_id: bytes
) -> tuple[bytes, list[HopKeys]]:
    """The 624-byte header for `path`, and each hop's keys. Raises LocalProtocolError."""
    _check_path(path, ephemeral, destination, surb_id)
    alpha, keys = _derive(path, ephemeral)
    filler = _filler(keys[:-1])
    last = keys[-1]
    zeros = bytes(BETA_BYTES - BLOCK_BYTES - len(filler))
    plain = destination + bytes(DELAY_BYTES) + surb_id + zeros
    beta = aes_ctr(last.cipher_key, last.cipher_iv, plain) + filler
    gamma = mac(last, beta)
    for index in range(len(path) - 2, -1, -1):
        hop, delay = keys[index], path[index].delay_ms.to_bytes(DELAY_BYTES)
        block = path[index + 1].address + delay + gamma + beta[:_KEPT]
        beta = aes_ctr(hop.cipher_key, hop.cipher_iv, block)
        gamma = mac(hop, beta)
    return alpha + beta + gamma, keys


def unwrap(private_key: bytes, packet: bytes) -> Unwrapped:
    """Take off our layer. `private_key`: X25519, 32 bytes; `packet`: 4,608 bytes as received.

    Raises RemoteProtocolError, after which the packet is dropped without a word: "mix-size",
    "mix-element", "mix-mac", "mix-routing" (impossible routing block) or "mix-payload" (an altered
    payload at the exit). The caller then asks a `ReplayFilter` about `tag`.
    """
    if len(packet) != PACKET_BYTES:
        raise RemoteProtocolError("a mix packet has 4,608 bytes", code="mix-size")
    alpha = packet[:ALPHA_BYTES]
    beta = packet[ALPHA_BYTES : ALPHA_BYTES + BETA_BYTES]
    gamma = packet[ALPHA_BYTES + BETA_BYTES : HEADER_BYTES]
    secret = shared_secret(private_key, alpha)
    keys = HopKeys(secret)
    if not hmac.compare_digest(mac(keys, beta), gamma):
        raise RemoteProtocolError("mix header does not authenticate", code="mix-mac")
    # Nothing below costs less than this check: everything before it an attacker gets for free.
    tag = hashlib.sha256(secret).digest()
    routing = aes_ctr(keys.cipher_key, keys.cipher_iv, beta + bytes(BLOCK_BYTES))
    payload = lioness_decrypt(keys.payload_seed, packet[HEADER_BYTES:])
    address = routing[:ADDRESS_BYTES]
    delay_ms = int.from_bytes(routing[ADDRESS_BYTES : ADDRESS_BYTES + DELAY_BYTES])
    inner_gamma = routing[ADDRESS_BYTES + DELAY_BYTES : BLOCK_BYTES]
    if delay_ms == 0 and routing[BLOCK_BYTES : BLOCK_BYTES + ZERO_BYTES] == _ZEROS:
        return _arrived(address, inner_gamma, payload, tag)
    if delay_ms == 0 or address == NO_ADDRESS:
        raise RemoteProtocolError("mix routing block makes no sense", code="mix-routing")
    blinder = hashlib.sha256(alpha + secret).digest()
    header = shared_secret(blinder, alpha) + routing[BLOCK_BYTES:] + inner_gamma
    return Relayed(address, delay_ms, header + payload, tag)


def unwrap_batch(
    private_key: bytes, packets: Sequence[bytes]
) -> list[Unwrapped | RemoteProtocolError]:
    """`unwrap` for up to 256 packets; errors are returned in place.

    A plain function of plain values, so that it can run in a worker process.
    """
    if len(packets) > MAX_BATCH:
        raise LocalProtocolError("at most 256 packets in a batch", code="mix-size")
    results: list[Unwrapped | RemoteProtocolError] = []
    for packet in packets:
        try:
            results.append(unwrap(private_key, packet))
        except RemoteProtocolError as error:
            results.append(error)
    return results


def _arrived(address: bytes, surb_id: bytes, payload: bytes, tag: bytes) -> Unwrapped:
    if surb_id == NO_SURB:
        if payload[:ZERO_BYTES] != _ZEROS:
            raise RemoteProtocolError("mix payload was altered", code="mix-payload")
        return Delivered(address, payload[ZERO_BYTES:], tag)
    if address != NO_ADDRESS:
        raise RemoteProtocolError("mix routing block makes no sense", code="mix-routing")
    return Returned(surb_id, payload, tag)


def _derive(path: Sequence[Hop], ephemeral: bytes) -> tuple[bytes, list[HopKeys]]:
    """The first alpha, and the keys each hop will derive."""
    alpha = first = public_key(ephemeral)
    blinders: list[bytes] = []
    keys: list[HopKeys] = []
    for hop in path:
        secret = _own_exchange(ephemeral, hop.public_key)
        for blinder in blinders:
            secret = _own_exchange(blinder, secret)
        keys.append(HopKeys(secret))
        blinders.append(hashlib.sha256(alpha + secret).digest())
        alpha = _own_exchange(blinders[-1], alpha)
    return first, keys


def _own_exchange(scalar: bytes, element: bytes) -> bytes:
    try:
        return shared_secret(scalar, element)
    except RemoteProtocolError as exc:
        raise LocalProtocolError("a hop's public key is unusable", code="mix-key") from exc


def _filler(keys: Sequence[HopKeys]) -> bytes:
    """What the zeros appended by the hops before the last will have become there."""
    filler = b""
    for index, hop in enumerate(keys, start=1):
        start = BETA_BYTES - (index - 1) * BLOCK_BYTES
        data = bytes(start) + filler + bytes(BLOCK_BYTES)
        filler = aes_ctr(hop.cipher_key, hop.cipher_iv, data)[start:]
    return filler


def _check_path(path: Sequence[Hop], ephemeral: bytes, destination: bytes, surb_id: bytes) -> None:
    if not 1 <= len(path) <= MAX_HOPS:
        raise LocalProtocolError("a mix path has 1 to 5 hops", code="mix-path")
    sizes = (len(ephemeral), len(destination), len(surb_id))
    if sizes != (32, ADDRESS_BYTES, SURB_ID_BYTES):
        raise LocalProtocolError("wrong size of a mix packet's part", code="mix-size")
    for position, hop in enumerate(path):
        if len(hop.public_key) != 32 or len(hop.address) != ADDRESS_BYTES:
            raise LocalProtocolError("wrong size of a hop's key or address", code="mix-size")
        if position < len(path) - 1 and not 1 <= hop.delay_ms <= MAX_DELAY_MS:
            # Delay 0 is how deployed peers recognise the last hop.
            raise LocalProtocolError("a relay's delay is 1 to 65,535 ms", code="mix-delay")
        if position > 0 and hop.address == NO_ADDRESS:
            raise LocalProtocolError("a relay needs an address", code="mix-path")


assert PACKET_BYTES == HEADER_BYTES + PAYLOAD_BYTES
