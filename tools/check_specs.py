"""Hold specs/ to specs/0000-process.md and specs/0001-header.md.

Each text has its header, each sentence with MUST an anchor, each anchor with MUST a test that cites
it, each cited anchor a text; schemas in the text equal the files; generators reproduce the vectors.
Prints faults only; exit status 1 for any.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
SPECS: Final = ROOT / "specs"
_ROWS: Final = [
    "Stage",
    "Maturity",
    "Status",
    "Revision",
    "Protocol id",
    "Authors",
    "Implementation",
]
_ITEM: Final = re.compile(r"^- \*\*([A-Z]{3}-\d{3})\*\* (.*(?:\n(?:  .*|\n(?=  )))*)", re.M)
_SCHEMA: Final = re.compile(r"^```cddl\n(.*?)^```$", re.M | re.S)


def main() -> int:
    texts = sorted(SPECS.glob("*/*-v*.md"))
    faults = [fault for path in [*texts, *SPECS.glob("0*.md")] for fault in _header(path)]
    anchors: dict[str, str] = {}
    for path in texts:
        faults += _anchors(path, anchors)
        faults += _schemas(path)
    cited = _cited()
    faults += [
        f"{anchor} binds and no test cites it"
        for anchor, sentence in anchors.items()
        if "MUST" in sentence and anchor not in cited
    ]
    faults += [
        f"{test} cites {a}, which no text has" for a, test in cited.items() if a not in anchors
    ]
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(_vectors, sorted(SPECS.glob("*/generate.py"))):
            faults += found
    print(*faults, sep="\n", end="\n" if faults else "")
    return 1 if faults else 0


def _header(path: Path) -> Iterator[str]:
    name = path.relative_to(ROOT)
    head = path.read_text("utf-8").partition("\n\n|")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^\| (\S[^|]*?) \| (\S[^|]*?) \|$", head, re.M))
    for row in _ROWS:
        if row not in rows:
            yield f"{name}: the header has no row {row}"
    if not re.fullmatch(r"r\d+, \d{4}-\d\d-\d\d", rows.get("Revision", "")):
        yield f"{name}: the revision is not 'rN, YYYY-MM-DD'"
    if path.parent != SPECS and not (path.parent / "CHANGES.md").is_file():
        yield f"{name}: there is no CHANGES.md beside it"


def _anchors(path: Path, anchors: dict[str, str]) -> Iterator[str]:
    name = path.relative_to(ROOT)
    text = path.read_text("utf-8")
    for anchor, sentence in _ITEM.findall(text):
        if anchor in anchors:
            yield f"{name}: {anchor} stands there twice"
        anchors[anchor] = sentence
    for line in _ITEM.sub("", text).splitlines():
        if "MUST" in line:
            yield f"{name}: a MUST without an anchor: {line.strip()}"


def _schemas(path: Path) -> Iterator[str]:
    name = path.relative_to(ROOT)
    version = path.stem.rpartition("-")[2]
    file = path.parent / f"{version}.cddl"
    printed = "".join(_SCHEMA.findall(path.read_text("utf-8")))
    kept = file.read_text("utf-8") if file.is_file() else ""
    if printed.strip() and printed != kept:
        yield f"{name}: the printed schema differs from {file.name}"


def _cited() -> dict[str, str]:
    """Anchor -> one test that cites it."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.spec":
                for argument in node.args:
                    if isinstance(argument, ast.Constant):
                        found[str(argument.value)] = str(path.relative_to(ROOT))
    return found


def _vectors(generator: Path) -> list[str]:
    name = generator.relative_to(ROOT)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, str(generator), folder], capture_output=True, text=True, timeout=120
        )
        if done.returncode != 0:
            return [f"{name} failed:\n{done.stderr}"]
        kept = generator.parent / "vectors" / "v1"
        return [
            f"{name} does not reproduce {made.name}"
            for made in sorted(Path(folder).iterdir())
            if not (kept / made.name).is_file()
            or made.read_bytes() != (kept / made.name).read_bytes()
        ]


if __name__ == "__main__":
    sys.exit(main())
