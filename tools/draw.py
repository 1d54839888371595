"""Draw docs/architecture.md from the code: layers, rooms, and every state machine.

The text between `<!-- drawn: NAME -->` and `<!-- end -->` is written anew; the rest is by hand.
With `--check` nothing is written, and a page that is out of date is a fault (exit status 1).
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import grimp

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "architecture.md"
_BLOCK: Final = re.compile(r"(<!-- drawn: (\w+) -->\n).*?(<!-- end -->)", re.S)
_FOLDERS: Final = ("fogp2p", "protocols", "transports")


def main() -> int:
    makers = {"layers": _layers, "rooms": _rooms, "protocols": _protocols, "machines": _machines}
    old = PAGE.read_text("utf-8")
    new = _BLOCK.sub(lambda block: "".join((block[1], _lines(makers[block[2]]()), block[3])), old)
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(new, "utf-8")
    elif new != old:
        print("docs/architecture.md is out of date; run `make reference`")
        return 1
    return 0


def _lines(lines: Iterator[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _layers() -> Iterator[str]:
    """The contract that import-linter holds, as a drawing."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (layers,) = [
        each["layers"]
        for each in contracts["tool"]["importlinter"]["contracts"]
        if each["type"] == "layers"
    ]
    yield from ("```mermaid", "flowchart TD")
    shown = [names for line in layers if (names := _present(line))]
    for number, names in enumerate(shown):
        yield f'    L{number}["{" &nbsp; ".join(names)}"]'
    for number in range(len(shown) - 1):
        yield f"    L{number} --> L{number + 1}"
    yield "```"


def _present(line: str) -> list[str]:
    """The modules of a layer that exist: a name in brackets may be still to come."""
    names = [part.strip(" ()").removeprefix("fogp2p.") for part in line.split("|")]
    return [name for name in names if _source(name) is not None]


def _source(name: str) -> Path | None:
    base = ROOT / name if name in _FOLDERS[1:] else ROOT / "fogp2p" / name
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _rooms() -> Iterator[str]:
    """Each room of the package with the first sentence of its docstring."""
    yield from ("| room | what it is |", "|---|---|")
    for path in sorted((ROOT / "fogp2p").iterdir()):
        source = path if path.suffix == ".py" else path / "__init__.py"
        if not path.is_symlink() and source.is_file() and path.stem not in ("__init__", "__main__"):
            yield f"| `{path.stem}` | {_sentence(source)} |"


def _protocols() -> Iterator[str]:
    """Protocols and transports, and which of them import each other."""
    for folder in _FOLDERS[1:]:
        for path in sorted((ROOT / folder).iterdir()):
            if (path / "__init__.py").is_file():
                yield f"* `{folder}/{path.name}`: {_sentence(path / '__init__.py')}"
    graph = grimp.build_graph("fogp2p", cache_dir=None)
    rooms = sorted(graph.find_children("fogp2p.protocols"))
    arrows = [
        (one, other)
        for one in rooms
        for other in rooms
        if one != other
        and graph.direct_import_exists(importer=one, imported=other, as_packages=True)
    ]
    yield from ("", "```mermaid", "flowchart LR")
    for room in rooms:
        yield f"    {room.rpartition('.')[2]}"
    for one, other in arrows:
        yield f"    {one.rpartition('.')[2]} --> {other.rpartition('.')[2]}"
    yield "```"


def _machines() -> Iterator[str]:
    """Every `TRANSITIONS` table as a state diagram."""
    for folder in _FOLDERS:
        for path in sorted((ROOT / folder).rglob("machine.py")):
            if any(part.is_symlink() for part in path.parents):
                continue
            inside = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(inside if inside[0] == "fogp2p" else ("fogp2p", *inside))
            table = getattr(importlib.import_module(name), "TRANSITIONS", None)
            if table is None:
                continue
            yield from (f"### `{name}`", "", "```mermaid", "stateDiagram-v2")
            first = next(iter(table))
            yield f"    [*] --> {first.name}"
            for state, moves in table.items():
                for event, target in moves.items():
                    word = getattr(event, "__name__", None) or getattr(event, "name", str(event))
                    yield f"    {state.name} --> {target.name}: {word}"
                if not moves:
                    yield f"    {state.name} --> [*]"
            yield from ("```", "")


def _sentence(source: Path) -> str:
    text = ast.get_docstring(ast.parse(source.read_text("utf-8"))) or ""
    first = " ".join(text.split("\n\n")[0].split())
    return first.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
