"""fogp2p status"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from fogp2p.cli.output import Output, duration, printable, size, watch_option

__all__ = ["command"]


@click.command("status")
@watch_option
@click.pass_obj
def command(output: Output, watch: bool) -> None:
    """Show what the running peer does, and why it does nothing."""
    client = output.client()

    def show() -> None:
        answer = client.get("status")
        output.result(answer, lines(answer, output))

    output.repeat(show, watch=watch)


def lines(status: dict[str, Any], output: Output) -> list[str]:
    """One screen: a line for each subsystem, with its reason and what to type below it."""
    reasons = _reasons(status)
    shown = [_header(status, len(reasons), output)]
    for subject, line in _subsystems(status):
        shown.append(f"{subject:<8} {line}")
        shown += _why(reasons, {subject}, output)
    # Of a subsystem without a line of its own.
    shown += _why(reasons, {each["subject"] for each in reasons}, output)
    return shown


def _header(status: dict[str, Any], warnings: int, output: Output) -> str:
    health = status.get("health", "")
    if health and health != "ok":
        health = output.paint(f"! {health}", "red" if health == "failing" else "yellow")
    elif warnings:
        health = output.paint(f"! {warnings} to look at", "yellow")
    else:
        health = output.paint("all well", "green")
    return f"{status['peer_id']}  up {duration(status['uptime_s'])}  {health}"


def _subsystems(status: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "services" in status:
        parts = status["services"]
        yield "parts", f"{parts['ready']} of {parts['total']} ready, {parts['restarts']} restarts"
    yield (
        "peers",
        f"{status['peers_connected']} connected, {status['peers_agreed']} agreed on versions, "
        f"{status['peers_wanted']} wanted",
    )
    for each in status["discovery"]:
        problem = f"  ! {each['problem']}" if each["problem"] else ""
        yield each["source"], f"{each['seen']} sightings{problem}"
    for address in status["addresses"] or ["nowhere"]:
        yield "listen", address
    yield (
        "echo",
        f"{status['echo_messages']} messages, {status['echo_bytes']} bytes received",
    )
    yield from _rooms(status.get("rooms") or {})
    yield "keys", f"{status['key_type']}, {_protection(status['key_encrypted'])}"


def _rooms(rooms: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What is kept and shared. A part that is down has a reason instead."""
    if rooms.get("store"):
        yield "store", rooms["store"]
    if blobs := rooms.get("blobs"):
        yield (
            "blobs",
            f"{size(blobs['used_bytes'])} of {size(blobs['quota_bytes'])}, {blobs['kept']} kept, "
            f"{blobs['running']} transfers",
        )
    if groups := rooms.get("groups"):
        yield (
            "groups",
            f"{groups['groups']} carried, {groups['entries']} entries, {groups['waiting']} waiting",
        )


def _reasons(status: dict[str, Any]) -> list[dict[str, str]]:
    """What is not well, and why there are no peers."""
    found = list(status.get("reasons", ()))
    if status["why"] and not any(each["subject"] == "peers" for each in found):
        hint = "fogp2p doctor" if status["discovery"] else "fogp2p config show"
        found.append({"subject": "peers", "happened": status["why"], "hint": hint})
    return found


def _why(reasons: list[dict[str, str]], subjects: set[str], output: Output) -> list[str]:
    """The reasons of these subjects, taken out of `reasons`."""
    found = [each for each in reasons if each["subject"] in subjects]
    reasons[:] = [each for each in reasons if each["subject"] not in subjects]
    shown = []
    for each in found:
        # A reason may quote a peer.
        what = " ".join(printable(each["happened"]))
        shown.append(output.paint(f"         why: {what}", "yellow"))
        if each["hint"]:
            shown.append(f"         try: {each['hint']}")
    return shown


def _protection(encrypted: bool | None) -> str:
    if encrypted is None:
        return "in memory only"
    return "with a passphrase" if encrypted else "! not encrypted: who has the file is this peer"
