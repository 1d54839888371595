"""Z11 and Z20: what a worker that was taken over may say, and what is admitted as a module."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fogp2p.codec import Schema, decode, encode
from fogp2p.errors import LocalProtocolError, RemoteProtocolError
from fogp2p.framing import FrameDecoder, encode_frame
from fogp2p.sandbox import Ending, Job, Kind, Result
from fogp2p.sandbox.config import MAX_FRAME_BYTES

OUTCOME = Schema.load("sandbox/v1.cddl", "outcome")
GOOD = {1: "result", 2: 0, 3: 5, 4: 6, 5: 7, 6: '{"a": [1]}', 7: ""}


def _hear(data: bytes, cut: int) -> list[dict[int, Any]]:
    decoder, heard = FrameDecoder(max_bytes=MAX_FRAME_BYTES), []
    for part in (data[:cut], data[cut:]):
        decoder.receive_data(part)
        while (frame := decoder.next_frame()) is not None:
            heard.append(decode(frame, schema=OUTCOME, max_bytes=MAX_FRAME_BYTES))
    return heard


@pytest.mark.attack(70)
@given(st.binary(max_size=300), st.integers(0, 300), st.booleans())
def test_a_worker_may_say_anything(noise: bytes, cut: int, framed: bool) -> None:
    data = encode_frame(noise) if framed else noise
    try:
        heard = _hear(data, cut)
    except RemoteProtocolError:
        return
    assert all(set(message) == set(GOOD) for message in heard)


@pytest.mark.attack(70)
@given(st.integers(0, 2**20), st.integers(1, 255), st.integers(0, 300))
def test_an_outcome_with_one_byte_altered_is_a_result_or_nonsense(
    place: int, change: int, cut: int
) -> None:
    whole = bytearray(encode_frame(encode(GOOD)))
    assert _hear(bytes(whole), cut) == [GOOD]
    whole[place % len(whole)] ^= change
    try:
        for message in _hear(bytes(whole), cut):
            result = Result(Ending(message[1]), message[2], message[6], message[7])
            value = result.json()
            assert json.loads(json.dumps(value)) == value
    except RemoteProtocolError as error:
        assert error.code.startswith(("varint", "frame-", "cbor-", "job-value"))


@given(st.sampled_from(list(Kind)), st.binary(max_size=64), st.text(max_size=20))
def test_only_webassembly_and_functions_are_admitted(kind: Kind, module: bytes, entry: str) -> None:
    try:
        job = Job(kind, module, entry)
        job.arguments()
    except LocalProtocolError as error:
        assert error.code == "job"
        return
    assert entry.isidentifier() if kind is Kind.PY_FUNC else module.startswith(b"\0asm")


@given(st.text(max_size=200))
def test_a_value_is_json_or_a_remote_fault(value: str) -> None:
    try:
        Result(Ending.RESULT, value=value).json()
    except RemoteProtocolError as error:
        assert error.code == "job-value"
