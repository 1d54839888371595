"""Refuse source files that nobody can hold in their head.

A file has at most 700 lines; one that may have more stands in `EXEMPT` with the reason.
(Functions are held to complexity 15 by ruff's C901.) Prints faults only; exit status 1 for any.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

MAX_LINES: Final = 700
EXEMPT: Final[dict[str, str]] = {
    "tests/stream/test_registry_hosts.py": "its tests share helpers, and tests are no package",
}
"""Path from the root -> why it may be longer."""


def main() -> int:
    root = Path(__file__).resolve().parent.parent
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "*.py"],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    # A file deleted but not yet committed is still listed.
    sizes = {name: _lines(root / name) for name in listed if name and (root / name).is_file()}
    faults = [
        f"{name}: {lines} lines, at most {MAX_LINES}; split it by concern"
        for name, lines in sizes.items()
        if lines > MAX_LINES and name not in EXEMPT
    ]
    faults += [
        f"{name}: its exemption in tools/check_sizes.py is no longer needed"
        for name in EXEMPT
        if sizes.get(name, 0) <= MAX_LINES
    ]
    print(*faults, sep="\n", end="\n" if faults else "")
    return 1 if faults else 0


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


if __name__ == "__main__":
    sys.exit(main())
