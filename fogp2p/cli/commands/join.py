"""fogp2p join"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import click

from fogp2p.cli.output import Output, duration, table
from fogp2p.client import Client

__all__ = ["command"]

_LOOK_S: Final = 0.3


@click.command("join")
@click.argument("code", nargs=-1)
@click.option("--name", default="", help="What to call the other peer; its own name if not given.")
@click.option("--list", "listing", is_flag=True, help="Show the joins that are pending.")
@click.option("--cancel", metavar="ID", help="End a pending join.")
@click.pass_obj
def command(
    output: Output, code: tuple[str, ...], name: str, listing: bool, cancel: str | None
) -> None:
    """Accept an invite: CODE is what the other peer printed, words or a link.

    Without CODE it lists the invites that are open on this network. Waits for --timeout seconds;
    a join whose inviter was not reached goes on by itself for a day.
    """
    client = output.client()
    if cancel is not None:
        answer = client.delete(f"invites/{cancel}")
        output.result(answer, [f"cancelled {cancel}"])
    elif listing:
        answer = client.get("pending")
        output.result(answer, _pending(answer["joins"]))
    elif code:
        answer = _join(output, client, " ".join(code), name)
        contact = answer["contact"]
        called = f" ({contact['name']})" if contact["name"] else ""
        line = f"verified: {contact['peer_id']}{called} is a contact now, on both sides"
        output.result(answer, [_plain(line)])
    else:
        answer = client.get("joins")
        output.result(answer, _offered(answer["offers"]))


def _join(output: Output, client: Client, code: str, name: str) -> dict[str, Any]:
    """Wait for the answer, and say meanwhile how far it is."""
    fields = {"code": code, "name": name, "timeout_s": output.timeout_s}
    # Ours is the one that is not there yet.
    older = {join["id"] for join in client.get("pending")["joins"]}
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.post, "joins", fields)
        if not output.quiet:
            _tell(output, client, asked, older)
        return asked.result()


def _tell(output: Output, client: Client, asked: Future[dict[str, Any]], older: set[str]) -> None:
    said = ""
    while not asked.done():
        joins = client.get("pending")["joins"]
        stage = next((j["stage"] for j in joins if j["id"] not in older), "searching")
        if stage != said:
            output.say(_STEPS[stage])
            said = stage
        time.sleep(_LOOK_S)


_STEPS: Final = {
    "searching": "searching for the inviter",
    "seen": "seen: it has this invite; proving that both have the same code",
    "accepted": "accepted: both have; storing each other",
}


def _pending(joins: list[dict[str, Any]]) -> list[str]:
    rows = [
        [
            join["id"],
            join["stage"],
            join["kind"],
            str(join["nameplate"]),
            join["name"] or "-",
            duration(join["expires_in_s"]),
            join["peer_id"] or "-",
        ]
        for join in joins
    ]
    head = ["ID", "STAGE", "KIND", "NUMBER", "NAME", "LEFT", "PEER"]
    return table(head, rows) if rows else ["no pending joins"]


def _offered(offers: list[dict[str, Any]]) -> list[str]:
    if not offers:
        return ["no open invites on this network; on the other peer: fogp2p invite"]
    rows = [
        [str(offer["nameplate"]), duration(offer["expires_in_s"]), offer["peer_id"]]
        for offer in offers
    ]
    number = offers[0]["nameplate"]
    return [
        *table(["NUMBER", "LEFT", "PEER"], rows),
        f"ask for the words, then type:  fogp2p join {number}-WORD-WORD",
    ]


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else "\ufffd" for char in text)
