"""Answers for programs: a frozen dataclass, its versioned name, and the JSON Schema made from it.

A schema is a promise: within one version fields are only added. The API's OpenAPI document, the
schemas that `fogp2p docs schemas` prints, and the check of every command's `--json` come from here.
"""

from __future__ import annotations

import dataclasses
import enum
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

__all__ = ["about", "answer", "json_schema", "named", "name_of", "schemas"]

T = TypeVar("T")

_NAMED: dict[str, type[Any]] = {}
_PLAIN: Final[Mapping[Any, dict[str, Any]]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    Any: {},
}


def about(text: str, **rules: Any) -> dict[str, Any]:
    """Metadata of a dataclass field: what it holds, and JSON Schema keywords such as `minimum`."""
    return {"about": text, "rules": rules}


def named(name: str) -> Callable[[type[T]], type[T]]:
    """Give a dataclass its name, such as `status/1`. A name belongs to one class."""

    def mark(kind: type[T]) -> type[T]:
        other = _NAMED.setdefault(name, kind)
        if other.__qualname__ != kind.__qualname__:
            raise TypeError(f"{name} is already {other.__qualname__}")
        kind.__schema__ = name  # type: ignore[attr-defined]
        return kind

    return mark


def name_of(kind: type[Any]) -> str:
    """The name that `named` gave. TypeError for a class without one."""
    name = kind.__dict__.get("__schema__")
    if not isinstance(name, str):
        raise TypeError(f"{kind.__qualname__} has no schema name")
    return name


def schemas() -> Iterator[tuple[str, type[Any]]]:
    """Every named class of the modules imported so far, sorted by name."""
    yield from sorted(_NAMED.items())


def answer(value: Any) -> dict[str, Any]:
    """`value` as a JSON object that begins with the name of its schema."""
    fields = dataclasses.asdict(value, dict_factory=_plain)
    return {"schema": name_of(type(value)), **fields}


def json_schema(kind: type[Any], *, closed: bool = False) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a dataclass; named classes have their `schema` member too.

    `closed` forbids members that are not declared: for tests, never for clients, because a later
    release may add some. TypeError for a type that has no JSON form.
    """
    if not dataclasses.is_dataclass(kind):
        raise TypeError(f"{kind!r} is no dataclass")
    hints = get_type_hints(kind)
    properties: dict[str, Any] = {}
    if "__schema__" in kind.__dict__:
        properties["schema"] = {"const": name_of(kind)}
    for each in dataclasses.fields(kind):
        made = _schema_of(hints[each.name], closed)
        if "about" in each.metadata:
            made = {**made, "description": each.metadata["about"], **each.metadata["rules"]}
        properties[each.name] = made
    found: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }
    if closed:
        found["additionalProperties"] = False
    return found


def _schema_of(hint: Any, closed: bool) -> dict[str, Any]:
    if hint in _PLAIN:
        return dict(_PLAIN[hint])
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return {"enum": [member.value for member in hint]}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return json_schema(hint, closed=closed)
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return {"enum": list(inner)}
    if origin in (list, tuple):
        return {"type": "array", "items": _schema_of(inner[0], closed)}
    if origin is dict and inner[0] is str:
        return {"type": "object", "additionalProperties": _schema_of(inner[1], closed)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema_of(each, closed) for each in inner]}
    raise TypeError(f"{hint!r} has no JSON form")


def _plain(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value.value if isinstance(value, enum.Enum) else value for name, value in pairs}
