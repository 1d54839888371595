"""The code that one person gives another: words to say, or a link to paste and scan.

Pure. Spec: specs/invite/invite-v1.md section 4.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import enum
import hashlib
import ipaddress
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Final, assert_never

from mnemonic import Mnemonic

from fogp2p.addresses import Multiaddr, parse_address, without_peer
from fogp2p.codec import encode
from fogp2p.ids import PeerId

from .config import MAX_NAMEPLATE, SECRET_BYTES, WORDS
from .errors import CodeError

__all__ = ["Code", "Kind", "Link", "Words", "parse_code", "password", "word_list"]

SCHEME: Final = "FOGP2P:"
# `FOGP2P:` and 112 characters of base32: a QR code of 45 columns and 23 rows in a terminal.
MAX_LINK_CHARACTERS: Final = 120
_MAX_LINK_BYTES: Final = 70
# Longer text is no code; people paste all kinds of things.
_MAX_TEXT: Final = 512
_ADDRESSES: Final = 2
_VERSION: Final = 1
_ED25519: Final = b"\x00\x24\x08\x01\x12\x20"
_SECP256K1: Final = b"\x00\x25\x08\x02\x12\x21"
_NO_ADDRESS, _IP4_TCP, _IP6_TCP = range(3)
_ADDRESS_BYTES: Final = {_NO_ADDRESS: 0, _IP4_TCP: 6, _IP6_TCP: 18}
_SEPARATORS: Final = re.compile(r"[\s\-_.,;:/+]+")
_DOMAIN: Final = "fog/invite/1"


class Kind(enum.Enum):
    """How an invite is handed over."""

    WORDS = "words"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Words:
    """A nameplate (1-999) and two words of the list. `repr` does not show the words."""

    nameplate: int
    words: tuple[str, ...] = field(repr=False)

    def __str__(self) -> str:
        return "-".join([str(self.nameplate), *self.words])


@dataclass(frozen=True, slots=True)
class Link:
    """Who invites, where it may be reached, and 16 secret bytes that `repr` does not show."""

    nameplate: int
    peer: PeerId
    secret: bytes = field(repr=False)
    addresses: tuple[Multiaddr, ...] = ()

    def __str__(self) -> str:
        return _write_link(self)


Code = Words | Link


@cache
def word_list() -> tuple[str, ...]:
    """The 2,048 English words of BIP 39: no two begin with the same four letters."""
    return tuple(Mnemonic("english").wordlist)


@cache
def _known_words() -> frozenset[str]:
    return frozenset(word_list())


def password(code: Code) -> bytes:
    """What both sides put into SPAKE2: the secret, bound to protocol, kind and nameplate."""
    match code:
        case Words():
            return encode([_DOMAIN, "words", code.nameplate, list(code.words)])
        case Link():
            return encode([_DOMAIN, "link", code.nameplate, code.secret])
        case _:
            assert_never(code)


def parse_code(text: str) -> Code:
    """Read what a person typed, pasted or scanned: upper and lower case, spaces and the like do
    not matter. Raises CodeError, which names the nearest word for one that is not on the list.
    """
    if len(text) > _MAX_TEXT:
        raise CodeError("too long for a code", hint=_EXAMPLE)
    plain = unicodedata.normalize("NFKC", text).strip().strip("'\"<>()[]`")
    if plain[: len(SCHEME)].upper() == SCHEME:
        return _read_link("".join(plain[len(SCHEME) :].split()).upper())
    return _read_words(plain.lower())


_EXAMPLE: Final = "a code looks like 7-copper-lake or FOGP2P:..."


def _read_words(text: str) -> Words:
    number, *words = [part for part in _SEPARATORS.split(text) if part] or [""]
    if not (number.isascii() and number.isdigit() and len(number) <= 6):
        raise CodeError("a code begins with a number", hint=_EXAMPLE)
    if not 1 <= int(number) <= MAX_NAMEPLATE:
        raise CodeError(f"the number of a code lies in 1-{MAX_NAMEPLATE}", hint=_EXAMPLE)
    for word in words:
        if word not in _known_words():
            near = difflib.get_close_matches(word[:16], word_list(), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else _EXAMPLE
            raise CodeError(f"{_shown(word)} is not on the list of words", hint=hint)
    if len(words) != WORDS:
        raise CodeError(f"a code has {WORDS} words after its number", hint=_EXAMPLE)
    return Words(int(number), tuple(words))


def _shown(word: str) -> str:
    return repr(word[:32])


def _write_link(link: Link) -> str:
    """What does not fit is left out: the peer can be found by its id as well."""
    key_type, key = _key_of(link.peer)
    body = link.nameplate.to_bytes(2) + link.secret + key
    kinds = [_NO_ADDRESS] * _ADDRESSES
    slot = 0
    for address in link.addresses:
        packed = _pack(address)
        if packed is None or 1 + len(body) + len(packed[1]) + 1 > _MAX_LINK_BYTES:
            continue
        kinds[slot], more = packed
        body += more
        slot += 1
        if slot == _ADDRESSES:
            break
    head = _VERSION << 5 | key_type << 4 | kinds[0] << 2 | kinds[1]
    data = bytes([head]) + body
    return SCHEME + base64.b32encode(data + _checksum(data)).decode("ascii").rstrip("=")


def _read_link(text: str) -> Link:
    data = _unpadded(text)
    head = data[0]
    if head >> 5 != _VERSION:
        raise CodeError("this link is of a newer version", hint="update this program")
    if _checksum(data[:-1]) != data[-1:]:
        raise CodeError("this link is damaged", hint="copy all of it, or scan it again")
    prefix = _SECP256K1 if head >> 4 & 1 else _ED25519
    rest = data[1:-1]
    nameplate, rest = int.from_bytes(rest[:2]), rest[2:]
    secret, rest = rest[:SECRET_BYTES], rest[SECRET_BYTES:]
    size = prefix[1] - 4
    key, rest = rest[:size], rest[size:]
    addresses: list[Multiaddr] = []
    for kind in (head >> 2 & 3, head & 3):
        if kind not in _ADDRESS_BYTES:
            raise CodeError("this link is of a newer version", hint="update this program")
        packed, rest = rest[: _ADDRESS_BYTES[kind]], rest[_ADDRESS_BYTES[kind] :]
        if len(packed) != _ADDRESS_BYTES[kind]:
            raise CodeError("this link is cut", hint="copy all of it, or scan it again")
        addresses += _unpack(kind, packed)
    if rest or len(key) != size or not 1 <= nameplate <= MAX_NAMEPLATE:
        raise CodeError("this link is cut", hint="copy all of it, or scan it again")
    return Link(nameplate, PeerId.from_bytes(prefix + key), secret, tuple(addresses))


def _unpadded(text: str) -> bytes:
    try:
        data = base64.b32decode(text + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError) as exc:
        raise CodeError("this link is damaged", hint="copy all of it, or scan it again") from exc
    if len(data) < 2 or len(data) > _MAX_LINK_BYTES:
        raise CodeError("this link is cut or too long", hint="copy all of it, or scan it again")
    if base64.b32encode(data).decode("ascii").rstrip("=") != text:
        raise CodeError("this link is damaged", hint="copy all of it, or scan it again")
    return data


def _checksum(data: bytes) -> bytes:
    """One byte: finds 255 of 256 slips of the finger. The pairing itself finds the others."""
    return hashlib.sha256(_DOMAIN.encode("ascii") + data).digest()[:1]


def _key_of(peer: PeerId) -> tuple[int, bytes]:
    if peer.ed25519 is not None:
        return 0, peer.ed25519
    if peer.secp256k1 is not None:
        return 1, peer.secp256k1
    raise CodeError("links name peers with Ed25519 or secp256k1 keys only", hint="invite by words")


def _pack(address: Multiaddr) -> tuple[int, bytes] | None:
    """The short form of /ip4|ip6/.../tcp/...; None for any other address."""
    parts = [(protocol.name, str(value)) for protocol, value in without_peer(address).items()]
    if len(parts) != 2 or parts[1][0] != "tcp" or parts[0][0] not in ("ip4", "ip6"):
        return None
    ip = ipaddress.ip_address(parts[0][1])
    kind = _IP4_TCP if ip.version == 4 else _IP6_TCP
    return kind, ip.packed + int(parts[1][1]).to_bytes(2)


def _unpack(kind: int, packed: bytes) -> Iterable[Multiaddr]:
    if kind == _NO_ADDRESS:
        return ()
    ip = ipaddress.ip_address(packed[:-2])
    return (parse_address(f"/ip{ip.version}/{ip}/tcp/{int.from_bytes(packed[-2:])}"),)
