"""The identify protocol: what a peer says of itself, cut to size before it is believed.

Spec: libp2p/specs identify/README.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from google.protobuf.message import DecodeError

from fogp2p.addresses import Multiaddr, Scope, believable, parse_address, without_peer
from fogp2p.errors import LocalProtocolError, RemoteProtocolError
from fogp2p.framing import FrameDecoder, ReadsSome, encode_frame, read_frame
from fogp2p.host import PeerIdentified
from fogp2p.ids import PeerId, ProtocolId, protocol_id
from fogp2p.limits import KIB

from .generated import Identify

__all__ = [
    "IDENTIFY",
    "MAX_BYTES",
    "PUSH",
    "PUSH_INTERVAL_S",
    "decode",
    "encode",
    "frame",
    "read_one",
]

IDENTIFY: Final = ProtocolId("/ipfs/id/1.0.0")
PUSH: Final = ProtocolId("/ipfs/id/push/1.0.0")
# A peer with 100 protocols and 50 addresses needs about 6 KiB.
MAX_BYTES: Final = 64 * KIB
# More often than this a peer's news are ignored.
PUSH_INTERVAL_S: Final = 30.0
_MAX_AGENT_CHARS: Final = 64
_MAX_PROTOCOLS: Final = 128
# Addresses looked at; of these `believable` keeps a few.
_MAX_LOOKED_AT: Final = 64
_PROTOCOL_VERSION: Final = "ipfs/0.1.0"


def encode(
    peer: PeerId,
    agent: str,
    protocols: Iterable[ProtocolId],
    addresses: Iterable[Multiaddr],
    observed: Multiaddr | None,
) -> bytes:
    """What we say of ourselves; `observed` is where we see the asker."""
    message = Identify(
        protocol_version=_PROTOCOL_VERSION,
        agent_version=agent,
        public_key=peer.key_protobuf or b"",
        listen_addrs=[without_peer(address).to_bytes() for address in addresses],
        protocols=list(protocols),
    )
    if observed is not None:
        message.observed_addr = without_peer(observed).to_bytes()
    return bytes(message.SerializeToString())


def frame(message: bytes) -> bytes:
    """The message behind its length, as it travels."""
    return encode_frame(message, max_bytes=MAX_BYTES)


async def read_one(stream: ReadsSome) -> bytes:
    """The one message on an identify stream. Raises RemoteProtocolError."""
    message = await read_frame(stream, FrameDecoder(max_bytes=MAX_BYTES))
    if message is None:
        raise RemoteProtocolError("empty identify stream", code="identify")
    return message


def decode(peer: PeerId, data: bytes, source: Scope) -> PeerIdentified:
    """Read what `peer` says of itself; `source` is how far away it is.

    Control characters in the agent name are replaced and everything is cut to limits; addresses we
    may not dial from here are dropped. A signed peer record inside is ignored: nothing is believed
    for it. Raises RemoteProtocolError("identify").
    """
    if len(data) > MAX_BYTES:
        raise RemoteProtocolError("identify message too long", code="identify")
    try:
        message = Identify.FromString(data)
    except DecodeError as exc:
        raise RemoteProtocolError("not an identify message", code="identify") from exc
    agent = "".join(c if c.isprintable() else "\ufffd" for c in _text(message.agent_version))
    return PeerIdentified(
        peer,
        agent[:_MAX_AGENT_CHARS],
        tuple(_protocols(message.protocols)),
        believable(_addresses(message.listen_addrs), source=source),
    )


def _text(value: str | bytes) -> str:
    """protobuf hands out bytes for a text field that is not UTF-8."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _protocols(names: Iterable[str | bytes]) -> list[ProtocolId]:
    kept: list[ProtocolId] = []
    for name in names:
        try:
            kept.append(protocol_id(_text(name)))
        except LocalProtocolError:
            continue
        if len(kept) == _MAX_PROTOCOLS:
            break
    return kept


def _addresses(raw: Iterable[bytes]) -> list[Multiaddr]:
    found: list[Multiaddr] = []
    for index, item in enumerate(raw):
        if index == _MAX_LOOKED_AT:
            break
        try:
            found.append(parse_address(item))
        except RemoteProtocolError:
            continue
    return found
