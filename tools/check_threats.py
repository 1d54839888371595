"""Hold docs/threats.md to the tests: every attack has one, every named test is there.

With `--write` the last column is written from the `@pytest.mark.attack(N)` markers. A row may state
a gap instead: its last column then begins with "open:" and a reason, and `--write` keeps it until
there is a test. Prints faults only; exit status 1 for any.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
TABLE: Final = ROOT / "docs" / "threats.md"
_ROW: Final = re.compile(r"\| (\d+) \| (.*) \| (.*) \| ?(.*?) ?\|")


def main() -> int:
    found = _marked_tests()
    lines = TABLE.read_text("utf-8").splitlines()
    rows = {int(row[1]): (index, row) for index, row in _rows(lines)}
    if "--write" in sys.argv[1:]:
        for number, (index, row) in rows.items():
            tests = ", ".join(f"`{test}`" for test in sorted(found.get(number, [])))
            lines[index] = f"| {number} | {row[2]} | {row[3]} | {tests or row[4]} |"
        TABLE.write_text("\n".join(lines) + "\n", "utf-8")
        rows = {int(row[1]): (index, row) for index, row in _rows(lines)}
    faults = [
        f"docs/threats.md: attack {number} has neither a test nor a stated gap"
        for number, (_, row) in rows.items()
        if not row[4]
    ]
    for number, (_, row) in rows.items():
        named = set(re.findall(r"`([^`]+)`", row[4])) if not row[4].startswith("open:") else set()
        if named != found.get(number, set()):
            faults.append(f"docs/threats.md: attack {number} is out of date; run `make threats`")
    faults += [
        f"{test}: attack {number} is not in docs/threats.md"
        for number, tests in found.items()
        for test in tests
        if number not in rows
    ]
    known = _all_tests()
    faults += [
        f"docs/threats.md names {test}, which is no test"
        for line in lines
        for test in re.findall(r"`([\w/]+\.py::\w+)`", line)
        if test not in known
    ]
    print(*faults, sep="\n", end="\n" if faults else "")
    return 1 if faults else 0


def _rows(lines: list[str]) -> list[tuple[int, re.Match[str]]]:
    return [(i, row) for i, line in enumerate(lines) if (row := _ROW.fullmatch(line))]


def _functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """`file.py::test` and its definition, for every test function."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield f"{path.relative_to(ROOT / 'tests')}::{node.name}", node


def _all_tests() -> set[str]:
    return {name for name, _ in _functions()}


def _marked_tests() -> dict[int, set[str]]:
    """Attack number -> the marked tests."""
    found: dict[int, set[str]] = {}
    for name, node in _functions():
        for number in _numbers(node):
            found.setdefault(number, set()).add(name)
    return found


def _numbers(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[int]:
    return [
        argument.value
        for mark in node.decorator_list
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.attack"
        for argument in mark.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, int)
    ]


if __name__ == "__main__":
    sys.exit(main())
