"""The manual's pages as they are shipped: Markdown files of the package fogp2p.manual."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

from .answers import Page, Topic
from .exits import NotFound
from .nearest import nearest

__all__ = ["page", "topics"]


def topics() -> Iterator[Topic]:
    """Every page, sorted by name."""
    for name, file in sorted(_files().items()):
        yield Topic(name, _title(file.read_text("utf-8"), name))


def page(wanted: str) -> Page:
    """The page for a name, its last part, or an error's number, in any case. Raises NotFound."""
    found = _files()
    key = wanted.lower().removesuffix(".md").strip("/")
    fits = [name for name in found if name.lower() == key or name.lower().endswith(f"/{key}")]
    if not fits:
        # A typo is near to the whole name or to its last part.
        known = {part: None for name in found for part in (name, name.rpartition("/")[2])}
        upper = wanted.upper() if wanted.lower().startswith("fog") else wanted
        raise NotFound(
            f"the manual has no page {wanted!r}{nearest(upper, known)}",
            hint="fogp2p docs  lists all pages",
        )
    name = min(fits, key=len)
    text = found[name].read_text("utf-8")
    return Page(name, _title(text, name), text)


def _files() -> dict[str, Traversable]:
    """By name: the path without its ending. Folders are one level deep."""
    found: dict[str, Traversable] = {}
    for entry in files("fogp2p.manual").iterdir():
        if entry.is_dir():
            for inner in entry.iterdir():
                if inner.name.endswith(".md"):
                    found[f"{entry.name}/{inner.name.removesuffix('.md')}"] = inner
        elif entry.name.endswith(".md"):
            found[entry.name.removesuffix(".md")] = entry
    return found


def _title(text: str, name: str) -> str:
    first = text.partition("\n")[0]
    return first.removeprefix("# ").strip() if first.startswith("# ") else name
