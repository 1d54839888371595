"""fogp2p send"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fogp2p.cli.output import Output
from fogp2p.cli.peer import find_peer
from fogp2p.cli.transfers import follow
from fogp2p.client import Client

__all__ = ["add", "command"]


@click.command("send")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("peer")
@click.option("--seal", is_flag=True, help="Encrypt it; tell the other person the key yourself.")
@click.pass_obj
def command(output: Output, file: Path, peer: str, seal: bool) -> None:
    """Send FILE to PEER: a peer id, a contact's name, or the end of a connected peer's id.

    It is delivered when the other peer says that it has all of it, checked. The file stays among
    our blobs; the other person writes it to a file with `fogp2p get CID`.
    """
    client = output.client()
    to = find_peer(client, peer)
    added = add(output, client, file, seal=seal)
    cid = added["cid"]
    fields = {"peer": to, "name": added["name"]}
    sent = follow(output, client, client.post(f"blobs/{cid}/send", fields))
    link = f"{cid}#{added['key']}" if added["key"] else cid
    lines = [f"delivered: {to} has all {sent['size_bytes']} bytes", f"there: fogp2p get {link}"]
    output.result({**sent, "key": added["key"]}, lines)


def add(output: Output, client: Client, file: Path, *, seal: bool) -> dict[str, Any]:
    """Have the peer put in a file; the transfer once it is over. Raises as `follow`."""
    asked = {"path": str(file.absolute()), "seal": seal}
    return follow(output, client, client.post("blobs", asked))
