"""mDNS packets of libp2p: building and reading them. zeroconf is the codec and nothing else."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from zeroconf import (
    DNSAddress,
    DNSIncoming,
    DNSOutgoing,
    DNSPointer,
    DNSQuestion,
    DNSRecord,
    DNSService,
    DNSText,
)
from zeroconf.const import (
    _CLASS_IN,
    _CLASS_UNIQUE,
    _FLAGS_AA,
    _FLAGS_QR_QUERY,
    _FLAGS_QR_RESPONSE,
    _TYPE_A,
    _TYPE_AAAA,
    _TYPE_ANY,
    _TYPE_PTR,
    _TYPE_SRV,
    _TYPE_TXT,
)

from fogp2p.addresses import Multiaddr, parse_address, peer_of, without_peer
from fogp2p.errors import RemoteProtocolError
from fogp2p.ids import PeerId

from .config import MAX_RECEIVE_BYTES, MAX_RECORDS, MAX_SEND_BYTES, MAX_TXT_BYTES

__all__ = [
    "Announcement",
    "Query",
    "announcement",
    "content_label",
    "content_query",
    "parse",
    "query",
]

_KEY: Final = b"dnsaddr="
# Implementations before the specification was followed to the letter number the keys.
_NUMBERED: Final = b"dnsaddr"
_LABEL_BYTES: Final = 20
_LABEL_CHARS: Final = 32
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Query:
    """Somebody asks who is there; `known` are the names it has heard of already.

    Or, instead of everybody, who has the contents with `labels`.
    """

    known: frozenset[str]
    labels: frozenset[str] = frozenset()
    is_for_all: bool = True


@dataclass(frozen=True, slots=True)
class Announcement:
    """Somebody says it is there. `ttl_s` 0 means it is leaving.

    With a `label` it says instead that it has that content.
    """

    name: str
    ttl_s: int
    peer: PeerId
    addresses: tuple[Multiaddr, ...]
    label: str = ""


def content_label(key: bytes) -> str:
    """What a content is called on a LAN: who does not know `key` learns nothing from it.

    32 small base32 digits of SHA-256(key) (specs/blob section 6).
    """
    digest = hashlib.sha256(key).digest()[:_LABEL_BYTES]
    return base64.b32encode(digest).decode("ascii").lower()


def _subtype(service: str, label: str) -> str:
    """The DNS-SD subtype of those that have a content (RFC 6763 section 7.1)."""
    return f"_{label}._sub.{service}"


def _label_of(name: str, service: str) -> str | None:
    """The label of a subtype of `service` (small letters); "" for the service, None for others."""
    if name == service:
        return ""
    label, separator, rest = name.partition("._sub.")
    is_label = separator and rest == service and len(label) == 1 + _LABEL_CHARS
    return label[1:] if is_label and label[0] == "_" else None


def query(service: str, known: Sequence[tuple[str, int]] = ()) -> bytes:
    """The question for `service`, with names known already and their remaining TTLs."""
    out = DNSOutgoing(_FLAGS_QR_QUERY)
    out.add_question(DNSQuestion(service, _TYPE_PTR, _CLASS_IN))
    for name, ttl in known:
        out.add_answer_at_time(DNSPointer(service, _TYPE_PTR, _CLASS_IN, ttl, name), 0)
    return bytes(out.packets()[0])


def content_query(service: str, label: str) -> bytes:
    """The question who has a content."""
    out = DNSOutgoing(_FLAGS_QR_QUERY)
    out.add_question(DNSQuestion(_subtype(service, label), _TYPE_PTR, _CLASS_IN))
    return bytes(out.packets()[0])


def announcement(
    service: str,
    name: str,
    addresses: Sequence[Multiaddr],
    ip: IpAddress,
    ttl_s: int,
    label: str = "",
) -> bytes:
    """PTR and TXT as the specification wants them, and SRV and an address record besides.

    With a `label`: the answer to `content_query`.

    The latter two are for implementations that resolve a service the usual way. Addresses that do
    not fit are left out.
    """
    full = f"{name}.{service}"
    host = f"{name}.p2p.local."
    out = DNSOutgoing(_FLAGS_QR_RESPONSE | _FLAGS_AA)
    unique = _CLASS_IN | _CLASS_UNIQUE
    kind_of = _subtype(service, label) if label else service
    out.add_answer_at_time(DNSPointer(kind_of, _TYPE_PTR, _CLASS_IN, ttl_s, full), 0)
    out.add_additional_answer(DNSText(full, _TYPE_TXT, unique, ttl_s, _text(addresses)))
    port = next((_port(address) for address in addresses), 0)
    out.add_additional_answer(DNSService(full, _TYPE_SRV, unique, ttl_s, 0, 0, port, host))
    kind = _TYPE_A if ip.version == 4 else _TYPE_AAAA
    out.add_additional_answer(DNSAddress(host, kind, unique, ttl_s, ip.packed))
    return bytes(out.packets()[0])


def _text(addresses: Sequence[Multiaddr]) -> bytes:
    text = b""
    for address in addresses:
        item = _KEY + str(address).encode("ascii")
        # Half the packet is for names and the other records.
        if len(item) <= MAX_TXT_BYTES and len(text) + 1 + len(item) <= MAX_SEND_BYTES - 500:
            text += bytes((len(item),)) + item
    return text


def _port(address: Multiaddr) -> int:
    for protocol, value in address.items():
        if protocol.name in ("tcp", "udp"):
            return int(str(value))
    return 0


def parse(packet: bytes, service: str) -> Query | tuple[Announcement, ...]:
    """Read a packet; what is not about `service` is left out.

    Raises RemoteProtocolError("mdns") for a packet that is malformed or too large.
    """
    if len(packet) > MAX_RECEIVE_BYTES:
        raise RemoteProtocolError("mDNS packet too large", code="mdns")
    try:
        message = DNSIncoming(packet)
        records = message.answers()[:MAX_RECORDS] if message.valid else []
        questions = message.questions[:MAX_RECORDS]
    except (ValueError, IndexError, KeyError, UnicodeError, RecursionError) as exc:
        raise RemoteProtocolError("malformed mDNS packet", code="mdns") from exc
    if not message.valid:
        raise RemoteProtocolError("malformed mDNS packet", code="mdns")
    wanted = service.lower()
    if message.is_query():
        return _asked(questions, records, wanted)
    pointers = [
        (record.alias.lower(), int(record.ttl), label)
        for record in records
        if isinstance(record, DNSPointer)
        and (label := _label_of(record.name.lower(), wanted)) is not None
    ]
    texts = {record.name.lower(): record for record in records if isinstance(record, DNSText)}
    return tuple(
        found
        for name, ttl, label in dict.fromkeys(pointers)
        if name in texts
        for found in _announced(texts[name], ttl, label)
    )


def _asked(
    questions: Sequence[DNSQuestion], records: Sequence[DNSRecord], wanted: str
) -> Query | tuple[Announcement, ...]:
    labels = {
        label
        for question in questions
        if question.type in (_TYPE_PTR, _TYPE_ANY)
        and (label := _label_of(question.name.lower(), wanted)) is not None
    }
    known = frozenset(
        record.alias.lower()
        for record in records
        if isinstance(record, DNSPointer) and record.name.lower() == wanted
    )
    return Query(known, frozenset(labels - {""}), "" in labels) if labels else ()


def _announced(record: DNSText, ttl_s: int, label: str) -> list[Announcement]:
    by_peer: dict[PeerId, list[Multiaddr]] = {}
    for address in _strings(record.text):
        try:
            parsed = parse_address(address)
            peer = peer_of(parsed)
        except RemoteProtocolError:
            continue
        if peer is not None:
            by_peer.setdefault(peer, []).append(without_peer(parsed))
    name = record.name.lower()
    return [Announcement(name, ttl_s, peer, tuple(found), label) for peer, found in by_peer.items()]


def _strings(text: bytes) -> list[str]:
    """The multiaddrs in a TXT record; the same key may be repeated, and often is."""
    found: list[str] = []
    at = 0
    while at < len(text):
        item = text[at + 1 : at + 1 + text[at]]
        at += 1 + text[at]
        key, _, value = item.partition(b"=")
        if key.startswith(_NUMBERED) and key[len(_NUMBERED) :].isdigit() | (key == _NUMBERED):
            try:
                found.append(value.decode("ascii"))
            except UnicodeDecodeError:
                continue
    return found
