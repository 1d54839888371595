"""fogp2p invite"""

from __future__ import annotations

import io
import time
from typing import Any, Final

import click
import segno

from fogp2p.cli.output import Output, duration, table
from fogp2p.client import Client

__all__ = ["command", "qr_lines"]

# How often a watched invite is looked at: people see it at once, and it costs the peer nothing.
_LOOK_S: Final = 0.5
# "Refused by policy or a limit" in docs/reference/exit-codes.md.
_CAME_TO_NOTHING: Final = 7
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _seconds(ctx: click.Context, param: click.Parameter, text: str) -> float:
    """`90`, `90s`, `10m`, `2h`, `7d`."""
    unit = _UNITS.get(text[-1:], 0)
    number = text[:-1] if unit else text
    if not (number.isascii() and number.isdigit() and len(number) <= 7):
        raise click.BadParameter(f"{text!r} is no duration; write 90s, 10m, 2h or 7d", ctx, param)
    return float(number) * (unit or 1)


@click.command("invite")
@click.option("--link", is_flag=True, help="A link to paste or scan instead of words to say.")
@click.option("--qr/--no-qr", default=None, help="Draw the link as a QR code (and make one).")
@click.option("--ttl", callback=_seconds, default="10m", help="How long it lives: 10s to 7d.")
@click.option("--name", default="", help="Whom it is for; what the contact will be called.")
@click.option("--watch", "-w", is_flag=True, help="Stay until somebody has accepted it.")
@click.option("--list", "listing", is_flag=True, help="Show the invites there are.")
@click.option("--cancel", metavar="ID", help="End an invite.")
@click.pass_context
def command(
    ctx: click.Context,
    link: bool,
    qr: bool | None,
    ttl: float,
    name: str,
    watch: bool,
    listing: bool,
    cancel: str | None,
) -> None:
    """Let one other peer in: prints a code that works once, for a while.

    With --watch it exits with 0 once both peers have stored each other, and with 7 when the invite
    came to nothing.
    """
    output: Output = ctx.obj
    client = output.client()
    if cancel is not None:
        answer = client.delete(f"invites/{cancel}")
        output.result(answer, [f"cancelled {cancel}"])
        return
    if listing:
        answer = client.get("invites")
        output.result(answer, _listed(answer["invites"]))
        return
    kind = "link" if link or qr else "words"
    invite = client.post("invites", {"kind": kind, "ttl_s": ttl, "name": name})
    draw = qr if qr is not None else kind == "link"
    if watch and output.as_json:
        # One answer, at the end; the code is needed before it.
        output.say(invite["code"])
    if not (watch and output.as_json):
        output.result(invite, _shown(invite, draw))
    output.say(f"the other person types:  fogp2p join {_quoted(invite['code'])}")
    output.say(f"works once, for {duration(invite['expires_in_s'])}   ({invite['id']})")
    if watch:
        _watch(ctx, output, client, invite)


def qr_lines(text: str) -> list[str]:
    """A QR code of half blocks: at most 45 columns and 23 rows for a link of ours."""
    drawn = io.StringIO()
    segno.make_qr(text, error="l", boost_error=False).terminal(drawn, compact=True, border=4)
    return drawn.getvalue().splitlines()


def _shown(invite: dict[str, Any], draw: bool) -> list[str]:
    return [*(qr_lines(invite["code"]) if draw else ()), invite["code"]]


def _quoted(code: str) -> str:
    return f"'{code}'" if ":" in code else code


def _listed(invites: list[dict[str, Any]]) -> list[str]:
    rows = [
        [
            each["id"],
            each["stage"],
            each["code"] or "-",
            each["name"] or "-",
            duration(each["expires_in_s"]) if each["expires_in_s"] else "-",
            str(each["wrong_guesses"]),
            each["peer_id"] or "-",
        ]
        for each in invites
    ]
    head = ["ID", "STAGE", "CODE", "FOR", "LEFT", "WRONG", "PEER"]
    return table(head, rows) if rows else ["no invites; make one: fogp2p invite"]


def _watch(ctx: click.Context, output: Output, client: Client, invite: dict[str, Any]) -> None:
    """Say each step until the invite is over."""
    before = invite
    while True:
        time.sleep(_LOOK_S)
        found = [i for i in client.get("invites")["invites"] if i["id"] == invite["id"]]
        now = found[0] if found else {**before, "stage": "expired"}
        if now["wrong_guesses"] > before["wrong_guesses"]:
            left = f"; {now['guesses_left']} left" if now["kind"] == "words" else ""
            output.say(f"wrong guess: somebody tried another code{left}")
        if now["stage"] != before["stage"]:
            output.say(_step(now))
        before = now
        if now["stage"] in ("verified", "expired", "burnt", "cancelled"):
            break
    if output.as_json:
        output.result(before, [])
    if before["stage"] != "verified":
        ctx.exit(_CAME_TO_NOTHING)


def _step(invite: dict[str, Any]) -> str:
    who = invite["peer_id"] or ""
    return {
        "invited": "open again: whoever tried has left",
        "seen": f"seen: {who} is trying",
        "accepted": f"accepted: {who} has the code",
        "verified": f"verified: {who} is a contact now, on both sides",
        "expired": "expired: nobody used it in time. make a new one: fogp2p invite",
        "burnt": "burnt: guessed wrong too often. make a new one: fogp2p invite",
        "cancelled": "cancelled",
    }[invite["stage"]]
