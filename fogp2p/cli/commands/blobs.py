"""fogp2p blobs"""

from __future__ import annotations

from typing import Any

import click

from fogp2p.cli.exits import WrongUse
from fogp2p.cli.output import Output, limit_option, size, table, watch_option
from fogp2p.client import Client

__all__ = ["command"]


@click.group("blobs", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """The files that this peer keeps by their content, and the transfers."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(listed)


@command.command("list")
@watch_option
@limit_option
@click.pass_obj
def listed(output: Output, watch: bool = False, limit: int | None = None) -> None:
    """List them, the most recently used first."""
    client = output.client()

    def show() -> None:
        found = client.get(f"blobs?limit={min(limit or 1_000, 10_000)}")
        output.result(found, _lines(found))

    output.repeat(show, watch=watch)


def _lines(found: dict[str, Any]) -> list[str]:
    summary = found["summary"]
    shown = [
        f"{size(summary['used_bytes'])} of {size(summary['quota_bytes'])}, "
        f"{summary['kept']} kept, {summary['running']} transfers"
    ]
    if found["problem"]:
        shown.append(f"! {found['problem']}")
    moving = [each for each in found["transfers"] if each["state"] == "running"]
    failed = [each for each in found["transfers"] if each["state"] == "failed"][-3:]
    if moving or failed:
        head = ["TRANSFER", "WHAT", "DONE", "OF", "RATE", "STATE", "NAME"]
        shown += table(head, [_transfer(each) for each in [*failed, *moving]])
    if found["blobs"]:
        head = ["CID", "SIZE", "HERE", "PINNED", "SHARED", "NAME"]
        shown += table(head, [_blob(each) for each in found["blobs"]])
    else:
        shown.append("no blobs; begin: fogp2p share FILE")
    return shown


def _transfer(each: dict[str, Any]) -> list[str]:
    return [
        each["id"],
        each["kind"],
        size(each["done_bytes"]),
        size(each["size_bytes"]),
        f"{size(each['rate'])}/s",
        f"{each['state']}: {each['why']}" if each["why"] else each["state"],
        each["name"] or (each["cid"] or "-"),
    ]


def _blob(each: dict[str, Any]) -> list[str]:
    here = "all" if each["whole"] else f"{each['present']} of {each['chunks']}"
    pinned, shared = ("yes" if each[word] else "-" for word in ("pinned", "shared"))
    return [each["cid"], size(each["size_bytes"]), here, pinned, shared, each["name"] or "-"]


@command.command("pin")
@click.argument("cid")
@click.pass_obj
def pin(output: Output, cid: str) -> None:
    """Keep CID also when room is needed. The beginning or end of it is enough."""
    _pin(output, cid, True)


@command.command("unpin")
@click.argument("cid")
@click.pass_obj
def unpin(output: Output, cid: str) -> None:
    """Let CID make room when something else needs it."""
    _pin(output, cid, False)


def _pin(output: Output, cid: str, pinned: bool) -> None:
    client = output.client()
    name = _whole(client, cid)
    found = client.patch(f"blobs/{name}", {"pinned": pinned})
    output.result(found, [f"{'pinned' if pinned else 'no longer pinned'}: {name}"])


@command.command("remove")
@click.argument("cid")
@click.pass_obj
def remove(output: Output, cid: str) -> None:
    """Remove CID here, and end a fetch of it. Other peers keep theirs."""
    client = output.client()
    name = _whole(client, cid)
    output.confirm(f"Remove {name}?")
    found = client.delete(f"blobs/{name}")
    output.result(found, [f"removed {name}"])


def _whole(client: Client, text: str) -> str:
    """The CID that begins or ends like this. Raises WrongUse when several do."""
    if len(text) == 59:
        return text
    known = client.get("blobs?limit=10000")
    names = {each["cid"] for each in [*known["blobs"], *known["transfers"]] if each["cid"]}
    fits = [name for name in names if name.startswith(text) or name.endswith(text)]
    if len(fits) > 1:
        raise WrongUse(f"{len(fits)} blobs begin or end with {text!r}", hint="fogp2p blobs")
    return fits[0] if fits else text
