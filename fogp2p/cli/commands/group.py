"""fogp2p group"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

import click

from fogp2p.cli.exits import NotFound
from fogp2p.cli.output import Output, limit_option, printable, table
from fogp2p.cli.peer import find_peer
from fogp2p.client import Client

__all__ = ["command"]

_SHOWN: Final = 100
_WAIT_S: Final = 5
_DONE: Final = {
    "found": "founded the group",
    "admit": "admitted a member",
    "remove": "removed a member",
    "leave": "left",
    "epoch": "changed the key",
}


@click.group("group")
def command() -> None:
    """Conversations that are the same for all members, whoever was offline.

    GROUP is a group's name, or the beginning of its id.
    """


@command.command("create")
@click.argument("name")
@click.pass_obj
def create(output: Output, name: str) -> None:
    """Found a group called NAME. Then: fogp2p group admit NAME PEER."""
    made = output.client().post("groups", {"name": name})
    output.result(made, [made["id"]])
    output.say(f"whom you admit types:  fogp2p group open {made['id']}")


@command.command("list")
@limit_option
@click.pass_obj
def listed(output: Output, limit: int | None) -> None:
    """List the groups that this peer carries."""
    answer = output.client().get("groups")
    answer["groups"] = answer["groups"][:limit]
    rows = [
        [
            each["name"] or "-",
            each["id"][:12],
            "yes" if each["is_member"] else "-",
            str(each["members"]),
            str(each["entries"]),
            f"{each['level_peers']} of {each['peers']}",
            _warning(each),
        ]
        for each in answer["groups"]
    ]
    head = ["NAME", "ID", "MEMBER", "MEMBERS", "ENTRIES", "LEVEL WITH", ""]
    none = ["no groups; begin: fogp2p group create NAME"]
    output.result(answer, table(head, rows) if rows else none)


def _warning(each: dict[str, Any]) -> str:
    if each["problem"]:
        return f"! {each['problem']}"
    return f"! {each['forked_authors']} wrote two histories" if each["forked_authors"] else ""


@command.command("show")
@click.argument("group")
@click.pass_obj
def show(output: Output, group: str) -> None:
    """Show GROUP: its members, and who wrote two histories."""
    client = output.client()
    found = client.get(f"groups/{_whole(client, group)}")
    rows = [
        [_who(each), each["role"], str(each["level"]), each["peer_id"]] for each in found["who"]
    ]
    carried = f"{found['peers']} connected peers carry it, {found['level_peers']} have the same"
    waiting = f", {found['waiting']} wait for others" if found["waiting"] else ""
    lines = [
        *printable(f"{found['name'] or '(no name yet)'}  {found['id']}"),
        f"{found['entries']} entries{waiting}; {carried}",
        *table(["MEMBER", "MAY", "LEVEL", "PEER"], rows),
        *(_fork(each) for each in found["forks"]),
    ]
    output.result(found, lines)


def _fork(fork: dict[str, Any]) -> str:
    return " ".join(
        printable(
            f"! {fork['name']} ({fork['peer_id']}) wrote two histories; what it wrote from its "
            f"entry {fork['position']} on does not stand"
        )
    )


def _who(each: dict[str, Any]) -> str:
    return f"{each['name']} (you)" if each["is_me"] else str(each["name"])


@command.command("open")
@click.argument("id")
@click.pass_obj
def open_(output: Output, id: str) -> None:
    """Carry the group with this ID; its entries come from connected peers that carry it."""
    found = output.client().post(f"groups/{id.strip().lower()}/open")
    called = " ".join(printable(found["name"])) or "its name comes with its entries"
    output.result(found, [f"carrying {found['id']}: {called}"])


@command.command("admit")
@click.argument("group")
@click.argument("peer")
@click.option("--admin", is_flag=True, help="It may admit and remove others, too.")
@click.pass_obj
def admit(output: Output, group: str, peer: str, admin: bool) -> None:
    """Make PEER a member of GROUP: a peer id, or a contact's name.

    It reads what is written from now on, once it has typed `fogp2p group open`.
    """
    client = output.client()
    name, who = _whole(client, group), find_peer(client, peer)
    made = client.post(f"groups/{name}/members", {"peer": who, "admin": admin})
    output.result(made, [f"admitted {who}"])
    output.say(f"there:  fogp2p group open {name}")


@command.command("remove")
@click.argument("group")
@click.argument("peer")
@click.pass_obj
def remove(output: Output, group: str, peer: str) -> None:
    """End PEER's membership in GROUP. What it wrote until now stands."""
    client = output.client()
    name, who = _whole(client, group), find_peer(client, peer)
    output.confirm(f"Remove {who} from {group}?")
    made = client.delete(f"groups/{name}/members/{who}")
    output.result(made, [f"removed {who}"])


@command.command("leave")
@click.argument("group")
@click.pass_obj
def leave(output: Output, group: str) -> None:
    """End our own membership in GROUP. This peer still carries it for others."""
    client = output.client()
    name = _whole(client, group)
    output.confirm(f"Leave {group}?")
    output.result(client.post(f"groups/{name}/leave"), [f"left {name}"])


@command.command("say")
@click.argument("group")
@click.argument("text", nargs=-1, required=True)
@click.pass_obj
def say(output: Output, group: str, text: tuple[str, ...]) -> None:
    """Write TEXT to GROUP. It returns once the message would survive a crash of this peer."""
    client = output.client()
    name = _whole(client, group)
    made = client.post(f"groups/{name}/entries", {"text": " ".join(text)})
    output.result(made, [f"stored as {made['id'][:12]}"])


@command.command("read")
@click.argument("group")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes.")
@click.option("--since", type=click.IntRange(0), metavar="N", help="Only what came after number N.")
@click.pass_obj
def read(output: Output, group: str, follow: bool, since: int | None) -> None:
    """Print GROUP, causes before effects, in one order for all members; with --json as JSON Lines.

    Without --since: the last 100 entries. What comes with --follow is printed as it comes.
    """
    client = output.client()
    name = _whole(client, group)
    found = client.get(f"groups/{name}")
    for fork in found["forks"]:
        output.say(_fork(fork))
    last = since if since is not None else max(0, found["entries"] - _SHOWN)
    entries, last = _all_after(client, name, last)
    for each in sorted(entries, key=lambda each: (each["height"], each["id"])):
        _print(output, each)
    while follow:
        page = client.get(f"groups/{name}/entries?since={last}&wait_s={_WAIT_S}")
        last = page["last"]
        for each in page["entries"]:
            _print(output, each)


def _all_after(client: Client, name: str, since: int) -> tuple[list[dict[str, Any]], int]:
    found: list[dict[str, Any]] = []
    while True:
        page = client.get(f"groups/{name}/entries?since={since}")
        found += page["entries"]
        since = page["last"]
        if not page["more"]:
            return found, since


def _print(output: Output, entry: dict[str, Any]) -> None:
    if output.as_json:
        click.echo(json.dumps({"schema": "group-entry/1", **entry}, ensure_ascii=False))
        return
    if entry["kind"] == "epoch" and not output.verbose:
        return
    when = _when(entry["sent_at"])
    who = " ".join(printable(_who(entry)))
    if entry["kind"] != "message":
        lines = [f"* {_DONE.get(entry['kind'], 'did what this version does not know')}"]
    elif entry["verdict"] != "stands":
        lines = [f"(does not stand: its author was {entry['verdict']})"]
    elif entry["text"] is None:
        lines = ["(sealed before this peer became a member)"]
    else:
        lines = printable(entry["text"]) or [""]
    margin = f"{entry['number']:>5}  {when}  {who}: "
    click.echo(margin + f"\n{' ' * len(margin)}".join(lines))


def _when(seconds: float) -> str:
    """By the author's clock, which may say anything."""
    try:
        return datetime.fromtimestamp(seconds).strftime("%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return "no such date"


def _whole(client: Client, text: str) -> str:
    """The id of the group with this name, or whose id begins like this. Raises NotFound."""
    known = client.get("groups")["groups"]
    exact = [each["id"] for each in known if text in (each["name"], each["id"])]
    found = exact or [each["id"] for each in known if text and each["id"].startswith(text.lower())]
    if len(found) == 1:
        return str(found[0])
    what = "no group has" if not found else f"{len(found)} groups have"
    raise NotFound(
        f"{what} the name {text!r}, or an id that begins like this", hint="fogp2p group list"
    )
