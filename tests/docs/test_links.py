"""Links lead somewhere, and commands named in passing exist."""

from __future__ import annotations

import importlib
import re
import shlex
from functools import cache
from pathlib import Path

import click
import pytest

from fogp2p.cli.main import COMMANDS, cli
from fogp2p.cli.manual import topics

from .markdown import Page, read
from .tables import ELSEWHERE, ENDS_WITH, SAMPLES, UNTIL_INTERRUPTED

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("docs", "deploy", "specs", "requirements", "benchmarks", "interop")
EVERY = sorted([*ROOT.glob("*.md"), *(p for each in FOLDERS for p in (ROOT / each).rglob("*.md"))])
_PROTOCOL = re.compile(r"""(?:ProtocolId|protocol_id)\("(/[\w/.-]+)"\)""")
MANUAL = [page for page in EVERY if page.parent == ROOT or page.is_relative_to(ROOT / "docs")]


@cache
def _page(path: Path) -> Page:
    return read(path)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _tracked(path: Path) -> bool:
    return "node_modules" not in path.parts


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    faults = []
    for path in filter(_tracked, EVERY):
        for number, target in _page(path).links:
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = target.partition("#")
            there = (path.parent / file).resolve() if file else path
            if not there.exists() or not there.is_relative_to(ROOT):
                faults.append(f"{_name(path)}:{number}: {target} does not exist")
            elif anchor and there.suffix == ".md" and anchor not in _page(there).anchors:
                faults.append(f"{_name(path)}:{number}: {target} is no heading")
    assert not faults, "\n".join(faults)


def _fault_of(command: str) -> str:
    """Why this is no command of ours; a word that is no command or option is an argument."""
    words = shlex.split(re.split(r"[|;>&]|  ", command)[0])[1:]
    options = _options(cli)
    here: click.Command = cli
    before = ""
    for word in words:
        option, before = before, word
        if word.isupper() or word.startswith("["):
            # It stands for what the reader has: COMMAND, [OPTIONS].
            return ""
        if word.startswith("-"):
            if word.partition("=")[0] not in options:
                return f"has no option {word}"
        elif here is cli:
            if word not in COMMANDS and option in ("--home", "--api", "--timeout"):
                continue
            if word not in COMMANDS:
                return "is no command"
            here = importlib.import_module(f"fogp2p.cli.commands.{word}").command
            options |= _options(here)
        elif isinstance(here, click.Group) and word in here.commands:
            here = here.commands[word]
            options |= _options(here)
    return ""


def _options(command: click.Command) -> set[str]:
    found = {"-h", "--help"}
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            found |= {*parameter.opts, *parameter.secondary_opts}
    return found


def test_every_command_named_in_passing_exists() -> None:
    faults = []
    for path in MANUAL:
        for number, code in _page(path).spans:
            if not code.startswith("fogp2p ") or "..." in code.split()[1]:
                continue
            fault = _fault_of(code)
            if fault:
                faults.append(f"{_name(path)}:{number}: `{code}` {fault}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    "line", ["fogp2p frobnicate", "fogp2p frobnicate CID", "fogp2p status --frobnicate"]
)
def test_commands_that_do_not_exist_are_noticed(line: str) -> None:
    assert _fault_of(line)


def test_every_page_of_the_manual_has_a_title() -> None:
    for path in MANUAL:
        assert path.read_text("utf-8").startswith("# "), _name(path)


def test_no_exception_of_the_tables_is_left_over() -> None:
    text = "\n".join(path.read_text("utf-8") for path in (*MANUAL, ROOT / "deploy" / "README.md"))
    for entry in (*ELSEWHERE, *ENDS_WITH, *SAMPLES, *UNTIL_INTERRUPTED):
        assert entry in text, f"no page has {entry!r}"


def test_the_program_shows_every_page() -> None:
    docs = ROOT / "docs"
    pages = {str(p.relative_to(docs))[:-3] for p in MANUAL if p.is_relative_to(docs)}
    assert {topic.name for topic in topics()} == pages


def test_the_index_names_every_page() -> None:
    """Errors are found by their number, and the reference lists them."""
    index = ROOT / "docs" / "README.md"
    named = {(index.parent / target).resolve() for _, target in _page(index).links}
    pages = {path for path in MANUAL if path.is_relative_to(ROOT / "docs") and path != index}
    missing = [_name(path) for path in pages - named if path.parent.name != "errors"]
    assert not missing


def test_the_wire_table_has_every_protocol() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    served = set()
    for folder in ("protocols", "transports"):
        for file in (ROOT / folder).rglob("*.py"):
            served |= set(_PROTOCOL.findall(file.read_text("utf-8")))
    assert {"/fog/version/1.0.0", "/meshsub/1.1.0"} <= served
    assert not [name for name in served if f"`{name}`" not in text]
