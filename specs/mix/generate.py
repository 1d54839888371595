"""Print the vectors of address blocks, payloads and paths of 1-5 hops.

`packets.json` and `nim-literals.json` beside them were made by others and are never generated.
Run `python specs/mix/generate.py DIRECTORY`; CI compares the result with the files kept here.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fogp2p.errors import RemoteProtocolError
from fogp2p.ids import PeerId, ProtocolId
from fogp2p.protocols.mix import (
    Forward,
    Hop,
    NextHop,
    Relayed,
    ReplyBlock,
    build,
    decode_address,
    decode_forward,
    encode_address,
    encode_forward,
    make_reply_block,
    pad,
    unpad,
    unwrap,
)
from fogp2p.protocols.mix.primitives import public_key

CLASSIC = PeerId(bytes.fromhex("00250802122102") + bytes(range(1, 33)))
OTHER = PeerId(bytes.fromhex("00250802122103") + bytes(range(2, 34)))
ED25519 = PeerId(bytes.fromhex("002408011220") + bytes(range(32)))
HASHED = PeerId(bytes.fromhex("1220") + bytes(range(32)))


def main(target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name, document in (
        ("addresses", _addresses()),
        ("payloads", _payloads()),
        ("paths", _paths()),
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


def _addresses() -> dict[str, Any]:
    v4, v6 = ipaddress.ip_address("10.0.0.1"), ipaddress.ip_address("2001:db8::7")
    hops = [
        (False, NextHop(CLASSIC, v4, 4242)),
        (False, NextHop(CLASSIC, v4, 1, "quic-v1", OTHER)),
        (True, NextHop(ED25519, v6, 65535)),
        (True, NextHop(ED25519, v4, 80, "quic-v1", ED25519)),
        (True, NextHop(HASHED, v6, 4001, "tcp", CLASSIC)),
    ]
    valid = [
        {
            "extended": extended,
            "multiaddr": str(hop.to_multiaddr()),
            "encoded": encode_address(hop, extended=extended).hex(),
        }
        for extended, hop in hops
    ]
    good = encode_address(hops[0][1], extended=False)
    wide = encode_address(hops[2][1], extended=True)
    invalid = {
        "all zero": bytes(94),
        "93 bytes": good[:-1],
        "port 0": good[:5] + bytes(2) + good[7:],
        "unknown transport": good[:4] + b"\x02" + good[5:],
        "Ed25519 id in the classic form": good[:7] + ED25519.raw.ljust(39, b"\0") + good[46:],
        "bytes behind the end": good[:-1] + b"\1",
        "IPv4 beginning with 0": b"\0\2" + good[2:],
        "unknown kind of key": wide[:21] + b"\x07" + wide[22:],
        "extended with bytes behind the end": wide[:-1] + b"\1",
        "extended with unknown transport": wide[:2] + b"\x09" + wide[3:],
        "unspecified IPv6": wide[:5] + bytes(16) + wide[21:],
    }
    return {"valid": valid, "invalid": _invalid(decode_address, invalid)}


def _path(length: int) -> tuple[list[bytes], list[Hop]]:
    private = [hashlib.sha256(b"node %d" % n).digest() for n in range(length)]
    hops = [
        Hop(
            public_key(key),
            encode_address(
                NextHop(CLASSIC, ipaddress.IPv4Address(f"10.0.0.{n + 1}"), 4000 + n),
                extended=False,
            ),
            0 if n == length - 1 else 10 * (n + 1),
        )
        for n, key in enumerate(private)
    ]
    return private, hops


def _paths() -> dict[str, Any]:
    transcript = []
    for length in range(1, 6):
        private, hops = _path(length)
        ephemeral = hashlib.sha256(b"ephemeral %d" % length).digest()
        message = pad(b"hello after %d hops" % length)
        packet = build(hops, message, ephemeral=ephemeral)
        steps = []
        current = packet
        for key in private:
            result = unwrap(key, current)
            steps.append(
                {"packet_sha256": hashlib.sha256(current).hexdigest(), "tag": result.tag.hex()}
            )
            if isinstance(result, Relayed):
                current = result.packet
        transcript.append(
            {
                "private_keys": [key.hex() for key in private],
                "addresses": [hop.address.hex() for hop in hops],
                "delays_ms": [hop.delay_ms for hop in hops],
                "ephemeral": ephemeral.hex(),
                "data": unpad(message).hex(),
                "header": packet[:624].hex(),
                "steps": steps,
            }
        )
    return {"transcript": transcript}


def _payloads() -> dict[str, Any]:
    _, hops = _path(3)
    block, _ = make_reply_block(
        hops, ephemeral=b"\5" * 32, surb_id=b"\6" * 16, reply_key=b"\7" * 16
    )
    forwards = [
        Forward(ProtocolId("/test/1.0.0"), b"hello mix"),
        Forward(ProtocolId("/" + "x" * 126), b""),
        Forward(ProtocolId("/test/1.0.0"), b"answer me", (block, block)),
    ]
    valid = [
        {
            "protocol": forward.protocol,
            "reply_blocks": [b.to_bytes().hex() for b in forward.reply_blocks],
            "body": forward.body.hex(),
            "encoded": encode_forward(forward).hex(),
        }
        for forward in forwards
    ]
    invalid = {
        "empty": b"",
        "two-byte length of zero": bytes.fromhex("8000"),
        "name cut short": bytes.fromhex("0500"),
        "no reply block count": b"\x02/a",
        "six reply blocks": b"\x02/a\x06" + bytes(6 * 734),
        "reply block cut short": b"\x02/a\x01" + bytes(733),
        "reply block without an address": b"\x02/a\x01" + bytes(734),
        "name not ASCII": b"\x02/\xff\x00",
        "name without a slash": b"\x02aa\x00",
    }
    short = ReplyBlock.from_bytes
    padding = {
        "longer than the message": b"\xff\xff" + bytes(3966),
        "zeros that are not": b"\x00\x02\x00\x01" + bytes(3964),
        "wrong size": bytes(3967),
    }
    return {
        "valid": valid,
        "invalid": _invalid(decode_forward, invalid),
        "invalid_padding": _invalid(unpad, padding),
        "invalid_reply_block": _invalid(short, {"733 bytes": b"\1" * 733, "zero": bytes(734)}),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
