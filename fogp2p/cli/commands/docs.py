"""fogp2p docs [TOPIC | completion | man | schemas]"""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import click

from fogp2p.cli.answers import Completion, ManPage, ManPages, Schemas, Topics, known_schemas
from fogp2p.cli.exits import NotFound
from fogp2p.cli.manual import page, topics
from fogp2p.cli.nearest import nearest
from fogp2p.cli.output import Output, table
from fogp2p.environment import DiskError
from fogp2p.schema import answer, json_schema

__all__ = ["command"]


class _Docs(click.Group):
    """Every word that is no command is a topic."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands:
            return "show", self.commands["show"], args
        return super().resolve_command(ctx, args)


@click.group("docs", cls=_Docs, invoke_without_command=True, subcommand_metavar="[TOPIC | COMMAND]")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Read the manual, offline. TOPIC is a page or the number of an error: docs FOG-NET-002.

    Without a topic: list all pages.
    """
    if ctx.invoked_subcommand is not None:
        return
    output: Output = ctx.obj
    found = tuple(topics())
    output.result(
        answer(Topics(found)),
        table(["TOPIC", "TITLE"], [[each.name, each.title] for each in found]),
    )


@command.command("show", hidden=True)
@click.argument("topic")
@click.pass_obj
def show(output: Output, topic: str) -> None:
    """Print one page."""
    found = page(topic)
    output.result(answer(found), found.markdown.rstrip().split("\n"))


@command.command("completion")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_obj
def completion(output: Output, shell: str) -> None:
    """Print what SHELL reads to complete our commands.

    bash: fogp2p docs completion bash > ~/.local/share/bash-completion/completions/fogp2p
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise NotFound(f"click completes nothing in {shell}", hint="bash, zsh and fish are known")
    made = kind(_root(), {}, "fogp2p", "_FOGP2P_COMPLETE")
    script = made.source_template % made.source_vars()
    output.result(answer(Completion(shell, script)), script.rstrip().split("\n"))


@command.command("man")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write a page for every command there, such as ~/.local/share/man/man1.",
)
@click.pass_obj
def man(output: Output, directory: Path | None) -> None:
    """Print the manual page fogp2p(1), or write the pages of all commands.

    fogp2p docs man | man -l -
    """
    root = _root()
    about = _commands()
    pages = {"fogp2p": _man(root, "fogp2p", about)}
    if directory is None:
        text = pages["fogp2p"]
        found = ManPages((ManPage("fogp2p.1", "", text),))
        output.result(answer(found), text.rstrip().split("\n"))
        return
    for name in about:
        pages |= _pages(_module(name), f"fogp2p {name}")
    made = []
    for name, text in pages.items():
        made.append(ManPage(f"{name}.1", str(directory / f"{name}.1"), text))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for each in made:
            Path(each.path).write_text(each.roff, "utf-8")
    except OSError as exc:
        raise DiskError(f"cannot write to {directory}: {exc.strerror or exc}") from exc
    output.result(answer(ManPages(tuple(made))), [each.path for each in made])


@command.command("schemas")
@click.argument("name", required=False)
@click.pass_obj
def schemas(output: Output, name: str | None) -> None:
    """Print the JSON Schema NAME, such as status/1; without a name list all.

    Within one version members are only added.
    """
    known = known_schemas()
    if name is None:
        everything = {each: json_schema(kind) for each, kind in known.items()}
        rows = [[each, " ".join((kind.__doc__ or "").split())] for each, kind in known.items()]
        output.result(answer(Schemas(everything)), table(["SCHEMA", "WHAT"], rows))
        return
    if name not in known:
        raise NotFound(
            f"there is no schema {name!r}{nearest(name, known)}", hint="fogp2p docs schemas"
        )
    found = json_schema(known[name])
    lines = json.dumps(found, indent=2, ensure_ascii=False).split("\n")
    output.result(answer(Schemas({name: found})), lines)


def _root() -> click.Group:
    return importlib.import_module("fogp2p.cli.main").cli  # type: ignore[no-any-return]


def _commands() -> dict[str, str]:
    return dict(importlib.import_module("fogp2p.cli.main").COMMANDS)


def _module(name: str) -> click.Command:
    return importlib.import_module(f"fogp2p.cli.commands.{name}").command  # type: ignore[no-any-return]


def _pages(command: click.Command, path: str) -> dict[str, str]:
    inner = command.commands if isinstance(command, click.Group) else {}
    shown = {name: each for name, each in inner.items() if not each.hidden}
    about = {name: each.get_short_help_str(100) for name, each in shown.items()}
    found = {path.replace(" ", "-"): _man(command, path, about)}
    for name, each in shown.items():
        found |= _pages(each, f"{path} {name}")
    return found


def _man(command: click.Command, path: str, about: dict[str, str]) -> str:
    from fogp2p.cli.roff import man_page

    return man_page(command, path, about)
