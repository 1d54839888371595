"""fogp2p contacts"""

from __future__ import annotations

import click

from fogp2p.cli.output import Output, table

__all__ = ["command"]


@click.command("contacts")
@click.option("--forget", metavar="PEER", help="Drop a contact here; the other side keeps you.")
@click.pass_obj
def command(output: Output, forget: str | None) -> None:
    """List the peers that an invite has verified."""
    client = output.client()
    if forget is not None:
        answer = client.delete(f"contacts/{forget}")
        output.result(answer, [f"forgot {forget}"])
        return
    answer = client.get("contacts")
    rows = [
        [each["name"] or "-", each["verified_by"], each["peer_id"], ", ".join(each["addresses"])]
        for each in answer["contacts"]
    ]
    head = ["NAME", "VERIFIED BY", "PEER", "ADDRESSES"]
    output.result(answer, table(head, rows) if rows else ["no contacts; begin: fogp2p invite"])
