"""Write docs/reference/{api,cli,config,errors,schemas}.md from the program itself.

With `--check` nothing is written, and a page that is out of date is a fault (exit status 1).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
from api_reference import api_page

from fogp2p.cli.answers import known_schemas
from fogp2p.cli.main import COMMANDS, cli
from fogp2p.cli.manual import page
from fogp2p.config import describe_keys
from fogp2p.doctor.findings import FAULTS
from fogp2p.errors import FogError
from fogp2p.schema import json_schema

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / "docs" / "reference"
_ROOMS: Final = ("fogp2p", "protocols", "transports")


def main() -> int:
    pages = {"api": api_page(), "cli": _cli(), "config": _config(), "errors": _errors()}
    pages["schemas"] = _schemas()
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
        "`fogp2p [OPTIONS] COMMAND`; these options may also stand behind the command. Exit codes",
        "are in [exit-codes.md](exit-codes.md), settings in [config.md](config.md), what `--json`",
        "prints in [schemas.md](schemas.md). Nothing that only reads uses the network.",
        "",
        *_options(cli),
    ]
    for name in COMMANDS:
        command: click.Command = importlib.import_module(f"fogp2p.cli.commands.{name}").command
        lines += _described(command, click.Context(command, info_name=f"fogp2p {name}"), "##")
    return "\n".join(lines).rstrip() + "\n"


def _described(command: click.Command, ctx: click.Context, heading: str) -> Iterator[str]:
    usage = command.get_usage(ctx).removeprefix("Usage: ")
    yield from (f"{heading} {ctx.command_path}", "", f"`{usage}`", "", command.help or "", "")
    yield from _options(command)
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            if not inner.hidden:
                yield from _described(inner, click.Context(inner, ctx, inner.name), heading + "#")


def _options(command: click.Command) -> Iterator[str]:
    options = [
        option
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden
    ]
    for option in options:
        value = "" if option.is_flag else f" {option.metavar or option.type.name.upper()}"
        yield f"* `{', '.join(option.opts)}{value}`: {option.help or ''}"
    if options:
        yield ""


def _schemas() -> str:
    lines = [
        "# What `--json` prints",
        "",
        "Every answer, of a command and of the API, begins with the name of its schema. Within",
        "one version members are only added; a change of meaning gets a new number. `events` and",
        "`logs` print JSON Lines. Errors are `error/1` on standard error. `fogp2p docs schemas",
        "NAME` prints the JSON Schema itself.",
        "",
    ]
    for name, kind in known_schemas().items():
        about = " ".join((kind.__doc__ or "").split())
        lines += [f"## {name}", "", about, "", "| member | kind | what it holds |", "|---|---|---|"]
        for member, schema in json_schema(kind)["properties"].items():
            if member != "schema":
                lines.append(f"| `{member}` | {_kind(schema)} | {schema.get('description', '')} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _kind(schema: dict[str, Any]) -> str:
    """A schema in a few words."""
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    if "properties" in schema:
        inner = ", ".join(f"`{name}`" for name in schema["properties"])
        return f"object of {inner}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"object of named {_kind(schema['additionalProperties'])}"
    return str(schema.get("type", "anything"))


def _errors() -> str:
    for folder in _ROOMS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "class " in path.read_text("utf-8") and "number =" in path.read_text("utf-8"):
                inner = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
                importlib.import_module(inner if folder == "fogp2p" else f"fogp2p.{inner}")
    lines = [
        "# Errors",
        "",
        "A number never changes its meaning. With `--json` an error has it as `code`. Each has a",
        "page: `fogp2p docs FOG-NET-002`.",
        "",
        "| number | name | meaning |",
        "|---|---|---|",
    ]
    for kind in sorted(_kinds(FogError), key=lambda kind: kind.number):
        about = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        lines.append(f"| {_linked(kind.number)} | `{kind.__name__}` | {about} |")
    lines += [
        "",
        "## What the doctor finds",
        "",
        "`fogp2p doctor` gives these; they stop nothing by themselves.",
        "",
        "| number | severity | meaning |",
        "|---|---|---|",
    ]
    for number, severity in FAULTS.items():
        title = page(number).title.removeprefix(f"{number}: ")
        lines.append(f"| {_linked(number)} | {severity.value} | {title} |")
    return "\n".join(lines) + "\n"


def _linked(number: str) -> str:
    return f"[{number}](../errors/{number}.md)"


def _kinds(kind: type[FogError]) -> Iterator[type[FogError]]:
    if "number" in vars(kind):
        yield kind
    for inner in kind.__subclasses__():
        yield from _kinds(inner)


if __name__ == "__main__":
    sys.exit(main())
