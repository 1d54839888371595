"""Every page of the manual does what it says: its blocks are run as a reader would run them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from .markdown import read
from .reader import RUN, Reader

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path.relative_to(ROOT)
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/*.md"))
)
_INDENTED = re.compile(r" {4,}(\$ |fogp2p |make |pip |curl |python |import |from \w+ import )")
pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    "name",
    [str(path) for path in PAGES if any(b.language in RUN for b in read(ROOT / path).blocks)],
)
def test_the_page_does_what_it_says(name: str) -> None:
    page = read(ROOT / name)
    if shutil.which("curl") is None and any("curl " in block.text for block in page.blocks):
        pytest.skip("curl is not installed")
    Reader(page).follow()


def test_every_block_says_what_it_is() -> None:
    known = {*RUN, "text", "mermaid"}
    for path in PAGES:
        for block in read(ROOT / path).blocks:
            assert block.language in known, f"{path}:{block.number}: {block.language!r}"


def test_commands_stand_in_fences() -> None:
    """What is indented only is run by nobody."""
    for path in PAGES:
        if path.name == "cli.md":
            continue  # made from the help texts, which click indents
        for number, line in read(ROOT / path).prose:
            assert not _INDENTED.match(line), f"{path}:{number}: fence this: {line.strip()}"
