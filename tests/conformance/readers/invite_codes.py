"""specs/invite section 4: what a code says, and the password that follows from it."""

import base64
import hashlib
import ipaddress
import re
import unicodedata

import base58
import cbor2

DOMAIN = "fog/invite/1"


def read_code(text: str) -> dict:
    text = unicodedata.normalize("NFKC", text).strip()
    if text[:7].upper() != "FOGP2P:":
        number, *words = [part for part in re.split(r"[\s\-_.,]+", text.lower()) if part]
        password = cbor2.dumps([DOMAIN, "words", int(number), words], canonical=True)
        return {"kind": "words", "nameplate": int(number), "words": words, "password": password}
    body = "".join(text[7:].split()).upper()
    data = base64.b32decode(body + "=" * (-len(body) % 8))
    head, data, check = data[0], data[:-1], data[-1:]
    assert head >> 5 == 1 and hashlib.sha256(DOMAIN.encode() + data).digest()[:1] == check
    nameplate, secret = int.from_bytes(data[1:3], "big"), data[3:19]
    size = 33 if head & 16 else 32
    key, rest = data[19 : 19 + size], data[19 + size :]
    protobuf = bytes([8, 2 if head & 16 else 1, 18, size]) + key
    addresses = []
    for kind in (head >> 2 & 3, head & 3):
        length = {0: 0, 1: 6, 2: 18}[kind]
        packed, rest = rest[:length], rest[length:]
        if packed:
            ip = ipaddress.ip_address(packed[:-2])
            port = int.from_bytes(packed[-2:], "big")
            addresses.append(f"/ip{ip.version}/{ip}/tcp/{port}")
    assert not rest
    return {
        "kind": "link",
        "nameplate": nameplate,
        "secret": secret.hex(),
        "peer": base58.b58encode(bytes([0, len(protobuf)]) + protobuf).decode(),
        "addresses": addresses,
        "password": cbor2.dumps([DOMAIN, "link", nameplate, secret], canonical=True),
    }
