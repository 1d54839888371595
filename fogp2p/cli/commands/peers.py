"""fogp2p peers"""

from __future__ import annotations

import click

from fogp2p.cli.output import Output, duration, table

__all__ = ["command"]


@click.command("peers")
@click.pass_obj
def command(output: Output) -> None:
    """List the connected peers with what was agreed."""
    answer = output.client().get("peers")
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
        for peer in answer["peers"]
    ]
    head = ["PEER", "DIALLED", "SINCE", "AGREED", "SOFTWARE", "ADDRESS"]
    notes = [
        f"! {peer['peer_id']}: {warning}"
        for peer in answer["peers"]
        for warning in peer["warnings"]
    ]
    lines = [*table(head, rows), *notes] if rows else ["no peers; `fogp2p status` says why"]
    output.result(answer, lines)
