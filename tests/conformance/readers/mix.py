"""specs/mix: three hops unwrap the model's packet, and LIONESS opens its message."""

import hashlib
import hmac
import json
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from nacl.bindings import crypto_scalarmult

ALPHA, BETA, GAMMA, ADDRESS = 32, 576, 16, 94


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def ctr(key, block, data):
    return Cipher(algorithms.AES(key), modes.CTR(block)).encryptor().update(data)


def xor(one, other):
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def lioness_decrypt(seed, data):
    keys = [sha(b"lioness_key%d" % n, seed) for n in range(1, 5)]
    left, right = data[:32], data[32:]
    for n in (3, 2, 1, 0):
        if n % 2:
            left = xor(left, sha(keys[n], right))
        else:
            key = xor(keys[n], left)
            right = ctr(key[:16], key[16:], right)
    return left + right


def unwrap(private, packet):
    """(replay tag, routing block, next packet) of one hop."""
    alpha, beta = packet[:ALPHA], packet[ALPHA : ALPHA + BETA]
    gamma = packet[ALPHA + BETA : ALPHA + BETA + GAMMA]
    delta = packet[ALPHA + BETA + GAMMA :]
    s = crypto_scalarmult(private, alpha)
    aes, iv, mac = (sha(label, s)[:16] for label in (b"aes_key", b"iv", b"mac_key"))
    assert hmac.digest(mac, beta, "sha256")[:16] == gamma
    block = ctr(aes, iv, beta + bytes(112))
    delta = lioness_decrypt(sha(b"payload_enc_key", s), delta)
    following = crypto_scalarmult(sha(alpha, s), alpha) + block[112:] + block[96:112] + delta
    return sha(s), block, following


def check(folder: Path) -> int:
    model = json.loads((folder / "packets.json").read_text("utf-8"))
    case = model["forward_v2"]
    packet, done = bytes.fromhex(case["packet_hex"]), 0
    assert len(packet) == 4_608
    for number, private in enumerate(map(bytes.fromhex, model["node_private_keys"])):
        tag, block, packet = unwrap(private, packet)
        step = case["hop_steps"][number]
        assert tag.hex() == case["replay_tags_H_s"][number]
        if step["kind"] == "fwd":
            assert block[:ADDRESS].hex() == step["next"]
            assert int.from_bytes(block[94:96], "big") == step["delay"]
            assert sha(packet).hex() == step["out_sha256"]
        else:
            assert block[:ADDRESS].hex() == step["dest"] and block[94:112] == bytes(18)
            delta = packet[ALPHA + BETA + GAMMA :]
            message = delta[16:]
            assert delta[:16] == bytes(16) and sha(message).hex() == step["msg_sha256"]
            zeros = int.from_bytes(message[:2], "big")
            assert message[2 + zeros :].hex() == case["inner_hex"]
        done += 1
    return done
