"""Requests as dataclasses: reading their members from JSON or a query, and their JSON Schema.

Rules stand in the fields' metadata (`fogp2p.schema.about`): `minimum`, `maximum`, `minLength`,
`maxLength`, `maxItems`, `maxProperties`, the words of JSON Schema.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import types
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from fogp2p.schema import json_schema

from .config import MAX_JSON_DEPTH
from .errors import BadRequest

__all__ = ["parse_json", "read_members", "read_query", "request_schema"]

T = TypeVar("T")
_KINDS: Final[Mapping[Any, str]] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}
_HINTS: dict[type[Any], dict[str, Any]] = {}


def parse_json(data: bytes) -> dict[str, Any]:
    """A request's body: an object, or nothing for an empty one. Raises BadRequest."""
    if not data:
        return {}
    try:
        asked = json.loads(data.decode("utf-8"), parse_constant=_no_constant, parse_int=_integer)
    except RecursionError as exc:
        raise BadRequest("the body is nested too deeply") from exc
    except ValueError as exc:
        raise BadRequest("the body is not JSON in UTF-8") from exc
    if not isinstance(asked, dict):
        raise BadRequest("the body is not a JSON object")
    if _deeper_than(asked, MAX_JSON_DEPTH):
        raise BadRequest(f"the body is nested deeper than {MAX_JSON_DEPTH} levels")
    return asked


def read_members(kind: type[T], given: Mapping[str, Any]) -> T:
    """Make `kind` from JSON members. Raises BadRequest with the member's name."""
    hints = _hints(kind)
    fields = {each.name: each for each in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in given:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1, cutoff=0.5)
            known = ", ".join(fields) or "none"
            tail = f"the nearest is {near[0]}" if near else f"known are: {known}"
            raise BadRequest(f"unknown member {_shown(name)}; {tail}")
    values = {}
    for name, spec in fields.items():
        if name in given:
            values[name] = _checked(name, hints[name], given[name], spec.metadata.get("rules", {}))
        elif not _has_default(spec):
            raise BadRequest(f"{name} is missing")
    return kind(**values)


def read_query(kind: type[T], given: Mapping[str, str]) -> T:
    """Make `kind` from query parameters: whole numbers, texts, and lists with commas."""
    hints = _hints(kind)
    return read_members(kind, {name: _typed(hints.get(name), text) for name, text in given.items()})


def request_schema(kind: type[Any]) -> dict[str, Any]:
    """As `json_schema`, with the defaults, and closed: what we do not know we refuse."""
    schema = json_schema(kind, closed=True)
    schema["required"] = [each.name for each in dataclasses.fields(kind) if not _has_default(each)]
    for each in dataclasses.fields(kind):
        if each.default is not dataclasses.MISSING and each.default is not None:
            schema["properties"][each.name]["default"] = each.default
    return schema


def _hints(kind: type[Any]) -> dict[str, Any]:
    if kind not in _HINTS:  # one entry for each request class of the table
        _HINTS[kind] = get_type_hints(kind)
    return _HINTS[kind]


def _has_default(spec: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return spec.default is not missing or spec.default_factory is not missing


def _checked(name: str, hint: Any, value: Any, rules: Mapping[str, Any]) -> Any:
    """`value` as `hint` wants it. Raises BadRequest."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        hint = next(each for each in inner if each is not type(None))
        return _checked(name, hint, value, rules)
    if origin is Literal:
        if value not in inner or isinstance(value, bool):
            raise BadRequest(f"{name} must be one of {', '.join(map(str, inner))}")
        return value
    if origin is tuple:
        if not isinstance(value, list) or len(value) > rules.get("maxItems", math.inf):
            raise BadRequest(f"{name} must be a list{_at_most(rules, 'maxItems')}")
        return tuple(_checked(f"{name}[{i}]", inner[0], each, {}) for i, each in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict) or len(value) > rules.get("maxProperties", math.inf):
            raise BadRequest(f"{name} must be an object{_at_most(rules, 'maxProperties')}")
        return {key: _checked(f"{name}.{key}", inner[1], each, {}) for key, each in value.items()}
    if hint is Any:
        return value
    if hint is float and type(value) is int:
        value = _as_float(name, value)
    if type(value) is not hint:
        raise BadRequest(f"{name} must be {_KINDS[hint]}")
    _check_rules(name, value, rules)
    return value


def _check_rules(name: str, value: Any, rules: Mapping[str, Any]) -> None:
    if isinstance(value, str):
        low, high = rules.get("minLength", 0), rules.get("maxLength", math.inf)
        if not low <= len(value) <= high:
            raise BadRequest(f"{name} must have {low}-{high} characters")
    elif "minimum" in rules or "maximum" in rules:
        low, high = rules.get("minimum", -math.inf), rules.get("maximum", math.inf)
        if not low <= value <= high:
            raise BadRequest(f"{name} lies in {low}-{high}")


def _as_float(name: str, value: int) -> float:
    try:
        return float(value)
    except OverflowError as exc:
        raise BadRequest(f"{name} is too large") from exc


def _typed(hint: Any, text: str) -> Any:
    """A query parameter as JSON would have it; what does not fit stays text and is refused."""
    plain = {int, *get_args(hint)} if hint is not None else set()
    if hint is int or (int in get_args(hint) and plain):
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else text
    if get_origin(hint) is tuple:
        return [part for part in text.split(",") if part]
    return text


def _deeper_than(value: Any, levels: int) -> bool:
    level = [value]
    for _ in range(levels):
        level = [
            inner
            for each in level
            for inner in (
                each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
            )
        ]
        if not level:
            return False
    return True


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def _integer(text: str) -> int:
    if len(text) > 20:  # no member of ours needs more, and long ones are slow to read
        raise ValueError("a number is too long")
    return int(text)


def _at_most(rules: Mapping[str, Any], rule: str) -> str:
    return f" of at most {rules[rule]}" if rule in rules else ""


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
