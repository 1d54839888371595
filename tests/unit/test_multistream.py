"""multistream-select by itself."""

from __future__ import annotations

import pytest

from fogp2p.errors import LocalProtocolError, RemoteProtocolError
from fogp2p.framing import encode_frame
from fogp2p.ids import ProtocolId
from fogp2p.transports.libp2p.multistream import Opener, Responder
from fogp2p.transports.libp2p.wire_config import MAX_PROPOSALS

A, B, C = (ProtocolId(f"/{name}/1") for name in "abc")
HEADER = encode_frame(b"/multistream/1.0.0\n", max_bytes=64)


def _line(text: bytes) -> bytes:
    return encode_frame(text + b"\n", max_bytes=2_000)


def test_one_name_costs_no_round_trip() -> None:
    opener, responder = Opener([A]), Responder({A}.__contains__)
    answer = responder.receive_data(opener.start() + b"early")
    assert responder.agreed == A and responder.take_rest() == b"early"
    assert opener.receive_data(answer + b"reply") == b""
    assert opener.agreed == A and opener.take_rest() == b"reply"


@pytest.mark.parametrize("cut", [1, 2, 7])
def test_the_first_common_name_is_agreed_however_bytes_are_cut(cut: int) -> None:
    opener, responder = Opener([A, B, C]), Responder({B, C}.__contains__)
    to_responder, to_opener = opener.start(), b""
    while to_responder or to_opener:
        part, to_responder = to_responder[:cut], to_responder[cut:]
        to_opener += responder.receive_data(part)
        part, to_opener = to_opener[:cut], to_opener[cut:]
        to_responder += opener.receive_data(part)
    assert opener.agreed == responder.agreed == B


def test_no_common_name_is_a_refusal() -> None:
    opener, responder = Opener([A]), Responder({B}.__contains__)
    opener.receive_data(responder.receive_data(opener.start()))
    assert opener.refused and opener.agreed is None and responder.agreed is None


def test_names_are_needed() -> None:
    with pytest.raises(LocalProtocolError):
        Opener([])


@pytest.mark.parametrize(
    "data",
    [
        _line(b"/other/1.0.0"),
        HEADER[:-1] + b"x",
        encode_frame(b"\xff\xfe\n", max_bytes=64),
        b"\xff\xff\x7f" + bytes(10),
        HEADER + b"".join(_line(b"/x/%d" % n) for n in range(MAX_PROPOSALS + 1)),
    ],
)
def test_broken_rules_are_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Responder({A}.__contains__).receive_data(data)


def test_an_answer_that_was_not_asked_for_is_refused() -> None:
    opener = Opener([A])
    with pytest.raises(RemoteProtocolError, match="another protocol"):
        opener.receive_data(HEADER + _line(b"/b/1"))


def test_listing_is_refused_in_words() -> None:
    responder = Responder({A}.__contains__)
    assert responder.receive_data(HEADER + _line(b"ls")) == HEADER + _line(b"na")
