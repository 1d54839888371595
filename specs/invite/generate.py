"""Print the vectors of specs/invite.

Run `python specs/invite/generate.py DIRECTORY`; CI compares the result with the kept files.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from fogp2p.addresses import parse_address
from fogp2p.codec import encode
from fogp2p.errors import RemoteProtocolError
from fogp2p.identity import Identity
from fogp2p.protocols.invite.codes import Code, Link, Words, parse_code, password
from fogp2p.protocols.invite.errors import CodeError
from fogp2p.protocols.invite.machine import (
    Asked,
    Inviter,
    Joiner,
    Kept,
    Offered,
    Proved,
    Shown,
    WrongGuess,
)
from fogp2p.protocols.invite.messages import Contact, Reason, decode_message

JOINER, INVITER = (Identity("ed25519", bytes([n]) * 32, bytes(32), bytes(32)) for n in (1, 2))
SECP: Final = Identity("secp256k1", bytes([3]) * 32, bytes(32), bytes(32))
IP4: Final = parse_address("/ip4/192.168.1.7/tcp/7460")
OTHER_IP4: Final = parse_address("/ip4/203.0.113.9/tcp/4001")
IP6: Final = parse_address("/ip6/2001:db8::7/tcp/7460")
QUIC: Final = parse_address("/ip4/192.168.1.7/udp/7460/quic-v1")
SECRET: Final = bytes(range(16))
CODE: Final = Words(7, ("copper", "lake"))


def main(target: Path) -> None:
    """Write the vectors into `target`."""
    target.mkdir(parents=True, exist_ok=True)
    documents = {"codes": _codes(), "messages": _messages(), "transcripts": _transcripts()}
    for name, document in documents.items():
        text = json.dumps(document, indent=1, sort_keys=True) + "\n"
        (target / f"{name}.json").write_text(text, encoding="ascii")


def _codes() -> dict[str, Any]:
    peer = INVITER.peer_id
    links = {
        "no address": Link(1, peer, SECRET),
        "IPv4": Link(999, peer, SECRET, (IP4,)),
        "two of IPv4": Link(42, peer, SECRET, (IP4, OTHER_IP4)),
        "IPv6": Link(42, peer, SECRET, (IP6,)),
        "secp256k1": Link(42, SECP.peer_id, SECRET, (OTHER_IP4,)),
    }
    valid = [_code(name, str(link), link) for name, link in links.items()]
    # What has no short form or does not fit is left out when a link is written.
    crowded = Link(42, peer, SECRET, (QUIC, IP4, IP6))
    valid.append(_code("what does not fit is left out", str(crowded), parse_code(str(crowded))))
    link = str(links["IPv4"])
    valid.append(_code("small letters, broken lines", link.lower()[:40] + "\n  " + link[40:], None))
    typed = ["7-copper-lake", "7 Copper  LAKE", " 007_copper,lake.", "\uff17-copper-lake"]
    valid += [_code(f"typed {at}", text, CODE) for at, text in enumerate(typed)]
    wrong = {
        "nothing": "",
        "no number": "copper-lake",
        "number 0": "0-copper-lake",
        "number 1000": "1000-copper-lake",
        "one word": "7-copper",
        "three words": "7-copper-lake-seven",
        "unknown word": "7-coper-lake",
        "words of another list": "7-crossover-clockwork",
        "too long": "7-copper-lake" + " " * 600,
        "link without anything": "FOGP2P:",
        "link cut": link[:-2],
        "link with another letter": link[:30] + ("A" if link[30] != "A" else "B") + link[31:],
        "link of version 2": "FOGP2P:" + "I" + link[8:],
        "link too long": link + "AAAAAAAA",
        "letters that base32 lacks": link[:-1] + "1",
    }
    return {"valid": valid, "invalid": [_no_code(name, text) for name, text in wrong.items()]}


def _code(name: str, text: str, code: Code | None) -> dict[str, Any]:
    read = parse_code(text)
    assert code is None or read == code, name
    fields: dict[str, Any] = {"nameplate": read.nameplate, "password": password(read).hex()}
    if isinstance(read, Words):
        fields |= {"kind": "words", "words": list(read.words)}
    else:
        addresses = [str(address) for address in read.addresses]
        fields |= {
            "kind": "link",
            "peer": str(read.peer),
            "secret": read.secret.hex(),
            "addresses": addresses,
        }
    return {"name": name, "text": text, **fields}


def _no_code(name: str, text: str) -> dict[str, str]:
    try:
        parse_code(text)
    except CodeError as exc:
        return {"name": name, "text": text, "code": exc.code}
    raise AssertionError(f"an invalid vector was accepted: {name}")


def _messages() -> dict[str, Any]:
    tag = bytes(32)
    valid: dict[str, dict[int | str, Any]] = {
        "hello": {0: 1, 1: 7, 2: 2},
        "question": {0: 1, 1: 0, 2: 1},
        "hello with keys of tomorrow": {0: 1, 1: 7, 2: 2, 9: "later"},
        "offer": {0: 2, 1: [[7, 600]]},
        "nothing to offer": {0: 2, 1: []},
        "refusal": {0: 3, 1: "wrong-guess", 2: 2},
        "pake": {0: 4, 1: b"A" + bytes(32)},
        "confirmation": {0: 5, 1: tag},
        "card": {0: 6, 1: b"\xa0", 2: tag},
        "stored": {0: 7, 1: tag},
    }
    invalid: dict[str, dict[int | str, Any]] = {
        "nothing": {},
        "no kind": {1: 7, 2: 2},
        "kind 8": {0: 8, 1: tag},
        "nameplate 1000": {0: 1, 1: 1000, 2: 2},
        "nameplate -1": {0: 1, 1: -1, 2: 2},
        "intent 3": {0: 1, 1: 7, 2: 3},
        "17 offers": {0: 2, 1: [[n + 1, 1] for n in range(17)]},
        "offer of nameplate 0": {0: 2, 1: [[0, 1]]},
        "reason of tomorrow": {0: 3, 1: "tired", 2: 0},
        "four guesses": {0: 3, 1: "wrong-guess", 2: 4},
        "pake of 32 bytes": {0: 4, 1: bytes(32)},
        "pake with more": {0: 4, 1: bytes(33), 2: 1},
        "short tag": {0: 5, 1: bytes(31)},
        "tag is text": {0: 5, 1: "x" * 32},
        "empty card": {0: 6, 1: b"", 2: tag},
        "card without tag": {0: 6, 1: b"\xa0"},
        "card too large": {0: 6, 1: bytes(1601), 2: tag},
    }
    return {
        "valid": [{"name": name, "encoded": encode(value).hex()} for name, value in valid.items()],
        "invalid": [_refused(name, encode(value)) for name, value in invalid.items()],
    }


def _refused(name: str, data: bytes) -> dict[str, str]:
    try:
        decode_message(data)
    except RemoteProtocolError as exc:
        return {"name": name, "encoded": data.hex(), "code": exc.code}
    raise AssertionError(f"an invalid vector was accepted: {name}")


def _transcripts() -> dict[str, Any]:
    link = Link(42, INVITER.peer_id, SECRET, (IP4,))
    return {
        "transcript": [
            _run("words", CODE, CODE),
            _run("link", link, link),
            _run("a wrong guess", CODE, Words(7, ("copper", "seven"))),
        ]
    }


def _run(name: str, made: Code, typed: Code) -> dict[str, Any]:
    """A whole pairing, message by message."""
    entropy = {"joiner": bytes([0x11]) * 64, "inviter": bytes([0x22]) * 64}
    joiner = Joiner(
        local=JOINER.peer_id,
        remote=INVITER.peer_id,
        entropy=entropy["joiner"],
        nameplate=typed.nameplate,
        password=password(typed),
    )
    inviter = Inviter(local=INVITER.peer_id, remote=JOINER.peer_id, entropy=entropy["inviter"])
    said: list[dict[str, str]] = []
    while data := joiner.data_to_send():
        said.append({"from": "joiner", "bytes": data.hex()})
        inviter.receive_data(data)
        match inviter.next_event():
            case Asked():
                inviter.pair(made.nameplate, 600, password(made))
            case Proved():
                inviter.accept(Contact("ada", INVITER.peer_id, (IP4,)))
            case WrongGuess():
                inviter.refuse(Reason.WRONG_GUESS, 2)
            case Shown():
                inviter.stored()
        answer = inviter.data_to_send()
        if not answer:
            continue
        said.append({"from": "inviter", "bytes": answer.hex()})
        joiner.receive_data(answer)
        match joiner.next_event():
            case Offered():
                joiner.begin()
            case Shown():
                joiner.present(Contact("bob", JOINER.peer_id, (IP6,)))
            case Kept():
                joiner.finish()
    assert joiner.is_over and inviter.is_over
    return {
        "name": name,
        "joiner": {"peer": str(JOINER.peer_id), "entropy": entropy["joiner"].hex()},
        "inviter": {"peer": str(INVITER.peer_id), "entropy": entropy["inviter"].hex()},
        "made": {"text": str(made), "password": password(made).hex()},
        "typed": {"text": str(typed), "password": password(typed).hex()},
        "said": said,
        "result": joiner.state.value,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
