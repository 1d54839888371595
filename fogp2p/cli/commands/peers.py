"""fogp2p peers"""

from __future__ import annotations

from typing import Any

import click

from fogp2p.cli.output import Output, duration, limit_option, printable, table, watch_option

__all__ = ["command"]


@click.command("peers")
@watch_option
@limit_option
@click.pass_obj
def command(output: Output, watch: bool, limit: int | None) -> None:
    """List the connected peers with what was agreed."""
    client = output.client()

    def show() -> None:
        answer = client.get("peers")
        left_out = len(answer["peers"][limit:]) if limit is not None else 0
        answer["peers"] = answer["peers"][:limit]
        output.result(answer, _lines(answer["peers"]))
        if left_out:
            output.say(f"and {left_out} more")

    output.repeat(show, watch=watch)


def _lines(peers: list[dict[str, Any]]) -> list[str]:
    if not peers:
        return ["no peers; `fogp2p status` says why"]
    rows = [
        [
            peer["peer_id"],
            peer["direction"],
            duration(peer["connected_s"]),
            ", ".join(f"{name} {version}" for name, version in peer["protocols"].items())
            or f"nothing: {peer['not_agreed'] or 'no common protocol'}",
            peer["software"] or peer["agent"] or "-",
            peer["address"],
        ]
        for peer in peers
    ]
    head = ["PEER", "DIALLED", "SINCE", "AGREED", "SOFTWARE", "ADDRESS"]
    notes = [
        line
        for peer in peers
        for warning in peer["warnings"]
        for line in printable(f"! {peer['peer_id']}: {warning}")
    ]
    return [*table(head, rows), *notes]
