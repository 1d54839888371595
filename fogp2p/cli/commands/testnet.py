"""fogp2p testnet"""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path

import click
import trio

from fogp2p.cli import answers
from fogp2p.cli.output import Output, table
from fogp2p.environment import real_environment
from fogp2p.schema import answer
from fogp2p.testnet import open_testnet

__all__ = ["command"]


@click.command("testnet")
@click.option("--peers", type=click.IntRange(2, 10), default=3, help="How many processes.")
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="Keep the peers here.")
@click.pass_obj
def command(output: Output, peers: int, directory: Path | None) -> None:
    """Run several peers on this machine until Ctrl+C. They see nobody but each other."""
    if directory is not None:
        trio.run(_run, output, directory.absolute(), peers)
        return
    with tempfile.TemporaryDirectory(prefix="fogp2p-testnet-") as temporary:
        trio.run(_run, output, Path(temporary), peers)


async def _run(output: Output, directory: Path, count: int) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        output.say(f"starting {count} peers ...")
        async with open_testnet(directory, real_environment(), count, say=output.say) as net:
            found = answers.Testnet(
                net.found_by,
                tuple(
                    answers.TestnetPeer(p.name, p.peer_id, str(p.home), p.pid) for p in net.peers
                ),
            )
            rows = [[p.name, p.peer_id, f"fogp2p --home {p.home} status"] for p in net.peers]
            output.result(answer(found), table(["NAME", "PEER", "LOOK AT IT"], rows))
            output.say("Ctrl+C stops them.")
            await anext(aiter(signals))
    output.say("stopped")
