"""The only door for CBOR."""

from __future__ import annotations

import pytest

from fogp2p.codec import Schema, decode, encode
from fogp2p.errors import LocalProtocolError, RemoteProtocolError
from fogp2p.limits import CBOR_MAX_DEPTH

ANY = Schema.load("codec/v1.cddl", "message")


def nested(levels: int) -> list[object]:
    value: list[object] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [1.5, {1, 2}, object(), 2**64, -(2**64) - 1, {b"k": 1}, {True: 1}, {None: 1}, [float("nan")]],
)
def test_what_cannot_be_sent_is_our_mistake(value: object) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        encode(value)
    assert caught.value.code == "cbor-value"


@pytest.mark.spec("COD-003")
def test_depth_is_the_same_both_ways() -> None:
    deepest = nested(CBOR_MAX_DEPTH)
    assert decode(encode(deepest), schema=ANY) == deepest
    with pytest.raises(LocalProtocolError):
        encode(nested(CBOR_MAX_DEPTH + 1))


@pytest.mark.spec("COD-003")
def test_the_caller_may_allow_less() -> None:
    data = encode([1, 2, 3])
    for limits, code in (({"max_bytes": 3}, "cbor-size"), ({"max_items": 3}, "cbor-depth")):
        with pytest.raises(RemoteProtocolError) as caught:
            decode(data, schema=ANY, **limits)
        assert caught.value.code == code
    assert decode(data, schema=ANY, max_bytes=4, max_items=4) == [1, 2, 3]


def test_tuples_are_arrays_and_order_of_insertion_does_not_matter() -> None:
    assert encode((1, 2)) == encode([1, 2])
    assert encode({"b": 1, "a": 2, 7: 3}) == encode({7: 3, "a": 2, "b": 1})


@pytest.mark.parametrize(("path", "rule"), [("nowhere/v1.cddl", "x"), ("echo/v1.cddl", "missing")])
def test_a_missing_schema_is_our_mistake(path: str, rule: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        Schema.load(path, rule)
    assert caught.value.code == "schema"
