"""fogp2p demo"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import click
import trio

from fogp2p.cli.output import FAILED, Output
from fogp2p.cli.painter import Painter
from fogp2p.environment import real_environment
from fogp2p.schema import answer, named
from fogp2p.testnet import Check, Stage, open_testnet
from fogp2p.testnet.chapters import OLD_VERSIONS, is_old, play

__all__ = ["Demo", "command"]


@named("demo/1")
@dataclass(frozen=True, slots=True)
class Demo:
    """What the tour showed."""

    peers: int
    found_by: str
    note: str
    checks: tuple[Check, ...]
    passed: bool
    took_s: float


@click.command("demo")
@click.option("--peers", type=click.IntRange(3, 10), default=5, help="How many processes.")
@click.option("--keep", is_flag=True, help="Keep the peers' directories and logs.")
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The file that travels; this project's README if not given.",
)
@click.pass_context
def command(ctx: click.Context, peers: int, keep: bool, file: Path | None) -> None:
    """Start peers on this machine, let them meet, talk and survive a crash, and prove it.

    Exits with 1 when anything was not seen.
    """
    output: Output = ctx.obj
    directory = Path(tempfile.mkdtemp(prefix="fogp2p-demo-"))
    try:
        seen = trio.run(_play, output, directory, peers, file)
    finally:
        if keep:
            output.say(f"logs and directories are in {directory}")
        else:
            _remove(directory)
    lines = [
        f"{'ok  ' if check.passed else 'FAIL'} {check.what}: {check.figure}"
        for check in seen.checks
    ]
    verdict = "everything was seen" if seen.passed else "NOT everything was seen"
    end = f"{verdict} ({seen.took_s} s)"
    output.result(answer(seen), ["", "What was verified", *lines, "", end])
    if not seen.passed:
        ctx.exit(FAILED)


async def _play(output: Output, directory: Path, count: int, file: Path | None) -> Demo:
    painter = Painter(quiet=output.quiet)
    environment = real_environment()
    start = trio.current_time()
    painter.say(f"starting {count} peers as separate processes ...")
    async with open_testnet(
        directory,
        environment,
        count,
        settings=lambda index: (OLD_VERSIONS,) if is_old(index) else (),
        say=painter.say,
    ) as net:
        painter.say(f"ready after {trio.current_time() - start:.1f} s")
        stage = Stage(net, painter.say, painter.show, file)
        await play(stage)
    return Demo(
        count,
        net.found_by,
        net.note,
        tuple(stage.checks),
        all(check.passed for check in stage.checks),
        round(trio.current_time() - start, 1),
    )


def _remove(directory: Path) -> None:
    import shutil

    shutil.rmtree(directory)
