"""What stands in a page: fenced blocks, links, anchors, commands between backticks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^( *)(```+|~~~+) *(\w*) *(.*?) *$")
_HEADING = re.compile(r"^#{1,6} +(.*?)(?: +#+)?$")
_LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
_NAMED_LINK = re.compile(r"^ {0,3}\[[^\]]+\]: +<?(\S+?)>?(?: .*)?$")
_SPAN = re.compile(r"(`+)(.+?)\1")
_COMMENT = re.compile(r"<!--.*?-->", re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block. `note` is what follows the language: another machine, or a file's name."""

    number: int
    """The line of its fence, from 1."""
    language: str
    note: str
    text: str


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path
    blocks: tuple[Block, ...]
    prose: tuple[tuple[int, str], ...]
    """The lines outside of blocks, each with its number."""

    @property
    def anchors(self) -> frozenset[str]:
        """The names that GitHub gives to the headings."""
        found: dict[str, int] = {}
        names = set()
        for _, line in self.prose:
            heading = _HEADING.match(line)
            if heading is None:
                continue
            name = _slug(heading[1])
            count = found.get(name, 0)
            found[name] = count + 1
            names.add(f"{name}-{count}" if count else name)
        return frozenset(names)

    @property
    def links(self) -> Iterator[tuple[int, str]]:
        """Every link's target with its line; code is none."""
        for number, line in self.prose:
            plain = _SPAN.sub("`code`", line)
            for target in _LINK.findall(plain) + _NAMED_LINK.findall(plain):
                yield number, target

    @property
    def spans(self) -> Iterator[tuple[int, str]]:
        """What stands between backticks, with its line; a span may not be broken over lines."""
        for number, line in self.prose:
            for _, code in _SPAN.findall(line):
                yield number, code.strip()


def read(path: Path) -> Page:
    """Read a page. Raises ValueError for a block that does not end."""
    text = _COMMENT.sub(lambda found: "\n" * found[0].count("\n"), path.read_text("utf-8"))
    blocks: list[Block] = []
    prose: list[tuple[int, str]] = []
    lines = iter(enumerate(text.split("\n"), 1))
    for number, line in lines:
        fence = _FENCE.match(line)
        if fence is None:
            prose.append((number, line))
            continue
        indent, mark, language, note = fence.groups()
        inside = []
        for _, inner in lines:
            if inner.strip() == mark:
                break
            inside.append(inner.removeprefix(indent))
        else:
            raise ValueError(f"{path}:{number}: the block does not end")
        blocks.append(Block(number, language, note, "\n".join(inside) + "\n"))
    return Page(path, tuple(blocks), tuple(prose))


def _slug(heading: str) -> str:
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
