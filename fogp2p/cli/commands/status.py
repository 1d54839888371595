"""fogp2p status"""

from __future__ import annotations

from typing import Any

import click

from fogp2p.cli.output import Output, duration

__all__ = ["command"]


@click.command("status")
@click.pass_obj
def command(output: Output) -> None:
    """Show what the running peer does, and why it does nothing."""
    answer = output.client().get("status")
    output.result(answer, lines(answer))


def lines(status: dict[str, Any]) -> list[str]:
    """One screen."""
    connected, wanted = status["peers_connected"], status["peers_wanted"]
    shown = [
        f"{status['peer_id']}  up {duration(status['uptime_s'])}",
        f"peers    {connected} connected, {status['peers_agreed']} agreed on versions, "
        f"{wanted} wanted",
    ]
    if status["why"]:
        shown.append(f"why      {status['why']}")
    for each in status["discovery"]:
        problem = f"  ! {each['problem']}" if each["problem"] else ""
        shown.append(f"{each['source']:<8} {each['seen']} sightings{problem}")
    shown += [f"listen   {address}" for address in status["addresses"]] or ["listen   nowhere"]
    received = f"{status['echo_messages']} messages, {status['echo_bytes']} bytes received"
    shown.append(f"echo     {received}")
    shown.append(f"keys     {status['key_type']}, {_protection(status['key_encrypted'])}")
    return shown


def _protection(encrypted: bool | None) -> str:
    if encrypted is None:
        return "in memory only"
    return "with a passphrase" if encrypted else "! not encrypted: who has the file is this peer"
