"""Print the vectors of the BitChat wire. Made by this implementation from the specification; the
apps publish none for these formats. Run `python specs/bitchat/generate.py DIRECTORY`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from fogp2p.errors import RemoteProtocolError
from fogp2p.protocols.bitchat import (
    Announce,
    Packet,
    PacketType,
    PrivateMessage,
    SyncRequest,
    build_filter,
    decode_announce,
    decode_packet,
    decode_private_message,
    encode_announce,
    encode_private_message,
    fingerprint,
    packet_id,
    peer_id,
    split,
)
from fogp2p.protocols.bitchat.sync import decode_sync_request, encode_sync_request

SIGNING = SigningKey(bytes(range(32)))
NOISE_KEY = bytes(range(100, 132))
SENDER = peer_id(NOISE_KEY)
WHEN = 1_700_000_000_000


def main(target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name, document in (
        ("packets", _packets()),
        ("messages", _messages()),
        ("sync", _sync()),
        ("fragments", _fragments()),
    ):
        text = json.dumps(document, indent=1, sort_keys=True) + "\n"
        (target / f"{name}.json").write_text(text, encoding="ascii")


def _code(read: Callable[[bytes], object], data: bytes) -> str:
    try:
        read(data)
    except RemoteProtocolError as exc:
        return exc.code
    raise AssertionError(f"an invalid vector was accepted: {data.hex()}")


def _invalid(read: Callable[[bytes], object], cases: dict[str, bytes]) -> list[dict[str, str]]:
    return [{"name": n, "encoded": d.hex(), "code": _code(read, d)} for n, d in cases.items()]


def _packet(kind: PacketType, payload: bytes, **fields: Any) -> Packet:
    return Packet.create(kind, payload, sender=SENDER, timestamp_ms=WHEN, **fields)


def _packets() -> dict[str, Any]:
    built = {
        "public message": _packet(PacketType.MESSAGE, b"hello"),
        "leave": _packet(PacketType.LEAVE, b""),
        "compressed message": _packet(PacketType.MESSAGE, b"hello again " * 20),
        "padded handshake": _packet(PacketType.NOISE_HANDSHAKE, bytes(32), recipient=b"\2" * 8),
        "version 2 with a route": _packet(
            PacketType.NOISE_ENCRYPTED,
            bytes(range(64)),
            recipient=b"\2" * 8,
            route=(b"\3" * 8, b"\4" * 8),
            version=2,
        ),
    }
    valid = []
    for name, packet in built.items():
        signed = packet.signed(lambda data: bytes(SIGNING.sign(data).signature))
        valid.append(
            {
                "name": name,
                "encoded": signed.encode().hex(),
                "version": packet.version,
                "type": int(packet.type),
                "ttl": packet.ttl,
                "timestamp_ms": packet.timestamp_ms,
                "sender": packet.sender.hex(),
                "recipient": packet.recipient.hex() if packet.recipient else None,
                "route": [hop.hex() for hop in packet.route],
                "payload": packet.payload.hex(),
                "compressed": packet.compressed is not None,
                "preimage": packet.signing_preimage().hex(),
                "signing_key": bytes(SIGNING.verify_key).hex(),
                "packet_id": packet_id(packet).hex(),
            }
        )
    plain = built["public message"].encode()
    squeezed = built["compressed message"].encode()
    invalid = {
        "empty": b"",
        "version 0": b"\0" + plain[1:],
        "version 3": b"\3" + plain[1:],
        "cut in the header": plain[:20],
        "cut in the payload": plain[:-1],
        "signature announced and missing": plain[:11] + b"\x02" + plain[12:],
        "recipient announced and missing": plain[:11] + b"\x01" + plain[12:],
        "compressed without a size": plain[:11]
        + b"\x04"
        + plain[12:13]
        + b"\1"
        + plain[14:22]
        + b"\0",
        "another size than declared": squeezed[:23] + bytes([squeezed[23] ^ 1]) + squeezed[24:],
    }
    return {
        "valid": valid,
        "invalid": _invalid(decode_packet, invalid),
        "identity": {
            "noise_key": NOISE_KEY.hex(),
            "fingerprint": fingerprint(NOISE_KEY),
            "peer_id": SENDER.hex(),
        },
    }


def _messages() -> dict[str, Any]:
    announce = Announce(
        "Zoë",
        NOISE_KEY,
        bytes(SIGNING.verify_key),
        neighbours=(b"\2" * 8,),
        capabilities=0x0329,
        geohash="u33db2",
        unknown=((0x7F, b"later"),),
    )
    message = PrivateMessage("9F2C", "grüße")
    encoded = encode_announce(announce)
    invalid = {
        "no nickname": encoded[6:],
        "field past the end": encoded[:-1],
        "Noise key of 31 bytes": b"\1\0\2\x1f" + bytes(31) + b"\3\x20" + bytes(32),
        "nickname not UTF-8": b"\1\1\xff\2\x20" + bytes(32) + b"\3\x20" + bytes(32),
    }
    return {
        "announce": {
            "nickname": announce.nickname,
            "noise_key": announce.noise_key.hex(),
            "signing_key": announce.signing_key.hex(),
            "neighbours": [n.hex() for n in announce.neighbours],
            "capabilities": announce.capabilities,
            "geohash": announce.geohash,
            "unknown": [[kind, value.hex()] for kind, value in announce.unknown],
            "encoded": encoded.hex(),
        },
        "private_message": {
            "message_id": message.message_id,
            "content": message.content,
            "encoded": encode_private_message(message).hex(),
        },
        "invalid_announce": _invalid(decode_announce, invalid),
        "invalid_private_message": _invalid(
            decode_private_message,
            {
                "unknown field": b"\0\1i\1\1c\2\0",
                "no content": b"\0\1i",
                "content not UTF-8": b"\0\1i\1\1\xff",
            },
        ),
    }


def _sync() -> dict[str, Any]:
    identifiers = [bytes([n]) * 16 for n in range(20)]
    valid = []
    for ids in ([], identifiers[:1], identifiers):
        made, data, count = build_filter(ids)
        request = SyncRequest(
            made,
            data,
            frozenset({PacketType.MESSAGE, PacketType.GROUP_MESSAGE}),
            WHEN,
            (b"\5" * 8,),
        )
        valid.append(
            {
                "ids": [identifier.hex() for identifier in ids],
                "held": count,
                "p": made.p,
                "modulus": made.modulus,
                "values": sorted(made.values),
                "data": data.hex(),
                "encoded": encode_sync_request(request).hex(),
            }
        )
    head = bytes.fromhex("01000107")
    invalid = {
        "no filter": head + bytes.fromhex("02000400000100"),
        "P is 0": bytes.fromhex("0100010002000400000100030000"),
        "P is 33": bytes.fromhex("0100012102000400000100030000"),
        "modulus is 0": head + bytes.fromhex("02000400000000030000"),
        "filter of 1,025 bytes": head + bytes.fromhex("02000400000100030401") + bytes(1025),
    }
    return {"valid": valid, "invalid": _invalid(decode_sync_request, invalid)}


def _fragments() -> dict[str, Any]:
    whole = Packet.create(
        PacketType.MESSAGE, bytes(range(256)) * 4, sender=SENDER, timestamp_ms=WHEN
    )
    whole = replace(whole, compressed=None)
    pieces = list(split(whole, fragment_id=b"\6" * 8))
    return {
        "transcript": [
            {
                "inner": whole.encode().hex(),
                "fragment_id": (b"\6" * 8).hex(),
                "frames": [piece.encode().hex() for piece in pieces],
            }
        ]
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
