"""fogp2p ping"""

from __future__ import annotations

import statistics
from typing import Final

import click

from fogp2p.cli.output import Output
from fogp2p.cli.peer import find_peer

__all__ = ["command"]

# The peer waits for nobody longer.
_MOST_S: Final = 60.0


@click.command("ping")
@click.argument("peer")
@click.option("--count", "-c", type=click.IntRange(1, 100), default=5, help="How many pings.")
@click.pass_obj
def command(output: Output, peer: str, count: int) -> None:
    """Measure the round trip to PEER: a peer id, or its last characters if it is connected."""
    client = output.client()
    name = find_peer(client, peer)
    answer = client.post(
        f"peers/{name}/ping", {"count": count, "timeout_s": min(output.timeout_s, _MOST_S)}
    )
    times = [1000 * each for each in answer["round_trips_s"]]
    output.result(
        answer,
        [
            f"{len(times)} pings to {name}: median {statistics.median(times):.2f} ms, "
            f"{min(times):.2f}-{max(times):.2f} ms"
        ],
    )
