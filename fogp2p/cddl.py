"""Checks decoded messages against CDDL (RFC 8610), in the subset that specs/ uses.

cddlparser reads the text; what is compiled here from its tree are plain functions. The subset:
`uint nint int bstr tstr bool true false null any`, integer and text literals, inclusive integer
ranges, `.size`, `.le`, choices of types, names, arrays and maps with occurrences. Whatever else a
schema says is refused when it is loaded, never silently ignored. Why not a ready-made validator:
docs/decisions/0003-cddl.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cddlparser import ParserError, Tokens, ast, parse

from .errors import LocalProtocolError

__all__ = ["Check", "Grammar"]

Check = Callable[[Any], bool]
"""Whether a decoded value is an instance of a type."""

_PRELUDE: Final[Mapping[str, Check]] = {
    "uint": lambda value: type(value) is int and value >= 0,
    "nint": lambda value: type(value) is int and value < 0,
    "int": lambda value: type(value) is int,
    "bstr": lambda value: type(value) is bytes,
    "bytes": lambda value: type(value) is bytes,
    "tstr": lambda value: type(value) is str,
    "text": lambda value: type(value) is str,
    "bool": lambda value: type(value) is bool,
    "true": lambda value: value is True,
    "false": lambda value: value is False,
    "null": lambda value: value is None,
    "nil": lambda value: value is None,
    "any": lambda value: True,
}


class Grammar:
    """The rules of one CDDL text."""

    def __init__(self, text: str) -> None:
        """Raises LocalProtocolError("schema") when the text is no CDDL."""
        try:
            tree = parse(text)
        except ParserError as exc:
            raise _refused(str(exc)) from exc
        self._rules = {rule.name.name: rule for rule in tree.rules}
        self._checks: dict[str, Check] = {}

    def check(self, rule: str) -> Check:
        """The check of `rule`. Raises LocalProtocolError("schema") outside the subset."""
        return self._named(rule)

    def _named(self, name: str) -> Check:
        if name in self._checks:
            return self._checks[name]
        if name not in self._rules:
            if name in _PRELUDE:
                return _PRELUDE[name]
            raise _refused(f"no rule {name}")
        # A rule may contain itself: whoever meets it while it is compiled asks again when checking.
        self._checks[name] = lambda value: self._checks[name](value)
        rule = self._rules[name]
        if rule.assign.type is not Tokens.ASSIGN or rule.name.parameters is not None:
            raise _refused(f"rule {name} is generic or extended")
        self._checks[name] = self._type(rule.type)
        return self._checks[name]

    def _type(self, node: ast.CDDLNode) -> Check:
        match node:
            case ast.Type():
                return _any_of([self._type(each) for each in node.types])
            case ast.Typename(unwrapped=None, parameters=None):
                return self._named(node.name)
            case ast.Value():
                return _equals(_literal(node))
            case ast.Range():
                return _between(*_bounds(node))
            case ast.Operator():
                return self._controlled(node)
            case ast.Array():
                return self._array(node)
            case ast.Map():
                return self._map(node)
            case _:
                raise _refused(f"{type(node).__name__} is outside the subset")

    def _controlled(self, node: ast.Operator) -> Check:
        base = self._type(node.type)
        low, high = _bounds(node.controller)
        match node.name.literal:
            case "size":
                return lambda value: base(value) and low <= _size(value) <= high
            case "le" if low == high:
                return lambda value: base(value) and value <= high
            case other:
                raise _refused(f".{other} is outside the subset")

    def _array(self, node: ast.Array) -> Check:
        items = [self._entry(entry) for entry in _entries(node)]
        if any(item.key is not None for item in items):
            raise _refused("keys in an array")

        def check(value: Any) -> bool:
            if type(value) is not list:
                return False
            at = 0
            for item in items:
                count = 0
                while count < item.most and at < len(value) and item.check(value[at]):
                    at, count = at + 1, count + 1
                if count < item.least:
                    return False
            return at == len(value)

        return check

    def _map(self, node: ast.Map) -> Check:
        entries = [self._entry(entry) for entry in _entries(node)]
        members = {entry.literal: entry for entry in entries if entry.literal is not None}
        others = [entry for entry in entries if entry.literal is None]
        if any(entry.key is None for entry in others):
            raise _refused("an entry of a map without a key")
        if others and any(not entry.is_cut for entry in members.values() if entry.least == 0):
            # Else a wrong value under a known key would pass as "any other key" (RFC 8610, 3.5.4).
            raise _refused("an optional member beside a wildcard needs a cut (^ =>)")

        def check(value: Any) -> bool:
            if type(value) is not dict:
                return False
            for key, entry in members.items():
                if key in value:
                    if not entry.check(value[key]):
                        return False
                elif entry.least > 0:
                    return False
            rest = {key: item for key, item in value.items() if key not in members}
            return _match_rest(rest, others)

        return check

    def _entry(self, node: ast.GroupEntry) -> _Entry:
        least, most = _occurrence(node.occurrence)
        if node.key is None:
            return _Entry(least, most, self._type(node.type))
        key = node.key.type
        literal = _literal(key) if isinstance(key, ast.Value) else None
        if literal is not None and most > 1:
            raise _refused("a literal key occurs once")
        cut = node.key.hasCut or node.key.hasColon
        return _Entry(least, most, self._type(node.type), self._type(key), literal, cut)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line of an array or a map."""

    least: float
    most: float
    check: Check
    key: Check | None = None
    literal: int | str | None = None
    is_cut: bool = False


def _match_rest(rest: dict[int | str, Any], others: list[_Entry]) -> bool:
    counts = [0] * len(others)
    for key, item in rest.items():
        for index, entry in enumerate(others):
            if entry.key is not None and entry.key(key) and entry.check(item):
                counts[index] += 1
                break
        else:
            return False
    return all(
        entry.least <= count <= entry.most for entry, count in zip(others, counts, strict=True)
    )


def _entries(node: ast.Group) -> list[ast.GroupEntry]:
    if len(node.groupChoices) != 1:
        raise _refused("choices of groups are outside the subset")
    entries = node.groupChoices[0].groupEntries
    if any(entry.separator is None for entry in entries[:-1]):
        # cddlparser takes `0*64 x` for the literal 0 followed by `*64 x`; write `*64 x`.
        raise _refused("entries are separated by commas")
    return entries


def _occurrence(node: ast.Occurrence | None) -> tuple[float, float]:
    if node is None:
        return 1, 1
    if node.tokens[0].type is Tokens.QUEST:  # for which cddlparser says 0 to infinity
        return 0, 1
    return node.n, node.m


def _any_of(checks: list[Check]) -> Check:
    if len(checks) == 1:
        return checks[0]
    return lambda value: any(check(value) for check in checks)


def _equals(literal: int | str) -> Check:
    # By type as well: True equals 1 in Python.
    return lambda value: type(value) is type(literal) and value == literal


def _between(low: float, high: float) -> Check:
    return lambda value: type(value) is int and low <= value <= high


def _size(value: Any) -> float:
    """RFC 8610 section 3.8.1: bytes of a string (of text: in UTF-8) or of an unsigned integer."""
    match value:
        case bytes():
            return len(value)
        case str():
            return len(value.encode("utf-8"))
        case int() if value >= 0:
            return max(1, (value.bit_length() + 7) // 8)
        case _:
            return math.inf


def _literal(node: ast.Value) -> int | str:
    match node.type:
        case "number" if node.value.lstrip("-").isdigit():
            return int(node.value)
        case "text":
            return node.value
        case _:
            raise _refused(f"literal {node.value} is outside the subset")


def _bounds(node: ast.CDDLNode) -> tuple[int, int]:
    """A number, or an inclusive range of numbers, perhaps in parentheses."""
    match node:
        case ast.Type() if len(node.types) == 1:
            return _bounds(node.types[0])
        case ast.Value():
            number = _literal(node)
            if isinstance(number, int):
                return number, number
        case ast.Range() if node.rangeop.type is Tokens.INCLRANGE:
            return _bounds(node.min)[0], _bounds(node.max)[0]
        case _:
            pass
    raise _refused("a number or an inclusive range was expected")


def _refused(what: str) -> LocalProtocolError:
    return LocalProtocolError(f"not a usable schema: {what}", code="schema")
