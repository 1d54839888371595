"""What a peer says of itself, signed: made here, and read here as received.

Spec: specs/registry/registry-v1.md, sections 3 and 4.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from fogp2p.addresses import Multiaddr, parse_address, without_peer
from fogp2p.codec import Schema, decode, encode
from fogp2p.errors import LocalProtocolError, RemoteProtocolError
from fogp2p.ids import PeerId
from fogp2p.limits import ADDRESSES_PER_PEER

from .config import (
    MAX_ENVELOPE_BYTES,
    MAX_ITEMS,
    MAX_LIFETIME_S,
    MAX_NAME_BYTES,
    MAX_SEQUENCE,
    MAX_SOFTWARE_CHARS,
    SKEW_S,
)
from .envelope import Envelope, Sign, Verify, seal

__all__ = ["DOMAIN", "PAYLOAD_TYPE", "Claim", "Descriptor", "OwnFacts", "is_name", "role_key"]

DOMAIN: Final = b"fog-node-descriptor"
PAYLOAD_TYPE: Final = b"/fog/node-descriptor"
# Keys whose form this version knows: X25519 (mix), and the BitChat fingerprint of the Noise key.
_KEY_BYTES: Final[Mapping[str, int]] = {"mix": 32, "mix-next": 32, "noise-fingerprint": 32}
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]*")


def is_name(text: str) -> bool:
    """Whether `text` can name a role, key, capacity or extension (REG-012)."""
    return len(text) <= MAX_NAME_BYTES and _NAME.fullmatch(text) is not None


def role_key(role: str) -> bytes:
    """The multihash under which peers of `role` announce themselves in the DHT."""
    return b"\x12\x20" + hashlib.sha256(b"fog-registry/role/" + role.encode("utf-8")).digest()


@dataclass(frozen=True, slots=True)
class OwnFacts:
    """What this peer has to say of itself. Limits as in specs/registry.

    `keys` are public ones; `epoch` is the mix epoch they are for, 0 for none. `capacity` counts
    what its name says (`cpu-cores`, `memory-mib`, `kbit-s`).
    """

    addresses: tuple[Multiaddr, ...] = ()
    roles: frozenset[str] = frozenset()
    keys: Mapping[str, bytes] = field(default_factory=dict)
    epoch: int = 0
    capacity: Mapping[str, int] = field(default_factory=dict)
    software: str = ""
    stake: bytes | None = None
    extensions: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A description that its peer signed. `raw` is the envelope as received.

    Dates are seconds since 1970-01-01 UTC. `content` is the SHA-256 of what was signed: the
    signature itself may have several forms. Thousands are held, so what has no fixed shape
    (`extensions`) is only read when it is asked for: a hostile kilobyte makes 60 of objects.
    """

    peer: PeerId
    sequence: int
    issued: int
    expires: int
    addresses: tuple[bytes, ...]
    roles: tuple[str, ...]
    keys: Mapping[str, bytes] = field(hash=False)
    epoch: int
    capacity: Mapping[str, int] = field(hash=False)
    software: str
    stake: bytes | None
    content: bytes
    raw: bytes = field(repr=False)

    @classmethod
    def make(
        cls, peer: PeerId, facts: OwnFacts, *, sequence: int, issued: int, expires: int, sign: Sign
    ) -> Descriptor:
        """Sign our own facts.

        Raises LocalProtocolError("registry-own") when they break a rule that a reader would refuse.
        """
        payload = encode(_own(peer, facts, sequence, issued, expires))
        raw = seal(peer, DOMAIN, PAYLOAD_TYPE, payload, sign)
        try:
            return Claim.from_bytes(raw, now=issued).descriptor
        except RemoteProtocolError as exc:
            raise LocalProtocolError(
                f"this cannot be said in a descriptor: {exc}", code="registry-own"
            ) from exc

    def multiaddrs(self) -> tuple[Multiaddr, ...]:
        """The addresses that can be read. Hints: whom one may dial is for `believable` to say."""
        found = []
        for raw in self.addresses:
            try:
                found.append(parse_address(raw))
            except RemoteProtocolError:
                continue
        return tuple(found)

    def extensions(self) -> Mapping[str, Any]:
        """Members that others than this specification define, by name."""
        value = _value(Envelope.from_bytes(self.raw).payload)
        return MappingProxyType(value.get(12, {}))

    def says_the_same(self, facts: OwnFacts) -> bool:
        """Whether these facts are what the descriptor already says."""
        return _facts(self) == _facts_of_own(facts)


@dataclass(frozen=True, slots=True)
class Claim:
    """A descriptor that obeys every rule except that its signature has not been checked yet."""

    descriptor: Descriptor
    _envelope: Envelope

    @classmethod
    def from_bytes(cls, data: bytes, *, now: float) -> Claim:
        """Read an envelope; `now` is the date by our clock.

        Raises RemoteProtocolError with the codes of specs/registry section 7. What costs little is
        checked first.
        """
        if len(data) > MAX_ENVELOPE_BYTES:
            raise _refused("size", f"more than {MAX_ENVELOPE_BYTES} bytes")
        envelope = Envelope.from_bytes(data)
        if envelope.payload_type != PAYLOAD_TYPE:
            raise _refused("type", "an envelope of something else")
        payload = envelope.payload
        value = _value(payload)
        if value[1] != envelope.signer.raw:
            raise _refused("peer", "it describes another peer than the one that signed it")
        _check_dates(value[3], value[4], now)
        _check_names(value)
        return cls(_descriptor(envelope.signer, value, payload, data), envelope)

    def prove(self, verify: Verify) -> Descriptor:
        """Check the signature, once. Raises RemoteProtocolError("registry-signature")."""
        if not self._envelope.is_signed(DOMAIN, verify):
            raise _refused("signature", "its peer did not sign it")
        return self.descriptor


def _value(payload: bytes) -> Any:
    schema = Schema.load("registry/v1.cddl", "descriptor")
    return decode(payload, schema=schema, max_bytes=MAX_ENVELOPE_BYTES, max_items=MAX_ITEMS)


def _own(peer: PeerId, facts: OwnFacts, sequence: int, issued: int, expires: int) -> dict[Any, Any]:
    if not 0 <= sequence <= MAX_SEQUENCE:
        raise LocalProtocolError("the sequence has run out", code="registry-own")
    addresses, roles, keys, epoch, capacity, software, stake, extensions = _facts_of_own(facts)
    value: dict[Any, Any] = {
        1: peer.raw,
        2: sequence,
        3: issued,
        4: expires,
        5: list(addresses),
        6: list(roles),
        7: keys,
        8: epoch,
        9: capacity,
        10: software,
    }
    if stake is not None:
        value[11] = stake
    if extensions:
        value[12] = extensions
    return value


_Facts = tuple[
    tuple[bytes, ...],
    tuple[str, ...],
    dict[str, bytes],
    int,
    dict[str, int],
    str,
    bytes | None,
    dict[str, Any],
]


def _facts_of_own(facts: OwnFacts) -> _Facts:
    addresses = dict.fromkeys(without_peer(each).to_bytes() for each in facts.addresses)
    return (
        tuple(addresses)[:ADDRESSES_PER_PEER],
        tuple(sorted(facts.roles)),
        dict(facts.keys),
        facts.epoch,
        dict(facts.capacity),
        _printable(facts.software[:MAX_SOFTWARE_CHARS]),
        facts.stake,
        dict(facts.extensions),
    )


def _facts(said: Descriptor) -> _Facts:
    return (
        said.addresses,
        said.roles,
        dict(said.keys),
        said.epoch,
        dict(said.capacity),
        said.software,
        said.stake,
        dict(said.extensions()),
    )


def _descriptor(peer: PeerId, value: Any, payload: bytes, raw: bytes) -> Descriptor:
    return Descriptor(
        peer=peer,
        sequence=value[2],
        issued=value[3],
        expires=value[4],
        addresses=tuple(value[5]),
        roles=tuple(value[6]),
        keys=MappingProxyType(value[7]),
        epoch=value[8],
        capacity=MappingProxyType(value[9]),
        software=_printable(value[10]),
        stake=value.get(11),
        content=hashlib.sha256(payload).digest(),
        raw=bytes(raw),
    )


def _check_dates(issued: int, expires: int, now: float) -> None:
    if not issued < expires <= issued + MAX_LIFETIME_S:
        raise _refused("lifetime", f"it lives for up to {MAX_LIFETIME_S} s from when it was issued")
    # Together with the lifetime this bounds `expires` to an hour and two minutes from now.
    if issued > now + SKEW_S:
        raise _refused("future", "it was issued in the future")
    if expires <= now:
        raise _refused("expired", "it has expired")


def _check_names(value: Any) -> None:
    roles = value[6]
    if any(one >= other for one, other in itertools.pairwise(roles)):
        raise _refused("form", "roles are not ascending")
    for name in (*roles, *value[7], *value[9], *value.get(12, ())):
        if not is_name(name):
            raise _refused("form", "a name of other characters than a-z, 0-9, dot and hyphen")
    for name, key in value[7].items():
        if _KEY_BYTES.get(name, len(key)) != len(key):
            raise _refused("form", f"a {name} key of another length")


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _refused(code: str, what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"not a usable descriptor: {what}", code=f"registry-{code}")
