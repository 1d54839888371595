"""fogp2p config show | check | where | set | unset | rollback | edit | token"""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from fogp2p.cli.answers import (
    ConfigCheck,
    ConfigEdited,
    ConfigShow,
    ConfigWhere,
    Place,
    SettingShown,
)
from fogp2p.cli.exits import Refused
from fogp2p.cli.output import Output, table
from fogp2p.cli.settings import load, set_option
from fogp2p.cli.tokens import token
from fogp2p.client import NotRunning
from fogp2p.config import Setting, describe_keys
from fogp2p.environment import real_environment
from fogp2p.errors import ConfigError
from fogp2p.killpoints import killpoint
from fogp2p.schema import answer

if TYPE_CHECKING:
    from fogp2p.config_edit import Edited

__all__ = ["command"]

_EXAMPLE: Final = """\
# Settings of this peer. All keys, with what they do: fogp2p docs config
#
# [network]
# target_peers = 8
"""


@click.group("config")
def command() -> None:
    """Show, check, change and find the configuration. None of it needs a running peer."""


@command.command("show")
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
@set_option
@click.pass_obj
def show(output: Output, origin: bool, settings: tuple[str, ...]) -> None:
    """Print every setting."""
    loaded = load(output, settings)
    about = {name: text for name, _, text, _ in describe_keys()}
    found = {
        name: SettingShown(value, loaded.origins[name], about[name])
        for name, value in loaded.config.items()
    }
    rows = [
        [name, _shown(each.value), *([each.origin] if origin else []), each.about]
        for name, each in found.items()
    ]
    head = ["KEY", "VALUE", *(["FROM"] if origin else []), "WHAT IT DOES"]
    output.result(answer(ConfigShow(found)), table(head, rows))


@command.command("check")
@set_option
@click.pass_obj
def check(output: Output, settings: tuple[str, ...]) -> None:
    """Read the file, the variables and the flags, and name every mistake."""
    load(output, settings)
    file = output.paths.config
    found = ConfigCheck(True, str(file), file.exists())
    output.result(answer(found), [f"good: {file if found.there else 'no file, all defaults'}"])


@command.command("where")
@click.pass_obj
def where(output: Output) -> None:
    """Print where this peer keeps its files, how large they are, and what may be deleted."""
    paths = output.paths
    # What is learned again by itself may go while the peer is down.
    wanted = {
        "config": (paths.config, False),
        "keystore": (paths.keystore, False),
        "store": (paths.store, False),
        "invites": (paths.invites, False),
        "blobs": (paths.blobs, False),
        "registry": (paths.registry, False),
        "known peers": (paths.known_peers, True),
        "log": (paths.log, True),
        "lock": (paths.lock, True),
        "socket": (paths.socket, True),
    }
    places = {name: _place(path, safe) for name, (path, safe) in wanted.items()}
    rows = [
        [
            name,
            each.path,
            "not yet" if each.size_bytes is None else f"{each.size_bytes} bytes",
            "may be deleted" if each.safe_to_delete else "keep",
        ]
        for name, each in places.items()
    ]
    output.result(answer(ConfigWhere(places)), table(["WHAT", "PATH", "SIZE", "WHEN DOWN"], rows))


@command.command("set")
@click.argument("key")
@click.argument("values", metavar="VALUE...", nargs=-1, required=True)
@click.pass_obj
def set_key(output: Output, key: str, values: tuple[str, ...]) -> None:
    """Write KEY (section.key) into the file. Several VALUEs make a list. Comments stay."""
    from fogp2p.cli.config_file import set_value

    edited = set_value(output.paths.config, real_environment().disk, key, ",".join(values))
    _tell(output, edited, key)


@command.command("unset")
@click.argument("key")
@click.pass_obj
def unset_key(output: Output, key: str) -> None:
    """Take KEY out of the file: its default holds again."""
    from fogp2p.cli.config_file import unset

    _tell(output, unset(output.paths.config, real_environment().disk, key), key)


@command.command("rollback")
@click.pass_obj
def rollback(output: Output) -> None:
    """Go back to the file as it was before the last change; a second time takes that back."""
    from fogp2p.cli import config_file

    _tell(output, config_file.rollback(output.paths.config, real_environment().disk), "")


@command.command("edit")
@click.pass_obj
def edit(output: Output) -> None:
    """Open the file in $VISUAL or $EDITOR. A file with mistakes is not taken; the draft is kept."""
    from fogp2p.cli.config_file import MAX_FILE_BYTES, replace_text

    path, disk = output.paths.config, real_environment().disk
    draft = path.with_name(f"{path.name}.draft")
    before = disk.read(path, max_bytes=MAX_FILE_BYTES)
    if not draft.exists():
        disk.replace(draft, before if before is not None else _EXAMPLE.encode("ascii"))
        killpoint("draft.made")
    elif disk.read(draft, max_bytes=MAX_FILE_BYTES) != before:
        # Saving it takes back what was changed since.
        output.say(f"this is your draft {draft} of an edit that did not end, not the file")
    _open_editor(draft)
    try:
        edited = replace_text(path, disk, disk.read(draft, max_bytes=MAX_FILE_BYTES) or b"")
    except ConfigError as exc:
        hint = f"`fogp2p config edit` goes on with your draft {draft}"
        raise ConfigError(str(exc), hint=hint) from exc
    killpoint("draft.placed")
    disk.remove(draft)
    _tell(output, edited, "")


command.add_command(token)


def _open_editor(path: Path) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    if not editor:
        raise Refused(
            "no editor is named in VISUAL or EDITOR",
            hint="EDITOR=nano fogp2p config edit, or fogp2p config set KEY VALUE",
        )
    try:
        line = [*shlex.split(editor), str(path)]
        done = subprocess.run(line, check=False)  # noqa: S603 - the user's own
    except (OSError, ValueError) as exc:
        raise Refused(f"cannot start {editor}: {exc}", hint="name another in EDITOR") from exc
    if done.returncode != 0:
        raise Refused(f"{editor} ended with {done.returncode}; nothing changed", hint="try again")


def _tell(output: Output, edited: Edited, key: str) -> None:
    file = output.paths.config
    value = dict(edited.loaded.config.items())[key] if key else None
    found = ConfigEdited(str(file), key, value, str(edited.previous or ""))
    what = f"{key} is {_shown(value)}" if value is not None else "good, and in place"
    output.result(answer(found), [f"{what} ({file})"])
    if edited.previous is not None:
        output.say("undo it: fogp2p config rollback")
    if _is_running(output):
        output.say("the running peer takes it up when it starts anew: fogp2p down; fogp2p up -d")


def _is_running(output: Output) -> bool:
    try:
        output.client().get("status")
    except NotRunning:
        return False
    return True


def _place(path: Path, safe: bool) -> Place:
    try:
        size = path.lstat().st_size
    except OSError:
        return Place(str(path), False, None, safe)
    return Place(str(path), True, size, safe)


def _shown(value: Setting) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "(none)"
    return str(value).lower() if isinstance(value, bool) else str(value)
