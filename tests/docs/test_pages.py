"""Every page of the manual does what it says: its blocks are run as a reader would run them."""

from __future__ import annotations

from pathlib import Path

import pytest

from .markdown import read
from .reader import RUN, Reader

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path.relative_to(ROOT)
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/*.md"))
)
pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    "name",
    [str(path) for path in PAGES if any(b.language in RUN for b in read(ROOT / path).blocks)],
)
def test_the_page_does_what_it_says(name: str) -> None:
    Reader(read(ROOT / name)).follow()


def test_every_block_says_what_it_is() -> None:
    known = {*RUN, "text", "mermaid"}
    for path in PAGES:
        for block in read(ROOT / path).blocks:
            assert block.language in known, f"{path}:{block.number}: {block.language!r}"
