"""The checker of schemas: what each construct accepts, value by value."""

from __future__ import annotations

import pytest

from fogp2p.cddl import Grammar
from fogp2p.errors import LocalProtocolError

# One of every type, and those that validators have confused.
VALUES = [0, 1, -1, 23, 65_535, 65_536, 2**64 - 1, -(2**64), b"", b"x", b"x" * 32, "", "x"]
VALUES += ["x" * 32, "\u00e9" * 16, "a", True, False, None, [], [0], ["x"], [b"x"], [0, 0], {}]
VALUES += [{1: 0}, {"a": 0}, {"a": "x"}, {1: "x"}, {1: 0, 2: "x"}, {1: 0, 2: 0}, {1: 0, 9: None}]


@pytest.mark.spec("COD-004")
@pytest.mark.parametrize(
    ("rule", "accepted"),
    [
        ("uint", [0, 1, 23, 65_535, 65_536, 2**64 - 1]),
        ("nint", [-1, -(2**64)]),
        ("int", [0, 1, -1, 23, 65_535, 65_536, 2**64 - 1, -(2**64)]),
        ("bytes", [b"", b"x", b"x" * 32]),
        ("tstr", ["", "x", "x" * 32, "\u00e9" * 16, "a"]),
        ("bool", [True, False]),
        ("null", [None]),
        ("1", [1]),
        ('"x"', ["x"]),
        ('"x" / "a"', ["x", "a"]),
        ("tstr / null", ["", "x", "x" * 32, "\u00e9" * 16, "a", None]),
        ("0..23", [0, 1, 23]),
        ("-1..1", [0, 1, -1]),
        ("uint .le 65535", [0, 1, 23, 65_535]),
        ("uint .size 2", [0, 1, 23, 65_535][-1:]),
        ("bytes .size 32", [b"x" * 32]),
        ("bytes .size (0..1)", [b"", b"x"]),
        ("tstr .size 32", ["x" * 32, "\u00e9" * 16]),
        ("tstr .size (0..31)", ["", "x", "a"]),
        ("[ uint ]", [[0]]),
        ("[ * uint ]", [[], [0], [0, 0]]),
        ("[ + uint ]", [[0], [0, 0]]),
        ("[ 2*3 uint ]", [[0, 0]]),
        ("[ *1 any ]", [[], [0], ["x"], [b"x"]]),
        ("[ ? tstr, * uint ]", [[], [0], ["x"], [0, 0]]),
        ("{ 1 => uint }", [{1: 0}]),
        ("{ * tstr => uint }", [{}, {"a": 0}]),
        ("{ 1 => uint, ? 2 => tstr }", [{1: 0}, {1: 0, 2: "x"}]),
        ("{ 1 => uint, ? 2 ^ => tstr, * uint => any }", [{1: 0}, {1: 0, 2: "x"}, {1: 0, 9: None}]),
        ("{ *1 tstr => any }", [{}, {"a": 0}, {"a": "x"}]),
        ("{ a: uint }", None),
    ],
)
def test_a_construct_accepts_exactly(rule: str, accepted: list[object] | None) -> None:
    if accepted is None:
        with pytest.raises(LocalProtocolError):
            Grammar(f"r = {rule}").check("r")
        return
    check = Grammar(f"r = {rule}").check("r")
    if ".size 2" in rule:
        assert check(256) and check(65_535) and not check(65_536) and not check(-1)
        return
    found = [value for value in VALUES if check(value)]
    assert [repr(value) for value in found] == [repr(value) for value in accepted]


def test_every_item_of_an_array_of_arrays_is_checked() -> None:
    check = Grammar("r = [ 1*8 p ]\np = [ u, u ]\nu = uint .le 9").check("r")
    assert check([[1, 2], [3, 4]])
    for wrong in ([[1, 2], [3, "x"]], [[1, 2], [3]], [[1, 2], [3, 10]], [[1, 2], 3], []):
        assert not check(wrong)


def test_rules_may_contain_themselves() -> None:
    check = Grammar("tree = [ * tree ]").check("tree")
    assert check([[], [[]]]) and not check([[], [1]])


@pytest.mark.parametrize(
    "text",
    [
        "r = ",
        "r = missing",
        "r = float",
        "r = 1.5",
        "r = 0...9",
        "r = #6.1(uint)",
        'r = tstr .regexp "a"',
        "r<t> = [ t ]",
        "r /= uint",
        "r = [ a // b ]\na = uint\nb = tstr",
        "r = { 1 => uint, ? 2 => tstr, * uint => any }",
        "r = { uint }",
        "r = { 2*2 1 => uint }",
        "r = [ 0*64 uint ]",
        "r = uint .le (1..2)",
        "r = h'00'",
        "r = &( a: 1 )",
    ],
)
def test_what_is_not_checked_is_refused(text: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        Grammar(text).check("r")
    assert caught.value.code == "schema"
