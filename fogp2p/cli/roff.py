"""Manual pages (man 7) from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator

import click

from fogp2p import __version__

__all__ = ["man_page"]


def man_page(command: click.Command, path: str, commands: dict[str, str]) -> str:
    """The page of one command. `path`: "fogp2p status"; `commands`: name -> what it does."""
    ctx = click.Context(command, info_name=path)
    name = path.replace(" ", "-")
    about = (command.help or "").partition("\n\n")[0]
    lines = [
        f'.TH "{name.upper()}" "1" "" "fogp2p {__version__}" "fogp2p"',
        ".SH NAME",
        f"{_text(name)} \\- {_text(about)}",
        ".SH SYNOPSIS",
        f".B {_text(path)}",
        _text(" ".join(command.collect_usage_pieces(ctx))),
        ".SH DESCRIPTION",
    ]
    for paragraph in (command.help or "").split("\n\n"):
        lines += [_text(paragraph), ".PP"]
    lines += _options(command, ctx)
    if commands:
        lines.append(".SH COMMANDS")
        for each, what in commands.items():
            lines += [".TP", f"\\fB{_text(each)}\\fP", _text(what)]
    lines += [
        ".SH EXIT STATUS",
        "0 ok, 1 failed, 2 wrong use, 3 no peer is running, 4 not found, 5 unreachable or too",
        "late, 6 not permitted, 7 refused, 8 partly done or warnings, 9 configuration or state is",
        "broken, 10 a job failed, 130 and 143 ended by a signal.",
        ".SH SEE ALSO",
        "fogp2p docs (the manual, without a network)",
    ]
    return "\n".join(lines) + "\n"


def _options(command: click.Command, ctx: click.Context) -> Iterator[str]:
    records = [
        record
        for parameter in command.get_params(ctx)
        if (record := parameter.get_help_record(ctx)) is not None
    ]
    if records:
        yield ".SH OPTIONS"
    for names, about in records:
        yield from (".TP", f"\\fB{_text(names)}\\fP", _text(about))


def _text(text: str) -> str:
    """As roff prints it: no line begins a request, no backslash or hyphen means something else."""
    joined = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{joined}" if joined[:1] in (".", "'") else joined
