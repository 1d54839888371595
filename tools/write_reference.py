"""Write docs/reference/api.md, cli.md, config.md and errors.md from the program itself.

With `--check` nothing is written, and a page that is out of date is a fault (exit status 1).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
from api_reference import api_page

from fogp2p.cli.main import COMMANDS
from fogp2p.config import describe_keys
from fogp2p.errors import FogError

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / "docs" / "reference"
_ROOMS: Final = ("fogp2p", "protocols", "transports")


def main() -> int:
    pages = {"api": api_page(), "cli": _cli(), "config": _config(), "errors": _errors()}
    stale = []
    for name, text in pages.items():
        path = FOLDER / f"{name}.md"
        if "--check" not in sys.argv[1:]:
            path.write_text(text, "utf-8")
        elif not path.is_file() or path.read_text("utf-8") != text:
            stale.append(f"docs/reference/{name}.md is out of date; run `make reference`")
    print(*stale, sep="\n", end="\n" if stale else "")
    return 1 if stale else 0


def _config() -> str:
    lines = [
        "# Configuration",
        "",
        "Layers, later ones win: defaults, `config.toml` in the peer's directory, variables",
        "`FOGP2P_<SECTION>__<KEY>`, `--set section.key=value`. An unknown key is an error that",
        "names the nearest known one. `fogp2p config show --origin` shows where a value came from.",
        "",
        "| key | kind | default | what it does |",
        "|---|---|---|---|",
    ]
    for name, kind, about, default in describe_keys():
        lines.append(f"| `{name}` | {kind} | `{_shown(default)}` | {about} |")
    return "\n".join(lines) + "\n"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "(none)"
    return str(value).lower() if isinstance(value, bool) else str(value) or "(empty)"


def _cli() -> str:
    lines = [
        "# Commands",
        "",
        "`fogp2p [--home DIR] [--json] [--quiet] [--set KEY=VALUE] COMMAND`; exit codes are in",
        "[exit-codes.md](exit-codes.md), settings in [config.md](config.md).",
        "",
    ]
    for name in COMMANDS:
        command: click.Command = importlib.import_module(f"fogp2p.cli.commands.{name}").command
        lines += _described(command, click.Context(command, info_name=f"fogp2p {name}"), "##")
    return "\n".join(lines).rstrip() + "\n"


def _described(command: click.Command, ctx: click.Context, heading: str) -> Iterator[str]:
    usage = command.get_usage(ctx).removeprefix("Usage: ")
    yield from (f"{heading} {ctx.command_path}", "", f"`{usage}`", "", command.help or "", "")
    options = [
        (" ".join(option.opts), option.help or "")
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden
    ]
    if options:
        yield from (f"* `{names}`: {about}" for names, about in options)
        yield ""
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from _described(inner, click.Context(inner, ctx, inner.name), heading + "#")


def _errors() -> str:
    for folder in _ROOMS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "class " in path.read_text("utf-8") and "number =" in path.read_text("utf-8"):
                inner = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
                importlib.import_module(inner if folder == "fogp2p" else f"fogp2p.{inner}")
    lines = [
        "# Errors",
        "",
        "A number never changes its meaning. `--json` has it as `error.number`.",
        "",
        "| number | name | meaning |",
        "|---|---|---|",
    ]
    for kind in sorted(_kinds(FogError), key=lambda kind: kind.number):
        about = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        lines.append(f"| {kind.number} | `{kind.__name__}` | {about} |")
    return "\n".join(lines) + "\n"


def _kinds(kind: type[FogError]) -> Iterator[type[FogError]]:
    if "number" in vars(kind):
        yield kind
    for inner in kind.__subclasses__():
        yield from _kinds(inner)


if __name__ == "__main__":
    sys.exit(main())
