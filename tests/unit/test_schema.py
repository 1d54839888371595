"""Dataclasses as JSON Schema."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, Literal

import jsonschema
import pytest

from fogp2p.schema import about, answer, json_schema, name_of, named


class Colour(enum.Enum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    size: int = field(metadata=about("In bytes.", minimum=0))


@named("test-outer/1")
@dataclass(frozen=True)
class Outer:
    inner: tuple[Inner, ...]
    maybe: float | None
    colour: Colour
    kind: Literal["a", "b"]
    table: dict[str, str]


OUTER = Outer((Inner(1),), None, Colour.RED, "a", {"x": "y"})


def _fits(value: Any, kind: type[Any]) -> bool:
    schema = json_schema(kind, closed=True)
    jsonschema.Draft202012Validator.check_schema(schema)
    return bool(jsonschema.Draft202012Validator(schema).is_valid(value))


def test_an_answer_fits_its_schema_and_a_changed_one_does_not() -> None:
    made = answer(OUTER)
    made["inner"] = list(made["inner"])
    assert made["schema"] == name_of(Outer) == "test-outer/1"
    assert _fits(made, Outer)
    for name, wrong in {
        "schema": "test-outer/2",
        "inner": [{"size": -1}],
        "maybe": "x",
        "colour": "blue",
        "kind": "c",
        "table": {"x": 1},
        "more": 1,
    }.items():
        assert not _fits({**made, name: wrong}, Outer), name
    del made["kind"]
    assert not _fits(made, Outer)


def test_what_has_no_json_form_is_refused() -> None:
    @dataclass
    class Odd:
        value: bytes

    with pytest.raises(TypeError, match="no JSON form"):
        json_schema(Odd)
    with pytest.raises(TypeError, match="no schema name"):
        answer(Inner(1))
    with pytest.raises(TypeError, match="already"):
        named("test-outer/1")(Odd)
