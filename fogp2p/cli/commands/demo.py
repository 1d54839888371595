"""fogp2p demo"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import click
import trio

from fogp2p.cli.output import FAILED, Output
from fogp2p.cli.painter import Painter
from fogp2p.environment import real_environment
from fogp2p.testnet import Stage, open_testnet
from fogp2p.testnet.chapters import OLD_VERSIONS, is_old, play

__all__ = ["command"]


@click.command("demo")
@click.option("--peers", type=click.IntRange(3, 10), default=5, help="How many processes.")
@click.option("--keep", is_flag=True, help="Keep the peers' directories and logs.")
@click.pass_context
def command(ctx: click.Context, peers: int, keep: bool) -> None:
    """Start peers on this machine, let them meet, talk and survive a crash, and prove it.

    Exits with 1 when anything was not seen.
    """
    output: Output = ctx.obj
    directory = Path(tempfile.mkdtemp(prefix="fogp2p-demo-"))
    try:
        answer = trio.run(_play, output, directory, peers)
    finally:
        if keep:
            output.say(f"logs and directories are in {directory}")
        else:
            _remove(directory)
    lines = [
        f"{'ok  ' if check['passed'] else 'FAIL'} {check['what']}: {check['figure']}"
        for check in answer["checks"]
    ]
    verdict = "everything was seen" if answer["passed"] else "NOT everything was seen"
    end = f"{verdict} ({answer['took_s']} s)"
    output.result(answer, ["", "What was verified", *lines, "", end])
    if not answer["passed"]:
        ctx.exit(FAILED)


async def _play(output: Output, directory: Path, count: int) -> dict[str, Any]:
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
        stage = Stage(net, painter.say, painter.show)
        await play(stage)
    return {
        "schema": "demo/1",
        "peers": count,
        "found_by": net.found_by,
        "note": net.note,
        "checks": [dataclasses.asdict(check) for check in stage.checks],
        "passed": all(check.passed for check in stage.checks),
        "took_s": round(trio.current_time() - start, 1),
    }


def _remove(directory: Path) -> None:
    import shutil

    shutil.rmtree(directory)
