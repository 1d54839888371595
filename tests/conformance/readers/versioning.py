"""specs/versioning: the choice of each run, and the signatures under it."""

import hashlib
import json
from pathlib import Path

import base58
import cbor2
from nacl.signing import SigningKey


def frame(line: str) -> bytes:
    data, length, shift, at = bytes.fromhex(line), 0, 0, 0
    while True:
        length |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            break
    assert len(data) == at + length
    return data[at:]


def choice(one: dict, other: dict) -> list | None:
    common = [version for version in one[1] if version in other[1]]
    if not common:
        return None
    agreed = {}
    for name in one[4].keys() & other[4].keys():
        theirs = [version for version, _ in other[4][name][0]]
        both = [version for version, _ in one[4][name][0] if version in theirs]
        if both:
            features = [f for f in one[4][name][1] if f in other[4][name][1]]
            agreed[name] = [max(both), features]
    return [max(common), agreed]


def check(folder: Path) -> int:
    runs = json.loads((folder / "transcripts.json").read_text("ascii"))["transcript"]
    for run in runs:
        frames = [frame(line) for line in run["frames"]]
        hellos = [cbor2.loads(data) for data in frames[:2]]
        chosen = choice(*hellos)
        if chosen is None:
            assert len(frames) == 2 and "code" in run["result"]
            continue
        transcript = hashlib.sha256(
            b"".join(len(data).to_bytes(4, "big") + data for data in frames[:2])
        ).digest()
        peers = [base58.b58decode(run[role]["peer"]) for role in ("initiator", "responder")]
        for role, data in zip(("initiator", "responder"), frames[2:], strict=True):
            said = cbor2.loads(data)
            assert [said[1], said[2]] == chosen
            signed = cbor2.dumps(
                ["fog/version/1", role, transcript, *peers, chosen], canonical=True
            )
            key = SigningKey(bytes.fromhex(run[role]["secret"])).verify_key
            assert peers[role == "responder"] == bytes.fromhex("002408011220") + bytes(key)
            key.verify(signed, said[3])
    return len(runs)
