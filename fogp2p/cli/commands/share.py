"""fogp2p share"""

from __future__ import annotations

from pathlib import Path

import click

from fogp2p.cli.answers import ShareMade
from fogp2p.cli.output import Output
from fogp2p.schema import answer

from .send import add

__all__ = ["command"]


@click.command("share")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--seal", is_flag=True, help="Encrypt it: only who has the part behind # reads it.")
@click.pass_obj
def command(output: Output, file: Path, seal: bool) -> None:
    """Put FILE among our blobs, announce it, and print what others type behind `fogp2p get`.

    The content decides the name: it stays good while any peer that is running has the blob.
    """
    client = output.client()
    added = add(output, client, file, seal=seal)
    cid, key = added["cid"], added["key"]
    shared = client.post(f"blobs/{cid}/share")
    link = f"{cid}#{key}" if key else cid
    made = ShareMade(cid, key, link, added["name"], added["size_bytes"], shared["announced"])
    output.result(answer(made), [link])
    output.say(f"others type:  fogp2p get '{link}'")
    if not shared["announced"]:
        output.say(
            "no peer keeps the announcement: those connected to this peer, and on its LAN, find it"
        )
